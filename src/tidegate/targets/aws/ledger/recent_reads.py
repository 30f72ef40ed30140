"""What this process has just read or written, so that the next write need not read it again.

Each write is on condition that the item is still so; where it is not, it is read again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from tidegate.targets.aws.ledger.run_items import StoredRun
from tidegate.targets.aws.ledger.values import Item

_MOST = 2000


class RecentReads:
    """Runs that this process owns, runs that do not exist, and products; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owned: dict[str, StoredRun] = {}
        self._absent: set[str] = set()
        self._products: dict[str, Item | None] = {}

    def owned(self, key: str) -> StoredRun | None:
        """The run as this process wrote it, if it still owns it."""
        return self._owned.get(key)

    def keep_owned(self, key: str, run: StoredRun | None) -> None:
        """Keep a run that this process owns; forget it with None."""
        with self._lock:
            if run is not None:
                self._owned[key] = run
            else:
                self._owned.pop(key, None)

    def keep_states(self, keys: Iterable[str], existing: Iterable[str]) -> None:
        """Keep which of those runs do not exist: most runs that are looked for are new."""
        existing = set(existing)
        with self._lock:
            if len(self._absent) > _MOST:
                self._absent.clear()
            self._absent -= existing
            self._absent.update(key for key in keys if key not in existing)

    def take_absent(self, key: str) -> bool:
        """Whether the run did not exist when it was last looked for; forgets it."""
        with self._lock:
            known = key in self._absent
            self._absent.discard(key)
            return known

    def keep_products(self, items: Mapping[str, Item | None]) -> None:
        """Keep items of products until the run that is about to replace them ends.

        The first version that a run has read is kept: it has decided by that what to publish.
        """
        with self._lock:
            if len(self._products) > _MOST:
                self._products.clear()
            self._products = {**items, **self._products}

    def forget_products(self) -> None:
        """A run begins: what was read for others does not count."""
        with self._lock:
            self._products.clear()

    def take_products(self, keys: Sequence[str]) -> dict[str, Item | None]:
        """What was kept of those products; forgets it, so that a second try reads them again."""
        with self._lock:
            return {key: self._products.pop(key) for key in keys if key in self._products}
