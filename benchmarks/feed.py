"""Runs that sleep in place of Tsdat: what the control process costs, and how many it can feed.

Everything else is real: queue, claims, staging, publishing, ledger.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Executor, Interrupted
from tidegate.runtime.runs import Product, RunRecord
from tidegate.runtime.task import Limits, Outcome, Task
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.places import Places
from tidegate.targets.local.service import Service

_CONFIG = Config(
    "sleep", "one", "Ingest", "S3", "pipelines/sleep.yaml", input_path="raw/", settle=0
)


def feed(folder: Path, count: int, executor: Executor) -> tuple[float, float]:
    """Runs a second in the middle of a backlog, and this process's processor time a run, s."""
    places = Places(*(folder / name for name in ("in", "out", "ledger.db", "logs", "work")))
    (folder / "in/raw").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(count):
        (folder / f"in/raw/{number:05}.txt").write_text(f"{number}\n")
    ended: list[tuple[float, float]] = []

    def note(record: RunRecord) -> None:
        assert record.state == "succeeded", record.failure
        ended.append((time.monotonic(), time.process_time()))

    manifest = Manifest((_CONFIG,), {"sleep": "release"})
    Service(places, manifest, executor, Listener(record=note)).once()
    assert len(ended) == count
    first, last = ended[count // 10], ended[-max(count // 10, 1)]
    between = count - count // 10 - max(count // 10, 1)
    return between / (last[0] - first[0]), (last[1] - first[1]) / between


def sleep_in_place_of_tsdat(task: Task, seconds: float) -> Outcome:
    """Sleep, and leave a small product."""
    time.sleep(seconds)
    key = f"storage/root/sleep/{os.path.basename(task.arguments[0])}"
    content = key.encode()
    path = Path(task.work, "store", key)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Outcome((Product(key, "ancillary", len(content), sha256),))


class SleepingExecutor:
    """So many runs at once, which sleep in threads of this process; see ``Executor``."""

    def __init__(self, slots: int, seconds: float) -> None:
        self.slots = self.capacity = slots
        self._seconds = seconds
        self._stopped = threading.Event()

    def expect(self, runs: int) -> None:
        """There are no more places to get."""

    def start(self) -> None:
        """There is nothing to start."""

    def perform(self, task: Task, limits: Limits) -> Outcome:
        """Sleep, and leave a small product."""
        if self._stopped.is_set():
            raise Interrupted
        return sleep_in_place_of_tsdat(task, self._seconds)

    def interrupt(self) -> None:
        """Begin no more runs."""
        self._stopped.set()

    def close(self) -> None:
        """As ``interrupt``."""
        self.interrupt()
