"""Works on the jobs that are on record, in a thread of its own beside the run loops.

Each step counts runs that have ended, chooses some more, and keeps a few in the queue. All of it is
on record, so the next service goes on where this one was stopped or killed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.jobs import Job, scope_of
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import Window
from tidegate.targets.local.job_planning import Batch, Planner
from tidegate.targets.local.job_queue import JobQueue
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.ledger.jobs import with_state
from tidegate.targets.local.listener import StorageTrouble, internal_error

logger = logging.getLogger(__name__)

_TICK = 0.5
_SHORTEST = 0.05
_CHOSEN = 500
_LONGEST_CHOICE = 1.0
_LONGEST_STEP = 60.0
_PER_SLOT = 10
_LEAST_QUEUED = 50


@dataclass(frozen=True)
class JobSurroundings:
    """What a ``JobRunner`` works with."""

    manifest: Manifest
    """The configs."""
    ledger: SqliteLedger
    """Where jobs are on record."""
    planner: Planner
    """Finds their runs."""
    slots: int
    """How many runs go on at once."""
    now: Callable[[], datetime]
    """The clock."""
    trouble: StorageTrouble
    """Says that the ledger cannot be used."""
    queued: Callable[[], None]
    """Called when runs may have been queued."""


class JobRunner:
    """Carries jobs on: all that are running, or only one."""

    def __init__(self, surroundings: JobSurroundings) -> None:
        self._with = surroundings
        self._jobs = surroundings.ledger.jobs
        self._queue = JobQueue(surroundings.ledger)
        self._only: str | None = None
        self._open: list[Job] = []
        self._choosing: dict[str, tuple[Job, Iterator[Batch]]] = {}
        self._last: dict[str, float] = {}
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: TidegateError | None = None
        """Why the thread ended before it was asked to."""

    # --- from outside -----------------------------------------------------------------------

    def look(self) -> None:
        """Read which jobs there are; ``is_held`` answers from this."""
        self._open = self._jobs.open()

    def start(self, only: str | None = None) -> None:
        """Start the thread, unless it is at work; ``only`` is the job to work on, if not all."""
        if self._thread is None:
            self._only = only
            self._thread = threading.Thread(target=self._work, name="tidegate-jobs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """A run has ended: look now."""
        self._due.set()

    def stop(self) -> None:
        """Choose and queue no more runs."""
        self._stopping.set()
        self._due.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
            with suppress(StorageError):  # the next service counts what is left
                for job in self._mine():
                    self._queue.collect(job.id, 0.0)

    def busy(self) -> bool:
        """Whether there is a job to work on, as far as the last look has shown."""
        return any(job.state == "running" for job in self._mine())

    def is_held(self, config: Config, window: Window) -> bool:
        """Whether schedules leave out a window, because a job is going to change or make it."""
        return any(job.is_held(config.id, window) for job in self._open)

    # --- the thread -------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self.step()
                except StorageError as error:
                    self._with.trouble.report(error)
                self._stopping.wait(_SHORTEST)
                self._due.wait(_TICK)
                self._due.clear()
        except TidegateError as error:
            self.failure = error
        except Exception as error:
            logger.exception("the work on jobs ended", extra={"action": "jobs"})
            self.failure = internal_error(error)

    def _mine(self) -> list[Job]:
        return [job for job in self._open if self._only in (None, job.id)]

    def step(self) -> None:
        """Count, choose and queue once, for each job that is running."""
        self.look()
        for job in self._mine():
            now = time.monotonic()
            before = self._last.get(job.id)
            at_work = job.state == "running" and before is not None
            took = min(now - before, _LONGEST_STEP) if at_work and before is not None else 0.0
            self._last[job.id] = now
            # Runs of a job that is paused may still have been at work.
            counted = self._queue.collect(job.id, took)
            if counted is not None and counted.state == "running":
                self._carry_on(counted)
        if self.busy():
            self._with.queued()

    def _carry_on(self, job: Job) -> None:
        waiting, queued = self._jobs.left(job.id)
        most = job.limit or max(_LEAST_QUEUED, _PER_SLOT * self._with.slots)
        if waiting and queued < most:
            self._queue.feed(job.id, most - queued, self._with.now())
        if waiting < _CHOSEN and not self._stopping.is_set():
            self._choose(job)
            waiting, queued = self._jobs.left(job.id)
            if waiting and queued < most:
                self._queue.feed(job.id, most - queued, self._with.now())
        self._go_to_next_stage(job.id)

    def _choose(self, job: Job) -> None:
        """Choose some of the next runs of the stage, and note them."""
        until = time.monotonic() + _LONGEST_CHOICE
        chosen = 0
        while chosen < _CHOSEN and time.monotonic() < until and job.next_config is not None:
            id = job.next_config
            config = next((c for c in self._with.manifest.configs if c.id == id), None)
            if config is None:
                message = f"{id} is not in the config, or cannot be loaded"
                self._queue.pause(job.id, self._with.now(), message)
                return
            batch = next(self._batches_of(job, config), None)
            if batch is None:
                then = replace(job, position=job.position + 1, cursor="")
            else:
                then = replace(job, cursor=batch.cursor)
            runs = batch.runs if batch is not None else []
            if not self._jobs.choose(job, then, runs):
                self._choosing.pop(job.id, None)
                return
            chosen += len(runs)
            if batch is None:  # the next config needs a search of its own
                self._choosing.pop(job.id, None)
            else:
                self._choosing[job.id] = (then, self._choosing[job.id][1])
            job = then

    def _batches_of(self, job: Job, config: Config) -> Iterator[Batch]:
        """The runs after the job's cursor; goes on with the search of before if that is there."""
        known = self._choosing.get(job.id)
        place = (job.stage, job.position, job.cursor)
        if known is None or place != (known[0].stage, known[0].position, known[0].cursor):
            found = self._with.planner.batches(scope_of(job, config), job.asked, job.cursor)
            self._choosing[job.id] = known = (job, found)
        return known[1]

    def _go_to_next_stage(self, id: str) -> None:
        """Begin the next stage, or end the job, once all runs of this one have ended."""
        job = self._jobs.get(id)
        if job is None or job.state != "running" or job.next_config is not None:
            return
        if self._jobs.left(id) != (0, 0):
            return
        if job.stage + 1 < len(job.stages):
            self._jobs.choose(job, replace(job, stage=job.stage + 1, position=0, cursor=""), ())
            self._due.set()
            return
        self._choosing.pop(id, None)
        now = self._with.now()
        self._jobs.update(id, lambda j: with_state(j, "done", now) if j.state == "running" else j)
        self.look()
