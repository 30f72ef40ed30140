"""Hashes files, several at a time; those that change meanwhile are noted, to be looked at again."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tidegate.errors import InputChanged
from tidegate.runtime.protocols import Interrupted
from tidegate.targets.local.inputs import RawFile
from tidegate.targets.local.ledger import SeenFile
from tidegate.targets.local.sightings import Sightings

_LOOK_AGAIN = 1.0
_ONE_BY_ONE = 16 << 20
_MOST_THREADS = 4


class LookAgain:
    """Files to be looked at again, by key, and when; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def add(self, key: str, seconds: float) -> None:
        """Look at a file again that may have changed, after so many seconds."""
        with self._lock:
            self._changed[key] = time.monotonic() + seconds

    def add_waiting(self, key: str, seconds: float) -> None:
        """Look at a file again that waits for its companions, for so many seconds at most."""
        with self._lock:
            self._waiting[key] = time.monotonic() + seconds

    def has_changed(self) -> bool:
        """Whether there are files that may have changed."""
        return bool(self._changed)

    def waiting(self) -> list[str]:
        """The files that wait for their companions."""
        with self._lock:
            return list(self._waiting)

    def seconds(self) -> float | None:
        """How long it is until one is due; None if there are none."""
        with self._lock:
            due = min((*self._changed.values(), *self._waiting.values()), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def take_changed(self) -> list[str]:
        """The files that may have changed, due or not; they are no longer noted."""
        with self._lock:
            keys, self._changed = list(self._changed), {}
        return keys

    def take_overdue(self) -> list[str]:
        """The files that do not wait for companions any longer; they are no longer noted."""
        now = time.monotonic()
        with self._lock:
            overdue = [key for key, until in self._waiting.items() if until <= now]
            for key in overdue:
                del self._waiting[key]
        return overdue


class Reader:
    """Hashes files until ``stopping`` is set."""

    def __init__(self, sightings: Sightings, again: LookAgain, stopping: threading.Event) -> None:
        self._sightings = sightings
        self._again = again
        self._stopping = stopping
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tidegate-hash")

    def read(self, files: Sequence[RawFile], known: Mapping[str, SeenFile]) -> list[SeenFile]:
        """What to note of files, in their order; those are left out that are looked at again.

        Raises:
            Interrupted: it is time to end.
        """
        one_by_one = len(files) == 1 or sum(file.size for file in files) < _ONE_BY_ONE
        read = functools.partial(self._read, known=known)
        rows = map(read, files) if one_by_one else self._pool.map(read, files)
        return [row for row in rows if row is not None]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, file: RawFile, known: Mapping[str, SeenFile]) -> SeenFile | None:
        try:
            return self._sightings.row(file, known, self._check)
        except InputChanged:
            self._again.add(file.key, _LOOK_AGAIN)
            return None

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Interrupted
