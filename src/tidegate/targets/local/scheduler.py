"""Queues the runs of schedules that are due."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.split import files_of
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.schedule import Schedule
from tidegate.targets.local.sightings import Sightings


class Scheduler:
    """Turns schedules into runs in the queue."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        ledger: SqliteLedger,
        queue: SqliteQueue,
        sightings: Sightings,
        say: Callable[[str], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._queue = queue
        self._sightings = sightings
        self._schedule = Schedule(dispatcher.context.manifest.configs, ledger, say=say)

    def submit_due(self) -> bool:
        """Queue what is due now; whether anything was due."""
        due = self._schedule.due(self._dispatcher.context.now())
        self._submit(due)
        self._mark(due)
        return bool(due)

    def submit_until_done(self, drain: Callable[[], bool]) -> None:
        """Queue what is due now, and again after each ``drain``, until there is nothing new.

        What one config makes may be the input of another whose schedule is due. ``drain`` carries
        out what is queued, and returns False to give up.
        """
        due = self._schedule.due(self._dispatcher.context.now())
        while due and self._submit(due):
            if not drain():
                return  # it stays due
        self._mark(due)

    def _submit(self, due: Iterable[ScheduleDue]) -> int:
        return sum(self._dispatcher.submit(self._with_files(event)) for event in due)

    def _with_files(self, event: ScheduleDue) -> ScheduleDue:
        config = self._dispatcher.context.manifest.config(event.config)
        if config.kind == "Ingest" and config.input_path is not None and not config.inputs:
            waiting = [file for e in self._queue.pending(config.id) for file in files_of(e.run)]
            files = tuple(self._sightings.list(config))
            return replace(event, files=files, waiting=tuple(waiting))
        return event

    def _mark(self, due: Iterable[ScheduleDue]) -> None:
        for event in due:
            self._schedule.handled(event)
