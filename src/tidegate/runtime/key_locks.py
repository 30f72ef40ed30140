"""Locks on product keys: two runs never publish the same product at the same time."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class KeyLocks:
    """One lock for each key, between the threads of one process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def holding(self, keys: Collection[str]) -> Iterator[None]:
        """Hold all of these keys; waits until nobody else holds any of them.

        All are taken at once, so that two runs cannot wait for each other.
        """
        mine = set(keys)
        with self._changed:
            self._changed.wait_for(lambda: self._held.isdisjoint(mine))
            self._held |= mine
        try:
            yield
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()
