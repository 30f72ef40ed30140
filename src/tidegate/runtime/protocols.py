"""The five things that the dispatcher works with, as protocols.

``targets`` implements Inputs, Outputs, Ledger and Queue; ``executors`` and ``targets`` implement
Executor. ``testing`` holds in-memory doubles of all five. One set of contract tests
(``tests/contract``) runs on every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from tidegate.runtime.runs import Input, Product, ProductRef, Run, RunRecord, State
from tidegate.runtime.task import Limits, Outcome, Task

MOST_CHANGES = 10_000
"""If ``Ledger.changes`` gives fewer changes than this, there are no more at the moment."""


class Inputs(Protocol):
    """Where raw files are. Never written to."""

    def fetch(self, input: Input, destination: Path) -> None:
        """Copy exactly that version to ``destination``; raises InputChanged if it is not there."""

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        """Do ``fetch`` for each pair, several at once where that is faster.

        Raises the first error; then some of the files may have been copied.
        """

    def replaced(self, input: Input) -> bool:
        """Whether there is another version under that key now; a deleted file is not replaced."""

    def list(self, prefix: str) -> Iterable[Input]:
        """The files under a key prefix that count as arrived."""


class Outputs(Protocol):
    """Where products go. A reader never sees half a product."""

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Put each file or folder under its key, data first; replaces older products.

        Raises StorageError (the disk is full, the folder is read-only). Publishing again then
        repairs what the first attempt left.
        """

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """Copy exactly that version to ``destination``; raises InputChanged if it is not there."""

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        """Do ``fetch`` for each pair, several at once where that is faster."""

    def remove(self, keys: Iterable[str]) -> None:
        """Delete products that a later run has replaced; a missing one is no error."""

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those keys under which there is nothing."""

    def set_aside(self, keys: Iterable[str]) -> str:
        """Move products to a place beside the outputs, for a person; returns which.

        A missing one is no error. What was put there before under the same key may be replaced.
        """


@dataclass(frozen=True)
class Claim:
    """The answer to a claim."""

    granted: bool
    """Whether the caller owns the run now."""
    reason: Literal["new", "done", "failed", "busy"] = "new"
    """If not granted: it succeeded or failed before, or another owner is at work on it."""
    record: RunRecord | None = None
    """The record in the ledger; if granted, the caller's new one."""
    left: tuple[str, ...] = ()
    """Product keys that an earlier attempt may have published without finishing."""
    busy_until: datetime | None = None
    """If busy: when the other owner's lease ends."""
    owner_died: bool = False
    """If granted: whether the attempt before this one never ended."""


class ClaimLost(Exception):
    """Another owner has taken over the run: this one can no longer write about it."""


class Overtaken(Exception):
    """Another run has published the same product since this one looked at what is there."""


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

        Granted if there is no record, if ``run.again``, if the record is retrying or superseded,
        or if it is running and its lease has ended or is the caller's own. ``attempt`` grows by one
        each time. ``tries`` is 1 for a first attempt and for a new request, and grows by one for a
        retrying run; it stays the same if the lease ended, since the death of an owner says nothing
        about the run.
        """

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        """Note what will be published next; raises ClaimLost if another owner has the claim."""

    def finish(self, record: RunRecord) -> None:
        """End an attempt: write its record, its products and what it retired, in one step.

        Products become the present version of their keys; retired keys are removed; each change of
        a data product is noted for ``changes``, with the times of the new version and of the one
        that it replaces. Settled runs in ``replaces`` become superseded, so that their inputs are
        run again if they come back.

        Raises:
            ClaimLost: another owner or attempt has the claim.
            Overtaken: another run has ended with one of these products since this owner read it
                last. Only where runs of other processes can publish at the same time.
        """

    def record(self, key: str) -> RunRecord | None:
        """The record of the run with that key."""

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """The states of those runs that have a record."""

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        before: datetime | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        """Records, the latest started first; ``prefix`` is how the run's key begins.

        With ``before``, only runs that started before then; with ``since``, only those that started
        then or later. The cost depends on how many runs are between, not on how many are outside.
        """

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        """The runs of that config about one subject (``Run.subjects``), the latest first.

        The one with the key ``but`` is left out.
        """

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """The inputs that no run of that config has at that version, superseded runs aside."""

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

        The cost depends on the number of products found, not on how many there are.
        """

    def product(self, key: str) -> Product | None:
        """The present product of that key."""

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """The present products of those keys, by key; missing ones are left out."""

    def made_by(self, key: str) -> list[Product]:
        """The present products that the run with that key made."""

    def datastreams(self) -> list[str]:
        """The names of all datastreams that have, or had, products; in order."""

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """What changed in a datastream since ``cursor`` ("": ever), and the cursor for next time.

        A change may be reported twice, but none is left out. A ledger may give about
        ``MOST_CHANGES`` at a time, the oldest first; then ask again, with the new cursor.
        """

    def state(self, name: str) -> str | None:
        """A small durable value, such as the cursors of a config."""

    def set_state(self, name: str, value: str) -> None:
        """Store a small durable value."""

    def change_state(self, name: str, change: Callable[[str | None], str]) -> None:
        """Store what ``change`` makes of a value; None stands for no value.

        No change that is made at the same time is lost: ``change`` may be called again, with the
        newer value. It must not use the ledger.
        """


