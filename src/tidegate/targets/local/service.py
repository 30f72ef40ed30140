"""What ``tidegate up`` does: watch for files and schedules, queue runs, and carry them out.

Threads: the watcher (reports files), the intake (hashes them and queues their runs), the run loops
(carry out runs) and the caller's own, which looks at the schedules. Everything that must survive a
crash is in the ledger: a file counts as seen only in the transaction in which its runs are queued,
and a run leaves the queue only in the transaction that records its end.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.context import Context
from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import Requested
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Executor, Target
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.scheduled_files import room_on
from tidegate.targets.local.cleaner import Cleaner
from tidegate.targets.local.code_changes import CodeChanges, NoCodeChanges
from tidegate.targets.local.housekeeping import Housekeeping, Retention
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.intake import Intake
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.job_runner import JobRunner, JobSurroundings
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener, StorageTrouble
from tidegate.targets.local.output_sweep import OutputSweep
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.outside_inputs import Outside, OutsideInputs
from tidegate.targets.local.places import Places
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.run_loops import RunLoops
from tidegate.targets.local.scheduler import Scheduler
from tidegate.targets.local.sightings import Sightings
from tidegate.targets.local.staleness import Staleness
from tidegate.targets.local.watch import Watcher

GRACE = 10.0
"""How long runs may go on after the service was asked to stop, s; then they go back to the queue"""
_TICK = 0.5
_CATCH_UP = 600.0
_DEFAULT_RETENTION = Retention()


def _utcnow() -> datetime:
    return datetime.now(timezone.utc)


class Service:
    """One service over the folders of one workspace, which nobody else serves at the same time.

    It ends when ``code`` has changed, once the running runs have ended: ``code_change`` says what.
    Runs of the configs in ``not_run``, which cannot be loaded now, stay in the queue.
    """

    def __init__(
        self,
        places: Places,
        manifest: Manifest,
        executor: Executor,
        listener: Listener | None = None,
        *,
        now: Callable[[], datetime] = _utcnow,
        outside: Outside | None = None,
        poll: bool = False,
        code: CodeChanges | None = None,
        keep: Retention = _DEFAULT_RETENTION,
        not_run: Sequence[Config] = (),
    ) -> None:
        self._places = places
        self._manifest = manifest
        self._executor = executor
        self._listener = listener or Listener()
        self._now = now
        self._poll = poll
        self._code = code or NoCodeChanges()
        self.code_change = ""
        """What has changed in the code, if that is why the service has ended."""
        self._job: str | None = None  # the only job to work on, if nothing else is
        self._ledger = SqliteLedger(places.ledger)
        self._queue = SqliteQueue(self._ledger)
        self._outputs = FolderOutputs(places.output, places.work)
        self._sweep = OutputSweep(self._outputs, self._ledger)
        self._cleaner = Cleaner()
        inputs = FolderInputs(places.input, seen=self._ledger.seen_files)
        target = Target(OutsideInputs(inputs, outside or {}), self._outputs, self._ledger)
        self._sightings = Sightings(inputs, manifest.configs, self._ledger, self._listener.say)
        self._trouble = StorageTrouble(self._listener)
        planner = Planner(manifest, self._ledger, inputs, self._sightings, places.output)
        parts = manifest, self._ledger, planner, executor.slots, now, self._trouble
        self._jobs = JobRunner(JobSurroundings(*parts, queued=self._feed_loops))
        self._dispatcher = self._new_dispatcher(target)
        self._not_run = not_run
        self._loops = RunLoops(
            self._dispatcher,
            self._queue,
            self._ledger,
            self._trouble,
            hold=lambda: self._code.suspected,
            not_run=[config.id for config in not_run],
        )
        self._intake = self._new_intake(inputs)
        stores = self._dispatcher, self._ledger, self._queue, self._sightings
        say, wake = self._listener.say, self._loops.wake
        self._scheduler = Scheduler(*stores, self._trouble, say, queued=wake)
        self._housekeeping = Housekeeping(places, self._ledger, keep, self._listener.say)
        self._stop = threading.Event()

    def _new_dispatcher(self, target: Target) -> Dispatcher:
        context = Context(
            self._manifest,
            target,
            self._executor,
            owner=f"{os.getpid()}-{uuid.uuid4().hex[:8]}",
            work=self._places.work,
            keep_log=self._keep_log,
            now=self._now,
            discard=self._cleaner.discard,
            code_changed=self._code.affects,
        )
        return Dispatcher(
            context,
            self._queue,
            ended=self._ended,
            say=self._listener.say,
            room=lambda: room_on(self._places.work, max(1, self._executor.capacity)),
            held=self._jobs.is_held,
        )

    def _new_intake(self, inputs: FolderInputs) -> Intake:
        return Intake(
            inputs,
            self._sightings,
            self._ledger,
            self._queue,
            self._dispatcher,
            self._trouble,
            self._listener.say,
            self._not_run,
        )

    def _ended(self, record: RunRecord) -> None:
        self._listener.ended(record)
        self._jobs.wake()

    def _feed_loops(self) -> None:
        if self._job is not None:
            keys = self._ledger.jobs.queued_keys(self._job)
            self._loops.restrict(self._queue.with_earlier(keys), awaited=())
        self._loops.wake()

    @property
    def tally(self) -> Counter[str]:
        """How many attempts ended in each state, since the start."""
        return self._loops.tally

    @property
    def left(self) -> frozenset[str]:
        """The keys of the runs given to ``carry_out`` that have not ended."""
        return self._loops.awaited

    # --- what a service can be asked for ----------------------------------------------------

    def up(self) -> None:
        """Take in the files that are there, then watch and schedule until ``stop``.

        Raises:
            TidegateError: the service cannot go on.
        """
        with self._started():
            staleness = Staleness(self._manifest.configs, self._ledger, self._now())
            begun = time.monotonic()
            with self._watching():
                caught_up = False
                while not self._over():
                    # A VAP that runs before the waiting files are in would have to run once more.
                    waited = time.monotonic() - begun > _CATCH_UP
                    idle = self._idle()
                    self._report_waiting(0 if idle else max(1, self._loops.waiting()))
                    caught_up = caught_up or waited or idle
                    if caught_up:
                        self._jobs.start()
                        self._tick(staleness)
                    self._loops.wake()  # commands queue runs from processes of their own
                    self._stop.wait(_TICK)
        self._raise_failure()

    def once(self) -> None:
        """Do all that is due now and return: files, then jobs, then schedules.

        Raises:
            TidegateError: the service cannot go on.
        """
        with self._started():
            self._intake.take_all()
            if self._drain() and self._finish_jobs():
                self._scheduler.submit_until_done(self._drain)
            if not self._over():
                self._housekeeping.run_if_due(self._now())
                self._sweep.wait(self._over)
        self._raise_failure()

    def carry_out(self, runs: Iterable[Run]) -> None:
        """Do these runs and no others, and return when they have ended.

        Raises:
            TidegateError: the service cannot go on.
        """
        requested = Requested(tuple(runs), self._now())
        keys = {run.key for run in requested.runs}
        self._loops.restrict(keys, awaited=keys)
        with self._started():
            self._dispatcher.submit(requested)
            self._loops.restrict(self._queue.with_earlier(keys), awaited=keys)
            self._drain()
        self._raise_failure()

    def carry_out_job(self, id: str) -> None:
        """Work on one job and on nothing else; return when it has ended, or was paused.

        Raises:
            TidegateError: the service cannot go on.
        """
        self._job = id
        self._loops.restrict((), awaited=())
        with self._started():
            self._jobs.start(only=id)
            self._finish_jobs()
        self._raise_failure()

    def stop(self) -> None:
        """Start nothing new; running runs get ``GRACE`` seconds. From any thread."""
        self._stop.set()
        self._loops.stop()
        self._intake.stop()
        self._scheduler.stop()
        self._jobs.stop()

    # --- start and end ----------------------------------------------------------------------

    @contextmanager
    def _started(self) -> Iterator[None]:
        """The run loops are at work inside the block, and have ended after it."""
        try:
            self._begin()
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        shutil.rmtree(self._places.work, ignore_errors=True)
        self._places.prepare()
        self._ledger.abandon()
        self._queue.requeue_taken()
        self._queue.recover(self._now())
        self._sweep.start()
        self._jobs.look()
        self._cleaner.start()
        self._executor.start()
        self._loops.start()

    def _end(self) -> None:
        if self.code_change:
            self._loops.stop()
            while self._loops.at_work() and not self._stop.is_set():
                self._stop.wait(_TICK)
        self.stop()
        self._loops.join(GRACE)
        self._executor.close()  # what still runs goes back to the queue
        self._loops.join(GRACE)
        self._intake.close()
        self._scheduler.close()
        self._jobs.close()
        self._cleaner.close()
        self._housekeeping.close()
        try:
            self._sweep.close(at_work=self._loops.at_work())
            self._ledger.abandon()
            self._queue.requeue_taken()
        finally:
            self._ledger.close()

    def _over(self) -> bool:
        if self._stop.is_set() or self._failure() is not None or self._loops.over():
            return True
        self._ledger.database.check_in_place()
        # It is asked again while the service ends, and a change is reported once.
        self.code_change = self.code_change or self._code.settled()
        return bool(self.code_change)

    def _failure(self) -> TidegateError | None:
        """Why a part has ended before it was asked to."""
        parts = (self._loops, self._intake, self._scheduler, self._jobs)
        return next((part.failure for part in parts if part.failure is not None), None)

    def _raise_failure(self) -> None:
        if (failure := self._failure()) is not None:
            raise failure

    # --- what it does -----------------------------------------------------------------------

    def _watching(self) -> Watcher:
        settle = {config.input_path or "": config.settle for config in self._manifest.configs}

        def settle_of(key: str) -> float:
            """The longest that applies: the file is read once for all configs."""
            return max((s for prefix, s in settle.items() if key.startswith(prefix)), default=2.0)

        waits = [(config.input_path or "", config.max_wait) for config in self._manifest.configs]

        def max_wait_of(key: str) -> float:
            return min((s for prefix, s in waits if key.startswith(prefix)), default=3600.0)

        watcher = Watcher(
            self._places.input,
            arrived=self._intake.arrived,
            settle=settle_of,
            max_wait=max_wait_of,
            done=self._intake.done,
            say=self._listener.say,
            force_polling=self._poll,
        )
        self._intake.start(watcher, self._loops.wake)
        return watcher

    def _tick(self, staleness: Staleness) -> None:
        try:
            self._housekeeping.start_if_due(self._now())
            if self._scheduler.submit_due():
                self._loops.wake()
            for problem in staleness.changes(self._now()):
                self._listener.report(problem)
        except StorageError as error:
            self._trouble.report(error)

    def _idle(self) -> bool:
        return not self._intake.busy() and self._loops.idle()

    def _drain(self) -> bool:
        """Wait until nothing is left to do; False if the service is ending instead."""
        self._loops.wake()
        self._loops.drain(self._over, self._report_waiting)
        return not self._over()

    def _report_waiting(self, runs: int) -> None:
        self._executor.expect(runs)
        self._listener.report_waiting(runs)

    def _finish_jobs(self) -> bool:
        """Wait until no job is running any more, nor a run; False if the service is ending."""
        self._jobs.start()
        while not self._over() and (self._jobs.busy() or self._loops.at_work()):
            self._report_waiting(max(1, self._loops.waiting()))
            self._stop.wait(_TICK / 5)
        return not self._over()

    def _keep_log(self, record: RunRecord, log: Path) -> str:
        """Move a run's log to where ``tidegate show`` finds it."""
        name = f"{record.started:%Y%m}/{record.key[:16]}-{record.attempt}.jsonl"
        place = self._places.logs / record.run.config / name
        try:
            try:
                os.replace(log, place)
            except FileNotFoundError:  # it is the first log of the month
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(log, place)
        except OSError as error:
            self._listener.say(f"the log of {record.run.title} could not be kept: {error}")
            return ""
        return place.relative_to(self._places.logs.parent).as_posix()
