"""As many Dask workers as there are runs for."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Protocol

from distributed.deploy.adaptive import Adaptive


class Demand(Protocol):
    """What scaling must know."""

    wanted: int
    """How many runs wait or go on."""

    def idle(self, addresses: list[str], *, retire: bool = False) -> list[str]:
        """Those workers that have no run; ``retire``: they get none any more."""


class Scaling(Adaptive):  # type: ignore[misc]
    """Dask's adaptive scaling, by Tidegate's queue instead of what waits in Dask.

    Workers that have a run are never ended.
    """

    def __init__(self, cluster: Any, *, demand: Demand, threads: int, **options: Any) -> None:
        """``threads``: how many runs a worker takes."""
        self._demand = demand
        self._threads = threads
        super().__init__(cluster, **options)

    @classmethod
    def begin(
        cls, cluster: Any, demand: Demand, *, minimum: int, maximum: int, threads: int
    ) -> None:
        """Scale a cluster from now on; the limits are in runs at once."""
        cluster.adapt(
            Adaptive=cls,
            demand=demand,
            threads=threads,
            minimum=math.ceil(minimum / threads),
            maximum=math.ceil(maximum / threads),
            interval="1s",
            wait_count=30,
        )

    async def target(self) -> int:
        """How many workers there should be."""
        return math.ceil(self._demand.wanted / self._threads)

    async def workers_to_close(self, target: int) -> list[Any]:
        """The names of workers that have no run, as many as there are too many."""
        return self._idle(self.plan)[: max(0, len(self.plan) - target)]

    async def scale_down(self, workers: list[Any]) -> None:
        """End those of the workers that still have no run."""
        there = {info["name"] for info in self.cluster.scheduler_info["workers"].values()}
        idle = self._idle(workers, retire=True)
        await super().scale_down([name for name in workers if name not in there or name in idle])

    def _idle(self, names: Collection[Any], *, retire: bool = False) -> list[Any]:
        there = self.cluster.scheduler_info["workers"]
        by_address = {a: info["name"] for a, info in there.items() if info["name"] in names}
        return [by_address[a] for a in self._demand.idle(list(by_address), retire=retire)]