@dataclass(frozen=True)
class Target:
    """The stores of one place where runs happen."""

    inputs: Inputs
    """Where raw files are."""
    outputs: Outputs
    """Where products go."""
    ledger: Ledger
    """The durable record."""


@dataclass(frozen=True)
class QueuedRun:
    """A run that was taken from the queue."""

    run: Run
    """The run."""
    deliveries: int = 0
    """How often the queue has handed out this entry, this time included; 0 for a queue that never
    delivers anything twice by mistake."""


class Queue(Protocol):
    """Runs that wait. An entry stays in the queue until it is dropped, or its run is finished."""

    def put(
        self,
        runs: Sequence[Run],
        now: datetime,
        *,
        priority: int = 0,
        state: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Add runs and keep ``state`` (names and values for ``Ledger.set_state``).

        The state is kept in the same transaction where the store can do that, and otherwise after
        all runs are in the queue. A higher priority goes first, where the queue has an order.
        Returns how many runs are new in the queue.
        """

    def take(self, now: datetime) -> QueuedRun | None:
        """The next run that is due, for the caller to carry out; None if there is none."""

    def postpone(self, run: Run, until: datetime, now: datetime) -> None:
        """Put a taken run back; it is due again at ``until``."""

    def drop(self, run: Run, *, given_up: bool = False) -> None:
        """Remove a taken run; it may be gone already.

        ``given_up`` says that it failed too often: a queue with dead letters moves it there.
        """

    def count(self) -> int:
        """How many entries there are, those that were taken included."""


class Interrupted(Exception):
    """The executor was stopped: the run goes back to the queue as if it had not been taken."""


class Executor(Protocol):
    """Carries out staged runs: in worker processes, or on other machines.

    An executor on other machines must see the work folder (``Task.work``) under the same path.
    """

    @property
    def slots(self) -> int:
        """How many calls of ``perform`` can be at work at once, at most."""

    @property
    def capacity(self) -> int:
        """How many there should be now: fewer than ``slots`` while workers are missing."""

    def expect(self, runs: int) -> None:
        """Take notice that so many runs wait or go on: some executors can get more workers."""

    def start(self) -> None:
        """Get ready. Does not wait until all workers are up."""

    def perform(self, task: Task, limits: Limits) -> Outcome:
        """Run Tsdat on a staged task and return what came of it. Any thread may call it.

        Raises:
            RunTimeout, RunOutOfMemory: a limit was exceeded; the run was stopped.
            WorkerLost: the worker died.
            PythonEnvironmentError: no worker can be started.
            Interrupted: ``interrupt`` was called.
        """

    def interrupt(self) -> None:
        """Stop what is running now; each ``perform`` raises Interrupted, later ones too."""

    def close(self) -> None:
        """Interrupt, and end all workers. May be called twice."""
