"""A bench for the dispatcher: a target in memory, a clock, and a stand-in for Tsdat."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.context import Context
from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import FileArrived, ScheduleDue
from tidegate.runtime.execute import execute
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.protocols import QueuedRun, Target
from tidegate.runtime.runs import Product, Run, RunRecord
from tidegate.runtime.task import Outcome
from tidegate.runtime.testing import (
    InlineExecutor,
    MemoryInputs,
    MemoryLedger,
    MemoryOutputs,
    MemoryQueue,
)

NOON = datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
INGEST = Config("lidar", "humboldt", "Ingest", "S3", "pipeline.yaml", input_path="lidar/humboldt/")


TEXTS: dict[str, str] = {}
"""The content of the products that ``product`` made, by sha256."""


def vap(**changes) -> Config:
    """A VAP by the day over one datastream."""
    known = {"datastreams": ("a.b",)}
    known.update(
        {k: changes.pop(k) for k in ("datastreams", "pad_before", "pad_after") if k in changes}
    )
    config = Config(
        "wind", "humboldt", "VAP", "Cron", "pipeline.yaml", schedule="0 * * * *", window="day",
        tsdat=Pipeline("Class", **known),
    )  # fmt: skip
    return replace(config, **changes)


def at(text: str) -> datetime:
    """A time in UTC: ``2022-04-05T12:00``."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def product(key, begin, end, *, datastream="a.b", content="x", **more) -> Product:
    """A data product."""
    text = f"{key} {content}"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    TEXTS[sha256] = text
    return Product(
        key, "data", len(content), sha256, datastream, begin=begin, end=end, config="up", **more
    )


class Bench:
    """A dispatcher over a target in memory."""

    def __init__(self, folder: Path, *configs: Config) -> None:
        self.inputs = MemoryInputs()
        self.outputs = MemoryOutputs(folder / "output")
        self.ledger = MemoryLedger()
        self.queue = MemoryQueue(self.ledger)
        self.now = NOON
        self.tasks = []
        self.logs = []
        self.perform = self.writes("out.nc")
        self.context = Context(
            manifest=Manifest(configs or (INGEST,), {"lidar": "release 1"}),
            target=Target(self.inputs, self.outputs, self.ledger),
            executor=InlineExecutor(self._perform),
            owner="owner-1",
            work=folder / "work",
            keep_log=self.keep_log,
            now=lambda: self.now,
        )

    def _perform(self, task):
        self.tasks.append(task)
        return self.perform(task)

    def keep_log(self, record, path):
        """Keep a run's log in memory."""
        self.logs.append(path.read_text())
        return f"logs/{record.key}"

    def writes(self, *names, **outcome):
        """A stand-in for Tsdat that writes files; a window's have its begin in front."""

        def perform(task):
            made = []
            window = task.run.window
            for name in names:
                name = f"{window.begin:%m%d%H}.{name}" if window else name
                place = Path(task.work, "store", name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(f"{name} of {task.run.key}")
                size, sha256 = place.stat().st_size, hashlib.sha256(place.read_bytes()).hexdigest()
                begin, end = (window.begin, window.end) if window else (NOON, NOON)
                made.append(Product(name, "data", size, sha256, "out.c1", begin=begin, end=end))
            return Outcome(products=tuple(made), **outcome)

        return perform

    def arrive(self, key="lidar/humboldt/a.csv", content=b"1"):
        """A file arrives, and what it calls for is carried out."""
        return self.handle(FileArrived(self.inputs.put(key, content), self.now))

    def due(self, config, **more):
        """A schedule is due, and what it calls for is carried out."""
        return self.handle(ScheduleDue(config.id, self.now, **more))

    def handle(self, *events):
        """Submit events and work until nothing is due; returns the records."""
        records = []
        dispatcher = Dispatcher(self.context, self.queue, records.append)
        dispatcher.submit(*events)
        while (queued := self.queue.take(self.context.now())) is not None:
            dispatcher.work(queued)
        return records

    def execute(self, run: Run):
        """One run is carried out; None if the claim is refused."""
        result = execute(QueuedRun(run), self.context)
        return result if isinstance(result, RunRecord) else None

    def add(self, *products):
        """Products of an upstream config get on record, and into the outputs."""
        for p in products:
            place = self.outputs.root / p.key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(TEXTS.get(p.sha256, ""))
        self.change(products)

    def change(self, products=(), retired=()):
        """An upstream run publishes products and retires others."""
        count = len(list(self.ledger.records()))
        run = Run("up/stream", arguments=(f"run {count}",))
        owner, hour = "up", timedelta(hours=1)
        claim = self.ledger.claim(run, owner=owner, lease=hour, now=self.now, release="")
        made = tuple(replace(p, run=run.key) for p in products)
        self.ledger.finish(
            replace(claim.record, state="succeeded", products=made, retired=tuple(retired))
        )

    def published(self):
        """What lies in the outputs: content by key."""
        root = self.outputs.root
        return {
            p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()
        }


class Broken(MemoryOutputs):
    """Outputs of a disk that gets full after so many files; ``heal`` makes room."""

    def __init__(self, root: Path, room: int) -> None:
        super().__init__(root)
        self.room = room

    def publish(self, products):
        for one in products:
            if self.room <= 0:
                raise StorageError("the disk is full")
            self.room -= 1
            super().publish([one])
