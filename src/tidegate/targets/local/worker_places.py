"""Lets one run be published and recorded while the next one has the worker already."""

from __future__ import annotations

import threading

from tidegate.runtime.protocols import Executor
from tidegate.runtime.task import Limits, Outcome, Task


class WorkerPlaces:
    """An executor with a place for each worker. A thread holds one from before it takes a run from
    the queue until the outcome is there, and not while the products are published.

    So no worker waits for the disk, and no run is taken from the queue before a worker is free:
    what arrives meanwhile may come first.
    """

    def __init__(self, executor: Executor, changed: threading.Condition) -> None:
        """``changed`` is notified when a place has become free."""
        self._executor = executor
        self._changed = changed
        self._holders: set[int] = set()

    @property
    def slots(self) -> int:
        return self._executor.slots

    def is_one_free(self) -> bool:
        """Whether there is a free place, or the calling thread holds one. Hold ``changed``."""
        return len(self._holders) < self.slots or threading.get_ident() in self._holders

    def hold(self) -> None:
        """Have a place for the calling thread. Hold ``changed``."""
        self._holders.add(threading.get_ident())

    def leave(self) -> None:
        """Give up the calling thread's place, if it holds one."""
        with self._changed:
            self._holders.discard(threading.get_ident())
            self._changed.notify_all()

    def start(self) -> None:
        self._executor.start()

    def perform(self, task: Task, limits: Limits) -> Outcome:
        with self._changed:  # a run that is repeated on a fresh worker has left its place
            self._changed.wait_for(self.is_one_free)
            self.hold()
        try:
            return self._executor.perform(task, limits)
        finally:
            self.leave()

    def interrupt(self) -> None:
        self._executor.interrupt()

    def close(self) -> None:
        self._executor.close()
