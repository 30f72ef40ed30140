"""Slots: threads that take runs from the queue, each with a worker process of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tidegate.errors import TidegateError
from tidegate.runtime.process import WorkerProcess, resident_memory
from tidegate.runtime.runs import Run
from tidegate.runtime.task import Outcome, Perform, Task

logger = logging.getLogger(__name__)

RUNS_PER_WORKER = 500
"""A worker is replaced after so many runs, so that leaks in user code stay bounded."""
SWOLLEN = 0.6
"""It is replaced earlier when, between two runs, it holds more than this part of the ``memory`` of
its last config: the next run would soon be stopped for what earlier ones have left."""


class Stopped(BaseException):
    """The service is stopping: the run is handed back as if it had never been taken."""


def unforeseen(error: Exception) -> TidegateError:
    """A fault of Tidegate's own, told as what it is."""
    return TidegateError(
        "Tidegate has failed, and not your data or your pipelines",
        why=repr(error),
        next="start it again: nothing is lost; please report it with the traceback above",
    )


class Slot(threading.Thread):
    """One worker process and the thread that feeds it.

    ``take`` blocks for the next run and returns None when it is time to stop; ``carry_out`` does
    the run with the ``perform`` that it is given.
    """

    def __init__(
        self,
        number: int,
        worker: WorkerProcess,
        take: Callable[[], Run | None],
        carry_out: Callable[[Run, Perform], None],
        *,
        runs_per_worker: int = RUNS_PER_WORKER,
    ) -> None:
        super().__init__(name=f"tidegate-slot-{number}", daemon=True)
        self._worker = worker
        self._take = take
        self._carry_out = carry_out
        self._runs_per_worker = runs_per_worker
        self._stopping = threading.Event()
        self._memory = 0
        self.failure: TidegateError | None = None
        """Why this slot gave up: no worker can be started any more."""

    def run(self) -> None:
        """Take and carry out runs until told to stop."""
        try:
            while (run := self._take()) is not None:
                try:
                    self._carry_out(run, self._perform)
                except Stopped:
                    break
                self._replace_if_worn()
        except TidegateError as error:
            self.failure = error
        except Exception as error:  # a fault of ours: better to end than to idle
            logger.exception("a slot ended", extra={"action": "slot"})
            self.failure = unforeseen(error)
        finally:
            self._worker.close()

    def interrupt(self) -> None:
        """Stop at once what runs; its run is handed back."""
        self._stopping.set()
        self._worker.interrupt()

    def _perform(self, task: Task) -> Outcome:
        if self._stopping.is_set():
            raise Stopped
        self._memory = task.config.memory
        try:
            return self._worker.perform(task)
        except TidegateError:
            if self._stopping.is_set():
                raise Stopped from None
            raise

    def _replace_if_worn(self) -> None:
        """A new process from time to time, and when this one has grown large between two runs."""
        pid = self._worker.pid
        if pid is None:
            return
        swollen = resident_memory(pid) > SWOLLEN * self._memory
        if self._worker.runs >= self._runs_per_worker or swollen:
            self._worker.close()
