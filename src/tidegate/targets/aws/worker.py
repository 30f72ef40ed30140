"""The function's executor: one worker process, within the time and memory of the function."""

from __future__ import annotations

import logging
import os
import time

from tidegate.errors import RunTimeout, TidegateError, WorkerLost
from tidegate.runtime.memory import resident_memory
from tidegate.runtime.process import WorkerProcess, is_worn
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.task import Limits, Outcome, Task

logger = logging.getLogger(__name__)

MARGIN, MARGIN_PART = 15.0, 0.15
"""A run is stopped this many seconds, or this part of the invocation's time, before the invocation
ends (the smaller of both): the time is needed to publish and record."""
OWN_MEMORY = 64
"""Memory that is left for the function's own growth, MB."""
_LEAST_MEMORY = 128


class FunctionExecutor:
    """See ``runtime.protocols.Executor``. Runs go on one after the other, in the caller's thread.

    ``memory`` is the function's memory, MB; None where there is no such limit. ``run_memory`` is
    the limit that the function's config sets.
    """

    slots = capacity = 1

    def __init__(self, worker: WorkerProcess, memory: int | None, run_memory: int) -> None:
        self._worker = worker
        self._memory = memory
        self._run_memory = run_memory
        self._deadline = float("inf")
        self._performed = 0
        self._interrupted = False

    def expect(self, runs: int) -> None:
        """See ``Executor.expect``; there are no more workers to get."""

    def begin_invocation(self, seconds: float) -> None:
        """An invocation begins that the function has so much time for."""
        self._deadline = time.monotonic() + seconds - min(MARGIN, MARGIN_PART * seconds)
        self._performed = 0

    def time_left(self) -> float:
        """The time until the next run must have ended, s."""
        return self._deadline - time.monotonic()

    def start(self) -> None:
        """Start the worker if there is none, and replace a worn one; does not wait for it."""
        if self._worker.pid is not None:
            if not is_worn(self._worker, self._memory_limit(self._run_memory)):
                return
            self._worker.close()
        try:
            self._worker.launch()
        except Exception as error:  # the next run starts it, and reports what is wrong
            logger.warning("%s", error, extra={"action": "worker"})

    def perform(self, task: Task, limits: Limits) -> Outcome:
        """See ``Executor.perform``; the function's own time and memory are limits, too."""
        try:
            if self._interrupted:
                raise Interrupted
            return self._perform(task, limits)
        except TidegateError as error:
            if self._interrupted:
                raise Interrupted from error
            raise

    def _perform(self, task: Task, limits: Limits) -> Outcome:
        if task.fresh and self._worker.runs:
            self._worker.close()
        self._worker.start(max(self.time_left(), 1.0))
        timeout = float(int(min(limits.timeout, self.time_left())))
        if timeout < 1:
            raise WorkerLost("the function's time was over before the run began")
        first, self._performed = not self._performed, self._performed + 1
        try:
            return self._worker.perform(task, Limits(timeout, self._memory_limit(limits.memory)))
        except RunTimeout as error:
            if timeout >= limits.timeout:
                raise
            if not first:  # earlier runs have used up the time: not this one's fault
                raise WorkerLost("the function's time was over before the run was done") from error
            raise RunTimeout(
                f"the run was stopped after {timeout:g} s, when the function's time was over",
                next="raise `timeout` for this config, or look in the run's log for what takes so"
                " long",
            ) from error

    def interrupt(self) -> None:
        """Kill the worker."""
        self._interrupted = True
        self._worker.interrupt()

    def close(self) -> None:
        """End the worker."""
        self._interrupted = True
        self._worker.close()

    def _memory_limit(self, wanted: int) -> int:
        """The limit of the worker, MB: if the function itself used too much, Lambda would kill it
        together with everything in it."""
        if self._memory is None:
            return wanted
        own = int(resident_memory(os.getpid()) - resident_memory(self._worker.pid or 0))
        return max(min(wanted, self._memory - own - OWN_MEMORY), _LEAST_MEMORY)
