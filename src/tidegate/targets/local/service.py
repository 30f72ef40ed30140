"""What ``tidegate up`` does: watch, select, queue, carry out; until it is told to stop.

Threads: the watcher (triggers), the intake (hashes what arrived and queues its runs), one slot a
worker (pool), and the caller's own, which minds the schedules. All that must survive a crash is in
the ledger: a file counts as seen only in the same transaction in which its runs are queued, and a
run leaves the queue only in the one that records its end.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.dispatch import Context, backoff, execute
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Target
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.select import Selection, select
from tidegate.runtime.task import Perform
from tidegate.targets.local.cleaner import Cleaner
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.intake import Intake
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.outside_inputs import Outside, OutsideInputs
from tidegate.targets.local.pool import RUNS_PER_WORKER, Slot, Stopped
from tidegate.targets.local.queue import Queue
from tidegate.targets.local.schedule import Schedule
from tidegate.targets.local.staleness import Silence
from tidegate.targets.local.watch import Watcher
from tidegate.workspace.folder import Workspace
from tidegate.workspace.repository_change import Drift

logger = logging.getLogger(__name__)

GRACE = 10.0
"""How long runs may go on after the service was asked to stop, s; then they are handed back."""
_TICK = 0.5
_CATCH_UP = 600.0
_IDLE = 5.0
_LEDGER_PAUSE = 5.0
_REMIND = 600.0


@dataclass(frozen=True)
class Settings:
    """How a service is to run, beside what the config says."""

    python: tuple[str, ...]
    """The command that starts the pipelines' interpreter."""
    repository: Path
    """The root of the pipelines repository."""
    workers: int = 2
    """How many runs go on at once."""
    runs_per_worker: int = RUNS_PER_WORKER
    """A worker process is replaced after so many runs."""
    poll: bool = False
    """Look for files by polling, for network file systems that do not tell of changes."""


