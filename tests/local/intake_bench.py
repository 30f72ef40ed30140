"""Raw files in a real folder, and the intake that queues their runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.runtime.context import Context
from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Target
from tidegate.runtime.task import Outcome
from tidegate.runtime.testing import InlineExecutor
from tidegate.targets.local.files import changed
from tidegate.targets.local.inputs import FolderInputs, RawFile
from tidegate.targets.local.intake import Intake
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.listener import Listener, StorageTrouble
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.sightings import Sightings

LONG = 60.0
"""A machine that is busy with other things must not fail a test, s."""
AN_HOUR_AGO = time.time() - 3600


class ChangingInputs(FolderInputs):
    """Files for which something happens in the moment in which they are hashed."""

    meanwhile: Callable[[Path], None] = staticmethod(lambda path: None)
    times = 0

    def hash_file(
        self, found: RawFile, size: int | None = None, check: Callable[[], None] = lambda: None
    ) -> SeenFile:
        self.times += 1
        self.meanwhile(self.root / found.key)
        row = super().hash_file(found, size, check)
        if row[:5] != tuple(found) and row.size == found.size:
            raise changed(found.key)
        return row


@dataclass
class Arrivals:
    """An intake over a folder of its own."""

    inputs: ChangingInputs
    ledger: SqliteLedger
    queue: SqliteQueue
    intake: Intake
    said: list[str] = field(default_factory=list)

    def put(self, key: str, mtime: float = AN_HOUR_AGO) -> Path:
        path = self.inputs.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
        os.utime(path, (mtime, mtime))
        return path

    def queued(self) -> list[str]:
        return [entry.run.title for entry in self.queue.pending()]


def make(folder: Path, *configs: Config) -> Arrivals:
    root = folder / "input"
    root.mkdir()
    said: list[str] = []
    ledger = SqliteLedger(folder / "ledger.db")
    queue, inputs = SqliteQueue(ledger), ChangingInputs(root)
    context = Context(
        Manifest(configs),
        Target(inputs, FolderOutputs(folder / "output", folder / "work"), ledger),
        InlineExecutor(lambda task: Outcome()),
        owner="me",
        work=folder / "work",
        keep_log=lambda record, log: "",
    )
    sightings = Sightings(inputs, configs, ledger, said.append)
    dispatcher = Dispatcher(context, queue)
    trouble = StorageTrouble(Listener())
    intake = Intake(inputs, sightings, ledger, queue, dispatcher, trouble, said.append)
    return Arrivals(inputs, ledger, queue, intake, said)


def ingest(name: str = "one", path: str = "one/", settle: float = 0.0) -> Config:
    return Config("p", name, "Ingest", "S3", "x.yaml", input_path=path, settle=settle)


def runs(arrivals: Arrivals) -> list[tuple[list[str], list[str]]]:
    """The inputs and companions of the runs that are queued."""
    return [
        ([i.key[4:] for i in entry.run.inputs], [c.key[4:] for c in entry.run.companions])
        for entry in arrivals.queue.pending()
    ]
