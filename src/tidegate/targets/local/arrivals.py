"""The keys of files that arrived and wait to be taken in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable


class Arrivals:
    """Hands out keys in batches, first in, first out; configs take turns.

    So a single file of one config does not wait until the thousands of another are taken in.

    Args:
        config_of: The config whose turn it is when that key is handed out.
    """

    def __init__(self, config_of: Callable[[str], str]) -> None:
        self._config_of = config_of
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[str]] = {}  # the config whose turn is next is first
        self._woken = False
        self.closed = False
        """Whether it is time to end."""

    def put(self, keys: Iterable[str]) -> None:
        """Add keys; from any thread."""
        with self._changed:
            for key in keys:
                self._waiting.setdefault(self._config_of(key), deque()).append(key)
            self._changed.notify_all()

    def wake(self) -> None:
        """Make ``take`` return, even without keys."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def take(self, most: int, timeout: float | None) -> list[str]:
        """Up to ``most`` keys of one config; none after ``timeout`` seconds, or ``wake``."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._woken or self.closed, timeout=timeout
            )
            self._woken = False
            if self.closed or not self._waiting:
                return []
            config = next(iter(self._waiting))
            keys = self._waiting.pop(config)
            batch = [keys.popleft() for _ in range(min(most, len(keys)))]
            if keys:
                self._waiting[config] = keys
            return batch
