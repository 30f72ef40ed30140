"""Deletes old data: records and logs of runs, and notes on raw files."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.runs import SETTLED
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.places import Places

EVERY = timedelta(days=1)
_STATE = "housekeeping"
_BATCH = 500


@dataclass(frozen=True)
class Retention:
    """How long things are kept."""

    runs: timedelta = timedelta(days=365)
    """Records of runs that nothing needs any more, and the logs of runs that failed."""
    logs: timedelta = timedelta(days=30)
    """The logs of runs that succeeded."""


class Housekeeping:
    """Deletes old data once a day; a service does so in a thread of its own, and does not wait."""

    def __init__(
        self, places: Places, ledger: SqliteLedger, keep: Retention, say: Callable[[str], None]
    ) -> None:
        self._places = places
        self._ledger = ledger
        self._keep = keep
        self._say = say
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: datetime | None = None

    def start_if_due(self, now: datetime) -> None:
        """Start the thread, unless it is at work or was in the last day."""
        if (self._thread is None or not self._thread.is_alive()) and self._is_due(now):
            self._thread = threading.Thread(
                target=self._work, args=(now,), name="tidegate-housekeeping", daemon=True
            )
            self._thread.start()

    def run_if_due(self, now: datetime) -> None:
        """Delete now what is too old, unless that was done in the last day."""
        if self._is_due(now):
            self._work(now)

    def close(self) -> None:
        """Stop after the file that is being deleted, and wait for the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _is_due(self, now: datetime) -> bool:
        if self._last is None:
            done = self._ledger.state(_STATE)
            self._last = datetime.fromisoformat(done) if done else None
        return self._last is None or abs(now - self._last) >= EVERY

    def _work(self, now: datetime) -> None:
        self._last = now
        try:
            self._ledger.prune(now - self._keep.runs, self._stopped.is_set)
            self._delete_logs(now)
            self._forget_files(now)
            if not self._stopped.is_set():
                self._ledger.set_state(_STATE, now.isoformat())
        except StorageError as error:  # tried again tomorrow, or at the next start
            self._say(f"old records and logs could not be deleted: {error}")

    def _delete_logs(self, now: datetime) -> None:
        """Delete logs of settled runs after ``logs``, and all others after ``runs``."""
        for path, age in _old_files(self._places.logs, now, self._keep.logs):
            if self._stopped.is_set():
                return
            if age > self._keep.runs or self._is_of_success(path):
                with contextlib.suppress(OSError):
                    path.unlink()
                    path.parent.rmdir()  # the month's folder, once it is empty

    def _is_of_success(self, log: Path) -> bool:
        """Whether the log's run has succeeded, in this attempt or in a later one, or is gone."""
        key = log.stem.partition("-")[0]
        record = next(iter(self._ledger.records(prefix=key, limit=1)), None)
        return record is None or record.state in (*SETTLED, "superseded")

    def _forget_files(self, now: datetime) -> None:
        """Forget hashes of raw files that are gone and older than ``runs``.

        Newer ones stay: a folder that is not mounted for a while need not be read once more.
        """
        oldest = (now - self._keep.runs).timestamp() * 1e9
        gone: list[str] = []
        for seen in self._ledger.seen_files.below():
            if self._stopped.is_set():
                return
            if seen.mtime_ns < oldest and not os.path.lexists(self._places.input / seen.key):
                gone.append(seen.key)
            if len(gone) == _BATCH:
                self._ledger.seen_files.forget(gone)
                gone = []
        self._ledger.seen_files.forget(gone)


def _old_files(folder: Path, now: datetime, longest: timedelta) -> Iterator[tuple[Path, timedelta]]:
    """Files below a folder that were last written longer ago than that, with their age."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                age = timedelta(seconds=now.timestamp() - path.stat().st_mtime)
            except OSError:
                continue
            if age > longest:
                yield path, age
