"""Where the commands work: on this machine, or on AWS.

``glance`` is for looking at what is on record; ``open_session`` also knows what Tsdat says of each
pipeline, and can have runs carried out. Each target is a module that meets ``Session``; boto3 is
not touched before AWS is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Input, Run, RunRecord
from tidegate.workspace.folder import Workspace
from tidegate.workspace.product_files import ProductFiles

Name = Literal["local", "aws"]
Say = Callable[[str], None]
Ended = Callable[[RunRecord], None]


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class Where:
    """Which target a command is to work on, as a person says it."""

    directory: Path
    """The folder with pipelines_config.yml."""
    target: Name = "local"
    """This machine, or AWS."""
    branch: str = "main"
    """On AWS: which branch's deployment."""
    profile: str | None = None
    """On AWS: the profile of the credentials."""
    region: str | None = None
    """On AWS: the region, where it is not the config's."""

    @property
    def workspace(self) -> Workspace:
        """The workspace; raises UsageError when there is none."""
        return Workspace.at(self.directory)


@dataclass(frozen=True)
class Means:
    """How runs are to be carried out."""

    python: str | None = None
    """The pipelines' interpreter, where Tsdat is asked on this machine."""
    workers: int = 1
    """Locally: how many runs go on at once."""
    wait: float = 3600.0
    """On AWS: how long to wait for news of what was asked for, s."""
    say: Say = _silent
    """Tells a person what goes on."""


class Job(Protocol):
    """Runs being carried out."""

    def run(self) -> None:
        """Have them carried out; returns when they have ended or it was stopped."""

    def stop(self) -> None:
        """Stop, or stop waiting; from any thread."""


class Session(Protocol):
    """A config that is good, and the target that its runs are on."""

    @property
    def manifest(self) -> Manifest:
        """The configs."""

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The record of it all."""

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log; none when it is not kept any more."""

    def waiting(self, config: str | None, states: Sequence[str]) -> Iterable[tuple[Run, datetime]]:
        """What is queued, and when it is due; nothing when ``states`` does not ask for it."""

    def raw_files(self, config: Config) -> list[Input]:
        """The raw files of an ingest, at their present versions."""

    def new_files(self, config: Config) -> tuple[int, str]:
        """How many raw files of an ingest no run has taken, and what will become of them."""

    def file_runs(
        self, names: Sequence[str], *, config: str | None, clump: bool, all: bool
    ) -> list[Run]:
        """The runs of raw files that a person named; raises UsageError."""

    def estimate(self, config: str, count: int) -> str:
        """How long so many runs will take, judging by past ones; "" where there are none."""

    def carrying_out(
        self, runs: Sequence[Run], ended: Ended, say: Say
    ) -> AbstractContextManager[Job]:
        """Have runs carried out; ``ended`` is told of each end, and of each new try."""

    def redeliver(self) -> int:
        """Deliver anew what was given up, on record or not; returns how many messages."""

    def store(self) -> AbstractContextManager[ProductFiles]:
        """Where products lie, for ``tidegate adopt``."""

    def reader(self) -> tuple[Sequence[str], Path]:
        """The pipelines' interpreter and repository on this machine, to read files with."""


def glance(where: Where) -> Session:
    """A session for looking at what is on record: Tsdat is not asked, nothing is started.

    Raises:
        TidegateError: the config is not good, or the target cannot be used.
    """
    if where.target == "aws":
        from tidegate.workspace import aws_session

        return aws_session.glance(where, Means())
    from tidegate.workspace import local_session

    return local_session.glance(where)


def open_session(where: Where, means: Means) -> Session:
    """A session that knows what Tsdat says of each config, and can have runs carried out.

    Raises:
        TidegateError: the config is not good, or the target cannot be used.
    """
    if where.target == "aws":
        from tidegate.workspace import aws_session

        return aws_session.open_session(where, means)
    from tidegate.workspace import local_session

    return local_session.open_session(where, means)
