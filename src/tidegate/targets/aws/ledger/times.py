"""Times in keys: microseconds since 1970, in digits that sort."""

from __future__ import annotations

import time

ZERO = 10**17
"""Added to times in sort keys, so that those before 1970 sort too: year 1 is at -6.2e16 µs."""
LATEST = 10**18 - 1 - ZERO
"""The last time that sorts, µs."""
MINUTE = 60 * 10**6
"""µs."""
DAY = 24 * 60 * MINUTE
"""µs."""


def now_micros() -> int:
    """The time of this machine, µs since 1970."""
    return time.time_ns() // 1000


def sortable(micros: int) -> str:
    """A time as text that sorts as the times do."""
    return f"{micros + ZERO:018d}"


def from_sortable(text: str) -> int:
    """The time that ``sortable`` was given."""
    return int(text) - ZERO
