"""Files that arrived, into the queue: looked at, hashed, matched with configs."""

from __future__ import annotations

import itertools
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from tidegate.errors import InputChanged, StorageError, TidegateError
from tidegate.runtime.events import FileArrived
from tidegate.runtime.manifest import Config
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.select import select, takes
from tidegate.targets.local.inputs import FolderInputs, RawFile
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.pool import unforeseen
from tidegate.targets.local.queue import Queue
from tidegate.targets.local.watch import Watcher

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 200
_RULES = "intake/rules"
_PATIENCE = 60.0
_PAUSE = 5.0


class Intake:
    """Hashes files, selects their runs and queues them; a thread of its own once started."""

    def __init__(
        self,
        inputs: FolderInputs,
        configs: Sequence[Config],
        ledger: SqliteLedger,
        runs: Queue,
        now: Callable[[], datetime],
        say: Callable[[str], None],
    ) -> None:
        self._inputs = inputs
        self._configs = [c for c in configs if c.trigger == "S3"]
        self._ledger = ledger
        self._queue = runs
        self._now = now
        self._say = say
        self._arrivals: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: TidegateError | None = None
        """Why the intake ended before it was told to."""

    # --- live -------------------------------------------------------------------------------

    def start(self, watcher: Watcher, queued: Callable[[], None]) -> None:
        """Take in what is there, then what the watcher tells of, and call ``queued`` after each."""
        self._count(1)

        def work() -> None:
            try:
                self._patiently(lambda: self.everything(watcher))
                queued()
                self._count(-1)
                while (keys := self._arrivals.get()) is not None:
                    self._patiently(lambda: self.take_in(keys))
                    queued()
                    self._count(-1)
            except TidegateError as error:
                self.failure = error
            except Exception as error:
                logger.exception("the intake ended", extra={"action": "intake"})
                self.failure = unforeseen(error)

        self._thread = threading.Thread(target=work, name="tidegate-intake", daemon=True)
        self._thread.start()

    def arrived(self, keys: Iterable[str]) -> None:
        """The watcher's call: these files have come to rest."""
        self._count(1)
        self._arrivals.put(list(keys))

    def busy(self) -> bool:
        """Whether there are files that are not queued yet."""
        return self._unfinished > 0

    def _patiently(self, step: Callable[[], None]) -> None:
        """Do it again until the ledger has room; what is not queued yet will be found again."""
        while not self._stopping.is_set():
            try:
                step()
                return
            except StorageError as error:
                self._say(f"{error}\nTidegate waits for that to change.")
                self._stopping.wait(_PAUSE)

    def stop(self) -> None:
        """Take in no more; what was not taken in is found at the next start."""
        self._stopping.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread is not None:
            self._arrivals.put(None)
            self._thread.join(30.0)

    def _count(self, change: int) -> None:
        with self._lock:
            self._unfinished += change

    # --- what is there ------------------------------------------------------------------------

    def everything(self, watcher: Watcher | None = None) -> None:
        """Take in all files that are there and have not been seen, or not by these configs.

        Files that are still being written are left to the watcher or, without one, waited for.
        """
        rules = dumps(sorted([c.id, c.input_path or ""] for c in self._configs))
        before = json.loads(self._ledger.state(_RULES) or "[]")
        new = [c for c in self._configs if [c.id, c.input_path or ""] not in before]
        moving: list[str] = []
        for batch in batched(self._inputs.scan(on_error=self._trouble), _BATCH):
            if self._stopping.is_set():
                return
            found = [file for file in batch if self._wanted(file.key)]
            if watcher is not None:
                settled = watcher.settled(found)
            else:
                settled = [file for file in found if self._rests(file)]
                moving += [file.key for file in found if not self._rests(file)]
            self._queue_runs(settled, new=new)
        self._ledger.set_state(_RULES, rules)
        self._wait_for(moving)

    def _wait_for(self, keys: list[str]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while keys and time.monotonic() < deadline and not self._stopping.wait(0.1):
            found = [file for key in keys if (file := self._inputs.find(key)) is not None]
            self._queue_runs([file for file in found if self._rests(file)])
            keys = [file.key for file in found if not self._rests(file)]

    def _rests(self, file: RawFile) -> bool:
        """Whether a file's time lies ``settle`` back, or in the future, which tells nothing."""
        age = (time.time_ns() - file.mtime_ns) / 1e9
        settle = max((c.settle for c in self._configs if takes(c, file.key)), default=0.0)
        return age >= settle or age < -settle

    def take_in(self, keys: Iterable[str]) -> None:
        """Take in files by their keys; those that are gone or do not count are passed over."""
        for batch in batched(keys, _BATCH):
            found = [self._inputs.find(key) for key in batch if self._wanted(key)]
            self._queue_runs([file for file in found if file is not None])

    def list(self, config: Config) -> list[Input]:
        """The files under a scheduled ingest's path, hashed only where they have changed."""
        listed: list[Input] = []
        oldest = time.time_ns() - int(config.settle * 1e9)
        for batch in batched(self._inputs.scan(config.input_path or "", self._trouble), _BATCH):
            found = [file for file in batch if file.mtime_ns <= oldest]
            known = self._ledger.seen_files.at(file.key for file in found)
            rows = [row for file in found if (row := self._row(file, known)) is not None]
            # For a file that also sets off a run of its own, "seen" means that this run is queued.
            new = [r for r in rows if known.get(r.key) != r and not self._wanted(r.key)]
            self._ledger.seen_files.add(new)
            listed += [Input(row.key, row.sha256, row.size) for row in rows]
        return listed

    def _wanted(self, key: str) -> bool:
        return any(takes(config, key) for config in self._configs)

    def _queue_runs(self, found: Sequence[RawFile], *, new: Sequence[Config] = ()) -> None:
        """Queue the runs of files that have changed since they were seen, all in one step.

        ``new`` configs have seen none of them.
        """
        known = self._ledger.seen_files.at(file.key for file in found)
        rows: list[SeenFile] = []
        runs: list[Run] = []
        for file in found:
            before = known.get(file.key)
            row = self._row(file, known)
            configs = new if row == before else self._configs
            if row is None or not any(takes(config, row.key) for config in configs):
                continue
            rows.append(row)
            event = FileArrived(Input(row.key, row.sha256, row.size), self._now())
            runs += select(configs, event, self._ledger).runs
        if rows:
            self._queue.enqueue(runs, self._now(), seen=rows)

    def _row(self, file: RawFile, known: dict[str, SeenFile]) -> SeenFile | None:
        """What to note of a file; its content is hashed unless nothing about it has changed."""
        before = known.get(file.key)
        if before is not None and before[:5] == tuple(file):
            return before
        try:
            return self._inputs.hash_file(file)
        except InputChanged:  # it is being written to again, and will come to rest again
            return None
        except StorageError as error:
            self._say(str(error))
            return None

    def _trouble(self, key: str, error: OSError) -> None:
        self._say(f"{key} cannot be read: {error.strerror or error}")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to ``size`` items."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
