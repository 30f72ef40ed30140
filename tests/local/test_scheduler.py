"""The files of a scheduled ingest are hashed beside everything else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from intake_bench import LONG, ChangingInputs

from tidegate.runtime.context import Context
from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Target
from tidegate.runtime.task import Outcome
from tidegate.runtime.testing import InlineExecutor
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener, StorageTrouble
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.scheduler import Scheduler
from tidegate.targets.local.sightings import Sightings

INGEST = Config(
    "p", "daily", "Ingest", "Cron", "x.yaml", input_path="daily/", schedule="0 0 * * *", settle=0
)
VAP = Config("v", "hourly", "VAP", "Cron", "x.yaml", schedule="0 * * * *", window="hour")


class Place:
    """A scheduler over a folder in which a file stays being hashed until ``go`` is set."""

    def __init__(self, folder: Path) -> None:
        self.go, self.begun, self.queued = (threading.Event() for _ in range(3))
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.queue = SqliteQueue(self.ledger)
        inputs = ChangingInputs(folder / "input")
        file = inputs.root / "daily" / "a"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        inputs.meanwhile = self._hash
        context = Context(
            Manifest((INGEST, VAP)),
            Target(inputs, FolderOutputs(folder / "output", folder / "work"), self.ledger),
            InlineExecutor(lambda task: Outcome()),
            owner="me",
            work=folder / "work",
            keep_log=lambda record, log: "",
            now=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC),
        )
        self.scheduler = Scheduler(
            Dispatcher(context, self.queue),
            self.ledger,
            self.queue,
            Sightings(inputs, (INGEST, VAP), self.ledger, print),
            StorageTrouble(Listener()),
            print,
            queued=self.queued.set,
        )

    def _hash(self, path: Path) -> None:
        self.begun.set()
        assert self.go.wait(LONG)

    def waiting(self) -> dict[str, int]:
        return self.queue.waiting()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.go.set()
    made.scheduler.close()
    made.ledger.close()


def test_neither_the_caller_nor_other_schedules_wait_for_files_that_are_hashed(
    place: Place,
) -> None:
    assert place.scheduler.submit_due()
    assert place.begun.wait(LONG)
    assert place.waiting() == {"v/hourly": 1}
    assert not place.scheduler.submit_due()  # it is hashed once, and stays due meanwhile
    place.go.set()
    assert place.queued.wait(LONG)
    assert place.waiting() == {"v/hourly": 1, "p/daily": 1}
    assert not place.scheduler.submit_due()


def test_one_that_is_stopped_while_files_are_hashed_leaves_the_schedule_due(place: Place) -> None:
    place.scheduler.submit_due()
    assert place.begun.wait(LONG)
    place.scheduler.stop()
    place.go.set()
    place.scheduler.close()
    assert place.waiting() == {"v/hourly": 1}
    assert place.ledger.state("due/p/daily") is None
    assert place.scheduler.failure is None
