"""What a message is about, as plain records, and its sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tidegate.runtime.product_checks import empty_warnings
from tidegate.runtime.runs import Run, RunRecord

NoticeKind = Literal["failure", "silence", "recovery", "disk", "empty"]
"""A run failed for good; a config is stale; it works again; the disk is full; an empty variable."""

KINDS: tuple[NoticeKind, ...] = ("failure", "silence", "recovery", "disk", "empty")


@dataclass(frozen=True)
class Notice:
    """One thing that a person should know."""

    kind: NoticeKind
    """What sort of thing it is."""
    config: str
    """The config's id; "" for what concerns the whole workspace, such as the disk."""
    text: str
    """One sentence: what happened, and why."""
    at: datetime
    """When, UTC."""
    subject: str = ""
    """The file or window that it is about."""
    run: str = ""
    """The key of the run that failed."""


@dataclass(frozen=True)
class Problem:
    """Something that a person has to do something about; or that it is over."""

    kind: Literal["silence", "disk", "failure"]
    """A config gets no data; the disk or the ledger cannot be used; a failure that has no run."""
    config: str
    """The config's id; "" for the whole workspace."""
    text: str
    """One sentence."""
    over: bool = False
    """Whether this says that it is over."""
    subject: str = ""
    """What it is about, if a config can have several of its kind."""

    @property
    def about(self) -> str:
        """What says that two problems of a config are the same one."""
        return self.subject or self.kind


def notices_of(record: RunRecord, now: datetime) -> Iterator[Notice]:
    """What a person should know about a run that has ended: its failure, or empty variables."""
    config, subject = record.run.config, subject_of(record.run)
    at = record.finished or now
    if record.state == "failed" and record.failure is not None:
        failure = record.failure
        text = f"{record.run.title} failed: {failure.message}"
        if failure.next:
            text += f" — {failure.next}"
        yield Notice("failure", config, text, at, subject, record.key)
    elif record.state in ("succeeded", "empty"):
        for text in empty_warnings(record.products):
            yield Notice("empty", config, text, at, subject)


def subject_of(run: Run) -> str:
    """The files or the window of a run, as notices have them."""
    return ", ".join(run.subjects)


def works_again(title: str) -> str:
    """The sentence about what failed before, and does no longer."""
    return f"{title} works again"
