"""Threads that take runs from the queue and carry them out, several at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.disk_space import is_full_disk
from tidegate.runtime.dispatch import FULL_DISK, Dispatcher
from tidegate.runtime.protocols import Interrupted, QueuedRun
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import StorageTrouble, internal_error
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.worker_places import WorkerPlaces

logger = logging.getLogger(__name__)

_IDLE = 5.0
_LONG = 60.0
_TICK = 0.5
_LEDGER_PAUSE = 5.0
_MOST_PUBLISHING = 4


class RunLoops:
    """Threads for the runs that are with the executor, and a few for those being published.

    There may be hundreds: one that has no run is woken alone, and wakes the next when it has found
    a run. What it does not find, none would find.

    At most ``concurrency`` runs of a config go on at once, and none of those in ``not_run``. While
    the ledger cannot be written, the loops wait.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        queue: SqliteQueue,
        ledger: SqliteLedger,
        trouble: StorageTrouble,
        hold: Callable[[], bool] = lambda: False,
        not_run: Collection[str] = (),
    ) -> None:
        """While ``hold()`` is true, no run is started."""
        self._hold = hold
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        """Whoever waits for the end of runs."""
        self._free = threading.Condition(lock)
        """The threads that have no run."""
        self._taking = threading.Lock()
        self._woken = 0
        """How often there was a reason to look into the queue again."""
        self._one_looks = False
        self._places = WorkerPlaces(dispatcher.context.executor, self._free)
        context = replace(dispatcher.context, executor=self._places)
        self._dispatcher = replace(dispatcher, context=context, ended=self._ended)
        self._tell = dispatcher.ended
        self._queue = queue
        self._ledger = ledger
        self._trouble = trouble
        self._not_run = list(not_run)
        self._stopping = threading.Event()
        self._running: Counter[str] = Counter()
        self._only: Collection[str] | None = None
        self._awaited: set[str] | None = None
        self._no_room_until = 0.0
        self._threads: list[threading.Thread] = []
        self.failure: TidegateError | None = None
        """Why a loop ended before it was asked to."""
        self.tally: Counter[str] = Counter()
        """How many attempts ended in each state, since the start."""

    @property
    def awaited(self) -> frozenset[str]:
        """The keys of the awaited runs that have not ended."""
        return frozenset(self._awaited or ())

    # --- from outside -----------------------------------------------------------------------

    def restrict(self, only: Collection[str], awaited: Iterable[str]) -> None:
        """Take only runs with these keys; ``drain`` waits for the ``awaited`` ones."""
        with self._changed:
            self._only, self._awaited = only, set(awaited)

    def start(self) -> None:
        """Start the threads."""
        slots = self._places.slots
        for number in range(slots + min(slots, _MOST_PUBLISHING)):
            thread = threading.Thread(target=self._loop, name=f"tidegate-run-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look into the queue now."""
        with self._free:
            self._woken += 1
            self._free.notify()

    def stop(self) -> None:
        """Take no more runs."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait until all threads have ended, at most so long."""
        self._wake_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _wake_all(self) -> None:
        with self._changed:
            self._woken += 1
            self._free.notify_all()
            self._changed.notify_all()

    def over(self) -> bool:
        """Whether the loops were stopped, or one has failed."""
        return self._stopping.is_set() or self.failure is not None

    def at_work(self) -> bool:
        """Whether a run is being carried out."""
        with self._changed:
            return bool(self._running.total())

    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        with self._changed:
            return not self._running.total() and not self.waiting()

    def waiting(self) -> int:
        """How many runs wait or go on, without those of configs that do not run now."""
        return self._queue.count() - sum(self._queue.count(id) for id in self._not_run)

    def drain(
        self, interrupted: Callable[[], bool], waiting: Callable[[int], None] = lambda count: None
    ) -> None:
        """Wait until the queue is empty, or the awaited runs have ended, and nothing runs.

        ``waiting`` is called about twice a second with how many runs wait or go on.
        """
        while not self.over() and not interrupted():
            count = self._left()
            with self._changed:
                running = self._running.total()
                if not count and not running:
                    count = self._left()  # nothing is at work, so nothing is on its way into it
                if count or running:
                    self._changed.wait(_TICK)
            waiting(count or running)
            if not count and not running:
                return

    def _left(self) -> int:
        return self.waiting() if self._awaited is None else len(self._awaited)

    # --- one loop ---------------------------------------------------------------------------

    def _loop(self) -> None:
        try:
            while (queued := self._take()) is not None:
                try:
                    self._work(queued)
                finally:
                    with self._changed:
                        self._running[queued.run.config] -= 1
                        if not self._running.total():
                            self._changed.notify_all()
                        self._places.leave()
                        self._woken += 1  # its config may have been at its limit: look again
        except Interrupted:
            pass
        except TidegateError as error:
            # The ledger or the environment is broken: nothing can be recorded any more.
            self.failure = self.failure or error
            self._wake_all()
        except Exception as error:  # a bug: better to end than to do nothing
            logger.exception("a run loop ended", extra={"action": "run_loop"})
            self.failure = self.failure or internal_error(error)
            self._wake_all()

    def _take(self) -> QueuedRun | None:
        """The next run that may go on now; waits for one. None when it is time to end."""
        while self._get_place():
            with self._taking:  # not the other lock: threads with an outcome need not wait for this
                woken = self._woken
                queued = self._look()
            if queued is not None:
                return queued
            with self._free:
                self._places.give_back()
                if woken == self._woken:
                    self._wait(_IDLE)
        return None

    def _get_place(self) -> bool:
        """Have a place for the calling thread; waits for one. False when it is time to end."""
        with self._free:
            while not self.over():
                held = time.monotonic() < self._no_room_until or self._hold()
                if not held and self._places.is_one_free():
                    self._places.hold()
                    return True
                self._wait(_TICK)
        return False

    def _look(self) -> QueuedRun | None:
        """The next run that may go on now, if there is one."""
        with self._free:
            full = self._full()
        now = self._dispatcher.context.now()
        try:
            queued = self._queue.take(now, exclude_configs=full, only=self._only)
        except StorageError as error:
            self._trouble.report(error)
            return None
        if queued is not None:
            with self._free:
                self._running[queued.run.config] += 1
                if self._places.is_another_free():
                    self._free.notify()
        return queued

    def _wait(self, seconds: float) -> None:
        """Wait until woken. One of the threads looks again by itself after ``seconds``."""
        looks, self._one_looks = not self._one_looks, True
        try:
            self._free.wait(seconds if looks else _LONG)
        finally:
            if looks:
                self._one_looks = False

    def _full(self) -> list[str]:
        return self._not_run + [
            config.id
            for config in self._dispatcher.context.manifest.configs
            if config.concurrency and self._running[config.id] >= config.concurrency
        ]

    def _work(self, queued: QueuedRun) -> None:
        """Carry out a run; while the ledger cannot be written, wait and then claim it again."""
        claimed = False
        while True:
            try:
                if claimed:  # by the attempt whose end could not be written
                    self._ledger.abandon(self._dispatcher.context.owner)
                record = self._dispatcher.work(queued)
                break
            except StorageError as error:
                claimed = True
                self._trouble.report(error)
                if self._stopping.wait(_LEDGER_PAUSE):
                    raise Interrupted from None
        if self._awaited is not None and (record is None or record.state != "retrying"):
            self._awaited.discard(queued.run.key)

    def _ended(self, record: RunRecord) -> None:
        self.tally[record.state] += 1
        if record.state == "retrying" and record.failure and is_full_disk(record.failure):
            # The other runs would fail in the same way: the queue pauses.
            self._no_room_until = time.monotonic() + FULL_DISK.total_seconds()
            work = self._dispatcher.context.work
            self._trouble.report(StorageError(f"the disk of {work.parent} is full"))
        self._tell(record)
