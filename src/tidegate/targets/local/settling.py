"""When a file has settled, that is, is no longer written to. Has no clock, thread or disk."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection
from typing import NamedTuple


class Stamp(NamedTuple):
    """What changes about a file while it is written."""

    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last written, ns since 1970."""


ReadStamp = Callable[[str], Stamp | None]
"""Returns how a file is now; None if it was deleted, or is not a file."""

OpenKeys = Callable[[], Collection[str]]
"""Returns the files that some process has open for writing."""
_OPEN_AGAIN = 1.0


class Settling:
    """Files that changed, until their size and time have stayed the same for long enough.

    A file that does not settle, or stays open for writing, is ready after ``max_wait`` anyway.
    Times are seconds on a monotonic clock.
    """

    def __init__(
        self,
        settle: Callable[[str], float],
        max_wait: Callable[[str], float] = lambda key: math.inf,
    ) -> None:
        self._settle = settle
        self._max_wait = max_wait
        self._since: dict[str, float] = {}
        self._pending: dict[str, tuple[Stamp | None, float]] = {}
        # A file has one entry in the heap, which may be too early: a file that is written to for
        # hours must not add one at each event. The deadline in `_pending` decides.
        self._heap: list[tuple[float, str]] = []
        self._entries: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, key: str) -> bool:
        return key in self._pending

    def changed(self, key: str, stamp: Stamp, now: float, *, rested: float = 0.0) -> None:
        """A file has changed; it is known to be unchanged since ``rested`` seconds."""
        self._since.setdefault(key, now)
        self._put(key, stamp, now + self._settle(key) - max(0.0, rested))

    def moved(self, key: str, now: float) -> None:
        """A file was renamed into place, and is complete."""
        self._put(key, None, now)

    def gone(self, key: str) -> None:
        """A file was deleted."""
        self._pending.pop(key, None)
        self._since.pop(key, None)

    def next_deadline(self) -> float | None:
        """When to call ``ready`` next; None if there are no files."""
        return self._heap[0][0] if self._heap else None

    def ready(
        self, now: float, read_stamp: ReadStamp, open_keys: OpenKeys = frozenset
    ) -> list[str]:
        """The files that have settled by ``now``, in the order in which they did.

        ``read_stamp`` has the last word: a file that has changed since (writing through a memory
        map causes no events) has to wait again, and one that was deleted is forgotten. So has one
        of the ``open_keys``, unless it was renamed into place.
        """
        rested: list[str] = []
        quiet: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            entry, key = heapq.heappop(self._heap)
            if self._entries.get(key) != entry:
                continue
            del self._entries[key]
            if key not in self._pending:
                continue
            before, deadline = self._pending.pop(key)
            if deadline > now:
                self._put(key, before, deadline)
                continue
            stamp = read_stamp(key)
            if stamp is None:
                self._since.pop(key, None)
            elif before is None or now >= self._limit(key):
                rested.append(key)
            elif before == stamp or self._settle(key) <= 0:
                quiet.append(key)
            else:
                self.changed(key, stamp, now)
        still_open = open_keys() if quiet else frozenset()
        for key in quiet:
            if key in still_open and (stamp := read_stamp(key)) is not None:
                self._put(key, stamp, now + max(self._settle(key), _OPEN_AGAIN))
            else:
                rested.append(key)
        for key in rested:
            self._since.pop(key, None)
        return rested

    def _limit(self, key: str) -> float:
        return self._since.get(key, math.inf) + self._max_wait(key)

    def _put(self, key: str, stamp: Stamp | None, deadline: float) -> None:
        deadline = min(deadline, self._limit(key))
        self._pending[key] = (stamp, deadline)
        if deadline < self._entries.get(key, math.inf):
            self._entries[key] = deadline
            heapq.heappush(self._heap, (deadline, key))
