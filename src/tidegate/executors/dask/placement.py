"""Which Dask worker gets the next run. No Dask in here.

Tidegate chooses the worker itself and gives it no more runs than it has threads, so that no run
waits behind another one in Dask, and the order stays that of Tidegate's queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

REFUSED_FOR = 300.0
"""A worker that cannot carry out runs gets no other for so long, s: its disk may come back."""


def margin(places: int) -> int:
    """How many runs are staged while all places are taken, so that none stays empty for long."""
    return min(max(1, places // 10), 20) if places else 0


@dataclass
class _Worker:
    threads: int
    busy: int = 0
    refused_until: float = 0.0


class WorkerTable:
    """The Dask workers, and how many runs each has. Not for several threads at once."""

    def __init__(self, most: int) -> None:
        """``most``: how many runs may be under way at once."""
        self._most = most
        self._workers: dict[str, _Worker] = {}

    def update(self, found: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """Take over the workers that there are now, with their threads.

        Returns the addresses that are new, and those that are gone.
        """
        new = [address for address in found if address not in self._workers]
        gone = [address for address in self._workers if address not in found]
        for address in gone:
            del self._workers[address]
        for address in new:
            self._workers[address] = _Worker(found[address])
        return new, gone

    def take(self, now: float) -> str | None:
        """The worker with the most free threads, with one run more from now on; None if none."""
        if self.busy >= self._most:
            return None
        free = [
            (worker.busy - worker.threads, address)
            for address, worker in self._workers.items()
            if worker.busy < worker.threads and worker.refused_until <= now
        ]
        if not free:
            return None
        address = min(free)[1]
        self._workers[address].busy += 1
        return address

    def release(self, address: str) -> None:
        """One of a worker's runs has ended; the worker may be gone."""
        if address in self._workers:
            self._workers[address].busy -= 1

    def refuse(self, address: str, until: float) -> None:
        """Give a worker no more runs until then."""
        if address in self._workers:
            self._workers[address].refused_until = until

    def idle(self, addresses: Collection[str]) -> list[str]:
        """Those of the workers that have no run."""
        return [a for a in addresses if a in self._workers and not self._workers[a].busy]

    @property
    def busy(self) -> int:
        """How many runs are under way."""
        return sum(worker.busy for worker in self._workers.values())

    def places(self, now: float) -> int:
        """How many runs can be under way at once now."""
        usable = sum(w.threads for w in self._workers.values() if w.refused_until <= now)
        return min(usable, self._most)

    def all_refused(self, now: float) -> bool:
        """Whether there are workers, and none can carry out runs."""
        return bool(self._workers) and all(w.refused_until > now for w in self._workers.values())
