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

    def __init__(self, executor: Executor, free: threading.Condition) -> None:
        """``free`` is notified when a place has become free."""
        self._executor = executor
        self._free = free
        self._holders: set[int] = set()
        self._repeating = 0

    @property
    def slots(self) -> int:
        return self._executor.slots

    @property
    def capacity(self) -> int:
        return self._executor.capacity

    def expect(self, runs: int) -> None:
        self._executor.expect(runs)

    def is_one_free(self) -> bool:
        """Whether there is a free place, or the calling thread holds one. Hold ``free``."""
        return threading.get_ident() in self._holders or self.is_another_free()

    def is_another_free(self) -> bool:
        """Whether there is a free place for one more thread. Hold ``free``."""
        return len(self._holders) < self.capacity

    def hold(self) -> None:
        """Have a place for the calling thread. Hold ``free``."""
        self._holders.add(threading.get_ident())

    def give_back(self) -> None:
        """Give up a place for which there is no run, and wake nobody. Hold ``free``."""
        self._holders.discard(threading.get_ident())

    def leave(self) -> None:
        """Give up the calling thread's place, if it holds one."""
        with self._free:
            if threading.get_ident() in self._holders:
                self._holders.discard(threading.get_ident())
                self._wake()

    def start(self) -> None:
        self._executor.start()

    def perform(self, task: Task, limits: Limits) -> Outcome:
        self._take_place()
        try:
            return self._executor.perform(task, limits)
        finally:
            self.leave()

    def _take_place(self) -> None:
        """A run that is repeated on a fresh worker has left its place, and waits for another."""
        with self._free:
            self._repeating += 1
            while self.capacity and not self.is_one_free():  # without workers, the executor waits
                self._free.wait(1.0)
            self._repeating -= 1
            self.hold()

    def _wake(self) -> None:
        if self._repeating:  # who is woken alone may look for a run, and find none
            self._free.notify_all()
        else:
            self._free.notify()

    def interrupt(self) -> None:
        self._executor.interrupt()

    def close(self) -> None:
        self._executor.close()
