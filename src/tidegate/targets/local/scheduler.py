"""Queues the runs of schedules that are due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.split import files_of
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import StorageTrouble, internal_error
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.schedule import Schedule
from tidegate.targets.local.sightings import Sightings

logger = logging.getLogger(__name__)

_READERS = 2
_PAUSE = 5.0
_END = 30.0


class Scheduler:
    """Turns schedules into runs in the queue.

    The files of a scheduled ingest are listed and hashed in threads: that may take long, and
    neither the caller nor other schedules wait for it.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        ledger: SqliteLedger,
        queue: SqliteQueue,
        sightings: Sightings,
        trouble: StorageTrouble,
        say: Callable[[str], None],
        *,
        queued: Callable[[], None] = lambda: None,
    ) -> None:
        """``queued`` is called when a thread has queued runs."""
        self._dispatcher = dispatcher
        self._queue = queue
        self._sightings = sightings
        self._trouble = trouble
        self._queued = queued
        self._schedule = Schedule(dispatcher.context.manifest.configs, ledger, say=say)
        self._stopping = threading.Event()
        self._hashing = ThreadPoolExecutor(_READERS, thread_name_prefix="tidegate-schedule-hash")
        self._threads: dict[str, threading.Thread] = {}
        self.failure: TidegateError | None = None
        """Why a thread ended before it was asked to."""

    def submit_due(self) -> bool:
        """Queue what is due now; whether anything was. Of files, the runs are queued later."""
        due = self._schedule.due(self._dispatcher.context.now())
        ready = [event for event in due if not self._needs_files(event)]
        for event in due:
            if self._needs_files(event):
                self._start_reading(event)
        self._submit(ready)
        self._mark(ready)
        return bool(ready)

    def submit_until_done(self, drain: Callable[[], bool]) -> None:
        """Queue what is due now, and again after each ``drain``, until there is nothing new.

        What one config makes may be the input of another whose schedule is due. ``drain`` carries
        out what is queued, and returns False to give up.
        """
        due = self._schedule.due(self._dispatcher.context.now())
        try:
            while due and self._submit(due):
                if not drain():
                    return  # it stays due
        except Interrupted:
            return
        self._mark(due)

    def stop(self) -> None:
        """Read no more files; what is due stays due. From any thread."""
        self._stopping.set()

    def close(self) -> None:
        """End the threads."""
        self.stop()
        for thread in self._threads.values():
            thread.join(_END)
        self._hashing.shutdown(cancel_futures=True)

    def _start_reading(self, event: ScheduleDue) -> None:
        """Start the thread of a config, unless it is at work."""
        thread = self._threads.get(event.config)
        if (thread is None or not thread.is_alive()) and not self._stopping.is_set():
            thread = threading.Thread(
                target=self._read, args=[event], name="tidegate-schedule", daemon=True
            )
            self._threads[event.config] = thread
            thread.start()

    def _read(self, event: ScheduleDue) -> None:
        try:
            self._submit([event])
            self._mark([event])
            self._queued()
        except Interrupted:
            pass
        except StorageError as error:  # it stays due
            self._trouble.report(error)
            self._stopping.wait(_PAUSE)
        except Exception as error:
            logger.error("a schedule failed", exc_info=error, extra={"action": "schedule"})
            self.failure = error if isinstance(error, TidegateError) else internal_error(error)

    def _submit(self, due: Iterable[ScheduleDue]) -> int:
        return sum(self._dispatcher.submit(self._with_files(event)) for event in due)

    def _needs_files(self, event: ScheduleDue) -> bool:
        config = self._dispatcher.context.manifest.config(event.config)
        return config.kind == "Ingest" and config.input_path is not None and not config.inputs

    def _with_files(self, event: ScheduleDue) -> ScheduleDue:
        if not self._needs_files(event):
            return event
        config = self._dispatcher.context.manifest.config(event.config)
        waiting = [file for e in self._queue.pending(config.id) for file in files_of(e.run)]
        files = self._sightings.list(config, each=self._hashing.map, check=self._check)
        self._check()
        return replace(event, files=tuple(files), waiting=tuple(waiting))

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Interrupted

    def _mark(self, due: Iterable[ScheduleDue]) -> None:
        for event in due:
            self._schedule.handled(event)