@dataclass(frozen=True)
class Listener:
    """Who is told what the service does; each is called from any thread, one at a time."""

    record: Callable[[RunRecord], None] = lambda record: None
    """A run has ended, or will be tried again."""
    started: Callable[[RunRecord], None] = lambda record: None
    """A run has begun."""
    message: Callable[[str], None] = lambda text: None
    """Something that a person should know."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, record: RunRecord) -> None:
        """Pass on what became of a run; nobody may be there to read it any more."""
        with self.lock, suppress(OSError):
            self.record(record)

    def say(self, text: str) -> None:
        """Pass on a message."""
        with self.lock, suppress(OSError):
            self.message(text)


def _utcnow() -> datetime:
    return datetime.now(timezone.utc)


class Service:
    """One service over one workspace, whose lock the caller holds."""

    def __init__(
        self,
        workspace: Workspace,
        manifest: Manifest,
        settings: Settings,
        listener: Listener | None = None,
        now: Callable[[], datetime] = _utcnow,
        outside: Outside | None = None,
    ) -> None:
        self._workspace = workspace
        self._manifest = manifest
        self._settings = settings
        self._listener = listener or Listener()
        self._now = now
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._ledger = SqliteLedger(workspace.ledger)
        self._queue = Queue(self._ledger)
        inputs = FolderInputs(workspace.input)
        self._outputs = FolderOutputs(workspace.output, workspace.work)
        self._target = Target(OutsideInputs(inputs, outside or {}), self._outputs, self._ledger)
        self._intake = Intake(
            inputs, manifest.configs, self._ledger, self._queue, now, self._listener.say
        )
        self._cleaner = Cleaner()
        self._stop = threading.Event()
        self._wake = threading.Condition()
        self._running: Counter[str] = Counter()
        self._asked: set[str] | None = None
        self._only: set[str] | None = None
        self._complaint = ("", 0.0)
        self._slots: list[Slot] = []
        self._failure: TidegateError | None = None
        self.tally: Counter[str] = Counter()
        """How many runs ended in each state, since the start."""

    # --- from outside -----------------------------------------------------------------------

    def up(self) -> None:
        """Take in what is there, then watch and schedule until ``stop``.

        Raises:
            TidegateError: the service cannot go on.
        """
        with self._started():
            schedule = Schedule(self._manifest.configs, self._ledger, say=self._listener.say)
            silence = Silence(self._manifest.configs, self._ledger, self._now())
            drift = Drift(self._workspace.config, self._settings.repository)
            begun = time.monotonic()
            with self._watching():
                caught_up = False
                while not self._over():
                    # A VAP that runs before the files that wait are in has to run once more.
                    waited = time.monotonic() - begun > _CATCH_UP
                    caught_up = caught_up or waited or self._idle()
                    if caught_up:
                        self._tick(schedule, silence)
                    if changed := drift.told():
                        self._listener.say(changed)
                    self._kick()  # commands queue their runs from processes of their own
                    self._stop.wait(_TICK)
        self._raise_failure()

    def once(self) -> None:
        """Do all that is due now and return: files first, then schedules, until nothing is left."""
        with self._started():
            self._intake.everything()
            self._kick()
            self._drain()
            schedule = Schedule(self._manifest.configs, self._ledger, say=self._listener.say)
            due = schedule.due(self._now())
            while due and self._queue_due(due) and not self._over():
                self._drain()
                # What these runs made may be the input of another config whose schedule is due.
            for event in due:
                schedule.handled(event)
        self._raise_failure()

    def carry_out(self, runs: Iterable[Run]) -> None:
        """Do these runs and no others, and return when they have ended."""
        runs = list(runs)
        self._asked = {run.key for run in runs}
        self._only = set(self._asked)
        with self._started():
            self._queue.enqueue(runs, self._now(), priority=1)
            self._only = self._with_those_before(runs)
            self._kick()
            self._drain()
        self._raise_failure()

    def stop(self) -> None:
        """Take nothing new; what runs has a moment to end. From any thread."""
        self._stop.set()
        self._intake.stop()

    # --- start and end ----------------------------------------------------------------------

    @contextmanager
    def _started(self) -> Iterator[None]:
        """The slots run inside it, and have ended after it, whatever happens."""
        try:
            self._begin()
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        shutil.rmtree(self._workspace.work, ignore_errors=True)
        self._workspace.prepare()
        self._ledger.abandon()
        self._queue.requeue_taken()
        self._queue.recover(self._now())
        self._outputs.sweep()
        self._cleaner.start()
        for number in range(self._settings.workers):
            worker = WorkerProcess(self._settings.python, self._settings.repository)
            slot = Slot(
                number,
                worker,
                self._take,
                self._carry_out,
                runs_per_worker=self._settings.runs_per_worker,
            )
            self._slots.append(slot)
            slot.start()

    def _end(self) -> None:
        self.stop()
        self._kick()
        deadline = time.monotonic() + GRACE
        for slot in self._slots:
            slot.join(max(0.0, deadline - time.monotonic()))
        for slot in self._slots:
            if slot.is_alive():
                slot.interrupt()
        for slot in self._slots:
            slot.join(GRACE)
        self._intake.close()
        self._cleaner.close()
        try:
            self._ledger.abandon()
            self._queue.requeue_taken()
        finally:
            self._ledger.close()

    def _watching(self) -> Watcher:
        settle = {config.input_path or "": config.settle for config in self._manifest.configs}

        def settle_of(key: str) -> float:
            """The longest of those that apply: the file is read once for all of them."""
            return max((s for prefix, s in settle.items() if key.startswith(prefix)), default=2.0)

        watcher = Watcher(
            self._workspace.input,
            arrived=self._intake.arrived,
            settle=settle_of,
            say=self._listener.say,
            force_polling=self._settings.poll,
        )
        self._intake.start(watcher, self._kick)
        return watcher

    def _raise_failure(self) -> None:
        failures = [self._failure, *(slot.failure for slot in self._slots)]
        for failure in failures:
            if failure is not None:
                raise failure

    def _over(self) -> bool:
        gave_up = any(slot.failure is not None for slot in self._slots)
        self._failure = self._failure or self._intake.failure
        return self._stop.is_set() or self._failure is not None or gave_up

    # --- the queue --------------------------------------------------------------------------

    def _kick(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _take(self) -> Run | None:
        """The next run for a slot; blocks; None when it is time to end."""
        with self._wake:
            while not self._over():
                try:
                    run = self._queue.take(
                        self._now(), exclude_configs=self._full(), only=self._only
                    )
                except StorageError as error:
                    self._complain(error)
                    run = None
                if run is not None:
                    self._running[run.config] += 1
                    return run
                self._wake.wait(_IDLE)
        return None

    def _with_those_before(self, runs: Sequence[Run]) -> set[str]:
        """The keys of these runs, and of all that wait about the same: the older one goes first."""
        keys = {run.key for run in runs}
        subjects = {(run.config, subject) for run in runs for subject in run.subjects}
        for config in sorted({run.config for run in runs}):
            for entry in reversed(list(self._queue.pending(config))):
                about = {(config, subject) for subject in entry.run.subjects}
                if about & subjects:
                    keys.add(entry.run.key)
                    subjects |= about
        return keys

    def _complain(self, error: StorageError) -> None:
        """Say what is in the way, and not each time that it is found to be there still."""
        text, said = self._complaint
        if text != str(error) or time.monotonic() - said > _REMIND:
            self._complaint = (str(error), time.monotonic())
            self._listener.say(f"{error}\nTidegate waits for that to change.")

    def _full(self) -> list[str]:
        return [
            config.id
            for config in self._manifest.configs
            if config.concurrency and self._running[config.id] >= config.concurrency
        ]

    def _idle(self) -> bool:
        with self._wake:
            return not self._running.total() and not self._intake.busy() and not self._queue.count()

    def _drain(self) -> None:
        """Wait until the queue is empty and nothing runs."""
        while not self._over():
            with self._wake:
                waiting = self._queue.count() if self._asked is None else len(self._asked)
                if not waiting and not self._running.total():
                    return
                self._wake.wait(_TICK)

    # --- schedules --------------------------------------------------------------------------

    def _tick(self, schedule: Schedule, silence: Silence) -> None:
        try:
            self._queue_what_is_due(schedule)
            for text in silence.broken(self._now()):
                self._listener.say(text)
        except StorageError as error:
            self._complain(error)

    def _queue_what_is_due(self, schedule: Schedule) -> None:
        due = schedule.due(self._now())
        if due:
            self._queue_due(due)
            for event in due:
                schedule.handled(event)

    def _queue_due(self, due: Iterable[ScheduleDue]) -> int:
        """Queue what schedules call for; returns how many runs."""
        queued = 0
        for event in due:
            config = self._manifest.config(event.config)
            if config.kind == "Ingest" and config.input_path is not None and not config.inputs:
                event = replace(event, files=tuple(self._intake.list(config)))
            selection = select(self._manifest.configs, event, self._ledger, now=self._now())
            queued += self._enqueue(selection)
        self._kick()
        return queued

    def _enqueue(self, selection: Selection) -> int:
        return len(self._queue.enqueue(selection.runs, self._now(), state=selection.state))

    # --- one run ----------------------------------------------------------------------------

    def _carry_out(self, run: Run, perform: Perform) -> None:
        try:
            record = self._execute(run, perform)
            if record is None:
                self._queue.done(run.key)
            elif record.state == "retrying":
                now = self._now()
                self._queue.postpone(run.key, now + backoff(record.tries), now)
            if self._asked is not None and (record is None or record.state != "retrying"):
                self._asked.discard(run.key)
            if record is not None:
                self.tally[record.state] += 1
                self._listener.tell(record)
        except TidegateError as error:
            # The ledger or the environment is broken: nothing can be recorded, so nothing is done.
            self._failure = self._failure or error
        finally:
            with self._wake:
                self._running[run.config] -= 1
                self._wake.notify_all()

    def _execute(self, run: Run, perform: Perform) -> RunRecord | None:
        context = Context(
            self._manifest,
            self._target,
            perform,
            self._owner,
            self._workspace.work,
            self._keep_log,
            self._now,
            self._cleaner.discard,
        )
        if run.config not in {config.id for config in self._manifest.configs}:
            self._listener.say(
                f"{run.config} is no longer in the config: its run over {run.title} is dropped"
            )
            return None
        held = False
        while True:
            try:
                if held:  # by the claim of the attempt whose end could not be written
                    self._ledger.abandon(self._owner)
                return execute(run, context)
            except StorageError as error:
                # A full disk under the ledger: wait for room, then claim the run once more.
                held = True
                self._complain(error)
                if self._stop.wait(_LEDGER_PAUSE):
                    raise Stopped from None

    def _keep_log(self, record: RunRecord, log: Path) -> str:
        """Move a run's log to where ``tidegate show`` finds it."""
        name = f"{record.started:%Y%m}/{record.key[:16]}-{record.attempt}.jsonl"
        place = self._workspace.logs / record.run.config / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(log, place)
        except OSError as error:
            self._listener.say(f"the log of {record.run.title} could not be kept: {error}")
            return ""
        return place.relative_to(self._workspace.state).as_posix()
