"""Files that arrived: hashed, matched with configs, and their runs queued."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.dispatch import BACKLOG, Dispatcher
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.records import dumps
from tidegate.runtime.related_files import has_related
from tidegate.runtime.select import takes, under
from tidegate.targets.local.arrivals import Arrivals
from tidegate.targets.local.inputs import LARGE, FolderInputs, RawFile
from tidegate.targets.local.large_files import LargeFileQueue, LargeFiles
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.listener import StorageTrouble, internal_error
from tidegate.targets.local.look import InputLook
from tidegate.targets.local.open_files import OpenFiles
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.reading import LookAgain, Reader
from tidegate.targets.local.related import RelatedFiles
from tidegate.targets.local.sightings import BATCH, Sightings, batched
from tidegate.targets.local.watch import Watcher

logger = logging.getLogger(__name__)

_RULES = "intake/rules"
_WAIT_FOR_WRITERS = 60.0
_PAUSE = 5.0
_LONG = 5.0
_NAMED = 5
_END = 30.0


class Intake:
    """Queues the runs of files that arrived; has a thread of its own once it is started.

    A file counts as seen from the transaction on in which its runs are queued. Large files are
    hashed on other threads. Files that arrive go before those that were there at the start, also
    while it looks for the latter. ``not_run`` are further configs, of which no runs are queued now.
    """

    def __init__(
        self,
        inputs: FolderInputs,
        sightings: Sightings,
        ledger: SqliteLedger,
        queue: SqliteQueue,
        dispatcher: Dispatcher,
        trouble: StorageTrouble,
        say: Callable[[str], None],
        not_run: Sequence[Config] = (),
    ) -> None:
        configs = dispatcher.context.manifest.configs
        self._all_configs = (*configs, *not_run)
        self._configs = [config for config in configs if config.trigger == "S3"]
        self._with_related = [config for config in self._configs if has_related(config)]
        self._inputs = inputs
        self._open_files = OpenFiles(inputs.root)
        self._sightings = sightings
        self._ledger = ledger
        self._queue = queue
        self._dispatcher = dispatcher
        self._trouble = trouble
        self._say = say
        self._arrivals = Arrivals(functools.partial(_config_of, self._configs))
        self._unfinished = 0
        self._again = LookAgain()
        self._large = LargeFileQueue(self._take_large, self._large_taken)
        self._queued: Callable[[], None] = lambda: None
        self._related = RelatedFiles(inputs, ledger, self._has_settled)
        self._lock = threading.Lock()
        self._submitting = threading.Lock()  # two runs of one group must not be queued at once
        self._stopping = threading.Event()
        self._reader = Reader(sightings, self._again, self._stopping)
        self._thread: threading.Thread | None = None
        self.failure: TidegateError | None = None
        """Why the thread ended before it was asked to."""

    # --- the thread -------------------------------------------------------------------------

    def start(self, watcher: Watcher, queued: Callable[[], None]) -> None:
        """Take in the files that are there, then those that the watcher reports.

        ``queued`` is called whenever runs may have been queued.
        """
        self._count(1)
        self._queued = queued

        def work() -> None:
            try:
                self._until_stored(lambda: self.take_all(watcher))
                queued()
                self._count(-1)
                while (keys := self._next(watcher)) is not None:
                    self._until_stored(functools.partial(self.take, keys))
                    queued()
                    self._count(-len(keys))
            except Exception as error:
                self._fail(error)

        self._thread = threading.Thread(target=work, name="tidegate-intake", daemon=True)
        self._thread.start()

    def arrived(self, keys: Iterable[str]) -> None:
        """The watcher calls this when files are complete."""
        keys = list(keys)
        self._count(len(keys))
        self._arrivals.put(keys)

    def done(self, keys: Sequence[str]) -> set[str]:
        """Which of these files need not be taken in: nothing takes them, or they are unchanged."""
        unwanted = {key for key in keys if not self._sightings.is_wanted(key)}
        found = (self._inputs.as_listed(key) for key in keys if key not in unwanted)
        try:
            unchanged = self._ledger.seen_files.unchanged(f for f in found if f is not None)
        except TidegateError:  # whoever takes them in says so
            return unwanted
        return unwanted | unchanged

    def busy(self) -> bool:
        """Whether there are files whose runs are not queued yet."""
        return self._unfinished > 0 or self._large.busy() or self._again.has_changed()

    def stop(self) -> None:
        """Take in no more files; the next start finds the others."""
        self._stopping.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._arrivals.close()
        if self._thread is not None:
            self._thread.join(_END)
        self._large.close(_END)
        self._reader.close()

    def _next(self, watcher: Watcher) -> list[str] | None:
        """Keys that arrived, or that changed while they were read; None when it is time to end.

        Whoever gets them counts them as finished.
        """
        while not self._arrivals.closed:
            if arrived := self._arrivals.take(BATCH, self._again.seconds()):
                return arrived
            keys = [*self._again.take_changed(), *self._again.take_overdue()]
            found = [file for key in keys if (file := self._inputs.find(key)) is not None]
            if settled := watcher.settled(found):  # the watcher reports the others
                self._count(len(settled))
                return [file.key for file in settled]
        return None

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, TidegateError):
            logger.error("the intake ended", exc_info=error, extra={"action": "intake"})
        self.failure = error if isinstance(error, TidegateError) else internal_error(error)

    def _until_stored(self, step: Callable[[], None]) -> None:
        """Repeat a step until the ledger can be written: no arrival is forgotten."""
        while not self._stopping.is_set():
            try:
                step()
                return
            except StorageError as error:
                self._trouble.report(error)
                self._stopping.wait(_PAUSE)

    def _count(self, change: int) -> None:
        with self._lock:
            self._unfinished += change

    # --- files ------------------------------------------------------------------------------

    def take_all(self, watcher: Watcher | None = None) -> None:
        """Take in all files that are there and have not been seen, or not by these configs.

        Files that have not settled are left to the watcher or, without one, waited for.
        """
        # The oldest first: of files that give the same product, the newest is then the last.
        rules = dumps(sorted([c.id, c.input_path or ""] for c in self._configs))
        before = json.loads(self._ledger.state(_RULES) or "[]")
        new = [c for c in self._configs if [c.id, c.input_path or ""] not in before]
        settled, being_written = self._look_through(new, watcher)
        if self._stopping.is_set():
            return
        settled.sort(key=_arrival)
        for batch in batched(settled, BATCH):
            if self._stopping.is_set():
                return
            self._submit(batch, new=new, priority=BACKLOG)
            self._take_waiting()
        self._ledger.set_state(_RULES, rules)
        if watcher is None:
            self._wait_for(being_written)
            if waiting := self._again.waiting():
                self._say(
                    f"left for the next time: {_named(waiting)}, without the files "
                    "that `companions` names; run `tidegate up --once` again when they are there"
                )

    def _look_through(
        self, new: Sequence[Config], watcher: Watcher | None
    ) -> tuple[list[RawFile], list[str]]:
        """Look for files that have not been taken in: those that have settled, and other keys.

        With a watcher, files that arrive meanwhile are taken in, and it reports the others.
        """
        settled: list[RawFile] = []
        being_written: list[str] = []
        look = InputLook(self._inputs.root, self._sightings, self._ledger, self._all_configs)
        for found in look.new_files(new, self._dispatcher.context.now):
            if self._stopping.is_set():
                return [], []
            if watcher is not None:
                settled += watcher.settled(found)
                self._take_waiting()
            else:
                settled += [file for file in found if self._has_settled(file)]
                being_written += [file.key for file in found if not self._has_settled(file)]
        for files in look.skipped.found():
            self._say(f"in {self._inputs.root.name}/: {files}")
        return settled, being_written

    def _take_waiting(self) -> None:
        """Take in the files that arrived meanwhile: they need not wait for all older ones."""
        while keys := self._arrivals.take(BATCH, 0.0):
            try:
                self.take(keys)
            except BaseException:
                self._arrivals.put(keys)
                raise
            self._count(-len(keys))
            self._queued()

    def take(self, keys: Iterable[str]) -> None:
        """Take in files by their keys; those that were removed or do not count are skipped."""
        for batch in batched(keys, BATCH):
            known = self._ledger.seen_files.at(batch)  # most of them, when all files are reported
            new = [key for key in batch if not self._inputs.is_unchanged(key, known.get(key))]
            found = [self._inputs.find(key) for key in new if self._sightings.is_wanted(key)]
            self._submit(sorted((file for file in found if file is not None), key=_arrival))

    def _wait_for(self, keys: list[str]) -> None:
        """Take in files once they have settled; say which ones are left after a while."""
        longest = max((self._settle(key) for key in keys), default=0.0)
        if longest >= _LONG:
            self._say(f"waiting up to {longest:.0f} s (`settle`) for {_named(keys)}")
        begun = time.monotonic()
        until = dict.fromkeys(keys, begun + longest + _WAIT_FOR_WRITERS)
        while not self._stopping.is_set() and self.failure is None:
            hashing = self._large.busy()  # before the next line: what has changed is noted there
            for key in self._again.take_changed():
                until.setdefault(key, time.monotonic() + _WAIT_FOR_WRITERS)
            late = [key for key, end in until.items() if time.monotonic() > end]
            if late:
                self._say(
                    f"left for the next time: {_named(late)}, which changed until just now, or is "
                    "still open for writing; run `tidegate up --once` again when it is complete"
                )
            for key in late:
                del until[key]
            if not until and not hashing:
                return
            self._stopping.wait(0.1)
            found = [file for key in until if (file := self._inputs.find(key)) is not None]
            ready = [file for file in found if self._has_settled(file)]
            self._submit(ready)
            until = {f.key: until[f.key] for f in found if f not in ready}

    def _settle(self, key: str) -> float:
        return max((c.settle for c in self._configs if takes(c, key)), default=0.0)

    def _has_settled(self, file: RawFile) -> bool:
        """Whether a file was last written ``settle`` ago, or in the future, which says nothing.

        One that is open for writing has not settled.
        """
        if file.key in self._open_files.current():
            return False
        age = (time.time_ns() - file.mtime_ns) / 1e9
        settle = self._settle(file.key)
        return age >= settle or age < -settle

    def _submit(
        self, found: Sequence[RawFile], *, new: Sequence[Config] = (), priority: int = 0
    ) -> None:
        """Queue the runs of files that have changed since they were seen, in one transaction.

        ``new`` are configs that have seen none of the files: for them, unchanged files count too.
        """
        known = self._ledger.seen_files.at(file.key for file in found)
        large = self._put_large(found, known, new, priority)
        with suppress(Interrupted):
            rows = self._reader.read([file for file in found if file not in large], known)
            self._submit_rows(rows, new, priority)

    def _submit_rows(self, rows: Sequence[SeenFile], new: Sequence[Config], priority: int) -> None:
        with self._submitting:
            known = self._ledger.seen_files.at(row.key for row in rows)
            changed = [row for row in rows if row != known.get(row.key)]
            unchanged = [row for row in rows if row == known.get(row.key)]
            for configs, group in ((self._configs, changed), (new, unchanged)):
                self._submit_for(configs, group, priority)

    def _put_large(
        self,
        found: Sequence[RawFile],
        known: Mapping[str, SeenFile],
        new: Sequence[Config],
        priority: int,
    ) -> set[RawFile]:
        """Have large files hashed on other threads, with others that may belong to their runs."""
        unread = [f for f in found if f.key not in known or known[f.key][:5] != tuple(f)]
        large = {file for file in unread if file.size >= LARGE}
        related = [f for f in unread if any(takes(config, f.key) for config in self._with_related)]
        together = related if large.intersection(related) else []
        for files in (together, *([file] for file in large.difference(related))):
            self._large.put(files, new, priority)
        return large.union(together)

    def _take_large(self, large: LargeFiles) -> None:
        """Hash large files and queue their runs."""
        try:
            rows = self._reader.read(large.files, {})
            self._related.hash_members(self._configs, rows, self._dispatcher.context.now())
            rows = [row for row in rows if self._is_present(row)]
            self._until_stored(lambda: self._submit_rows(rows, large.new, large.priority))
            self._queued()
        except Interrupted:
            pass
        except Exception as error:
            self._fail(error)

    def _large_taken(self, large: LargeFiles) -> None:
        """Look at files again that may have changed while they were hashed."""
        for file in large.files:
            self._again.add(file.key, 0.0)
        self._arrivals.wake()

    def _is_present(self, row: SeenFile) -> bool:
        """Whether a file is still the one that was hashed; it may have grown."""
        file = self._inputs.find(row.key)
        return file is not None and file.inode == row.inode and file.size >= row.size

    def _submit_for(
        self, configs: Sequence[Config], rows: Sequence[SeenFile], priority: int
    ) -> None:
        taken = [row for row in rows if any(takes(config, row.key) for config in configs)]
        now = self._dispatcher.context.now()
        waiting = self._related.waiting(configs, taken, now)
        for key, until in waiting.items():
            self._again.add_waiting(key, (until - now).total_seconds())
        taken = [row for row in taken if row.key not in waiting]
        if not taken:
            return
        self._dispatcher.submit(
            *self._related.arrivals(configs, taken, now),
            configs=configs,
            put=functools.partial(self._queue.put, seen=taken),
            priority=priority,
        )


def _config_of(configs: Sequence[Config], key: str) -> str:
    """The first config with an input path above that file."""
    return next((c.id for c in configs if under(c.input_path or "", key)), "")


def _arrival(file: RawFile) -> tuple[int, str]:
    """The order of files: by their time, then by name."""
    return file.mtime_ns, file.key


def _named(keys: Sequence[str]) -> str:
    """Some of these names, and how many more there are."""
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")
