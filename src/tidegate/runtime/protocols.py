"""What a target supplies, as protocols: inputs, outputs and a ledger.

``targets`` implements them; in-memory doubles are in ``testing``. One set of contract tests
(``tests/contract``) runs on every implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from tidegate.runtime.runs import Input, Product, ProductRef, Run, RunRecord, State


class Inputs(Protocol):
    """Where raw files are. Never written to."""

    def fetch(self, input: Input, destination: Path) -> None:
        """Copy that very version to ``destination``; raises InputChanged when it is not there."""

    def replaced(self, input: Input) -> bool:
        """Whether another version lies under that key now; a file that is gone is not replaced."""

    def list(self, prefix: str) -> Iterable[Input]:
        """The files under a key prefix that count as arrived."""


class Outputs(Protocol):
    """Where products go. A reader never sees half a product."""

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Put each file or folder under its key, data first, replacing what is there.

        Raises StorageError (the disk is full, the folder is read-only); then a second attempt puts
        right whatever the first has left.
        """

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """Copy that very version to ``destination``; raises InputChanged when it is not there."""

    def remove(self, keys: Iterable[str]) -> None:
        """Take away products that a later run has replaced; a missing one is no error."""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim."""

    granted: bool
    """Whether the caller owns the run now."""
    reason: Literal["new", "done", "failed", "busy"] = "new"
    """If not granted: done or failed before, or busy with another owner."""
    record: RunRecord | None = None
    """The record as it stands: the caller's, if granted."""
    left: tuple[str, ...] = ()
    """Product keys that an earlier attempt may have published without finishing."""


class ClaimLost(Exception):
    """Another owner has taken the run over: nothing that this one says counts any more."""


@dataclass(frozen=True)
class Span:
    """Times that a change touched, both inclusive."""

    begin: datetime
    """The first time."""
    end: datetime
    """The last time."""


class Ledger(Protocol):
    """The durable record of inputs, runs and products."""

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        """Make the run the caller's until ``now + lease``, by one conditional write.

        Granted when there is no record, when ``run.again``, when the record is retrying or
        superseded, or when it is running and its lease has run out or is the caller's own.
        ``attempt`` counts on in each case; ``tries`` is 1 for a first attempt and for ``again``,
        one more for a retrying run, and as it was for one whose lease ran out (its owner died,
        which says nothing of the run).
        """

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        """Note what is about to be published; raises ClaimLost when the claim is another's."""

    def finish(self, record: RunRecord) -> None:
        """End an attempt: its record, its products, what it retired, all in one step.

        Products become the present version of their keys; retired keys are forgotten; each change
        of a data product is noted for ``changes``, with the spans of the new version and of the
        one that it replaces or that is retired. Settled runs in ``replaces`` become superseded, so
        that their inputs are run again should they come back. Raises ClaimLost when the claim
        (owner and attempt) is another's.
        """

    def record(self, key: str) -> RunRecord | None:
        """What became of the run with that key."""

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """The states of those runs that have a record."""

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        """Records, the latest started first; ``prefix`` is how the run's key begins."""

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        """The runs of that config about one subject (``Run.subjects``), the latest first.

        The one with the key ``but`` is left out.
        """

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """Those inputs that no run of that config has at that version; superseded runs aside."""

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        """Present products, by key; with times, those that overlap [begin, end)."""

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        """The present data products of a datastream that overlap [begin, end), by begin, then key.

        The cost follows the answer, not the number of products on record.
        """

    def product(self, key: str) -> Product | None:
        """The present product of that key."""

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """The present products of those keys, by key; those that there are."""

    def made_by(self, key: str) -> list[Product]:
        """The present products that the run with that key made."""

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """What changed in a datastream since ``cursor`` ("": ever), and the cursor to go on from.

        A change may be told twice, but none is left out.
        """

    def state(self, name: str) -> str | None:
        """A small durable value, such as the cursors of a config."""

    def set_state(self, name: str, value: str) -> None:
        """Keep a small durable value."""


@dataclass(frozen=True)
class Target:
    """One place where runs happen."""

    inputs: Inputs
    """Where raw files are."""
    outputs: Outputs
    """Where products go."""
    ledger: Ledger
    """The record of it all."""
