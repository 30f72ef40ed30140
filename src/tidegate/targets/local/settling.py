"""When has a file come to rest? Without a clock, a thread or a disk of its own."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple


class Stamp(NamedTuple):
    """What changes about a file while it is written."""

    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last written, ns since 1970."""


Look = Callable[[str], Stamp | None]
"""How a file is now; None when it is gone, or is no file."""


class Settling:
    """Files that changed, until their size and time have rested for long enough.

    Times are seconds on a clock that never goes back.
    """

    def __init__(self, settle: Callable[[str], float]) -> None:
        self._settle = settle
        self._pending: dict[str, tuple[Stamp | None, float]] = {}
        # A file has one entry that counts, which may be too early: a file that is written to for
        # hours must not add one at each event. What holds is the deadline in `_pending`.
        self._heap: list[tuple[float, str]] = []
        self._entries: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, key: str) -> bool:
        return key in self._pending

    def changed(self, key: str, stamp: Stamp, now: float, *, rested: float = 0.0) -> None:
        """It was seen so, and its rest begins; ``rested`` seconds of it are known to be over."""
        self._put(key, stamp, now + self._settle(key) - max(0.0, rested))

    def moved(self, key: str, now: float) -> None:
        """It was renamed into place, and need not rest."""
        self._put(key, None, now)

    def gone(self, key: str) -> None:
        """It is there no more."""
        self._pending.pop(key, None)

    def next_deadline(self) -> float | None:
        """When to ask ``ready`` next; None when nothing is waited for."""
        return self._heap[0][0] if self._heap else None

    def ready(self, now: float, look: Look) -> list[str]:
        """Those that have come to rest by ``now``, in the order in which they did.

        ``look`` has the last word: a file that has changed meanwhile (writing through a memory map
        is told by nobody) begins to rest anew, and one that is gone is forgotten.
        """
        rested: list[str] = []
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
            stamp = look(key)
            if stamp is None:
                continue
            if before is None or before == stamp or self._settle(key) <= 0:
                rested.append(key)
            else:
                self.changed(key, stamp, now)
        return rested

    def _put(self, key: str, stamp: Stamp | None, deadline: float) -> None:
        self._pending[key] = (stamp, deadline)
        if deadline < self._entries.get(key, math.inf):
            self._entries[key] = deadline
            heapq.heappush(self._heap, (deadline, key))
