"""What a job would take: runs, time and disk, from the runs that are on record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tidegate.runtime.scope import Scope
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.ledger import SqliteLedger

_JUDGED_BY = 50


@dataclass(frozen=True)
class ConfigEstimate:
    """What a job has to do for one config."""

    config: str
    """The config's id."""
    runs: int
    """How many runs."""
    repeated: int
    """How many of these have succeeded before, so that their products are replaced."""
    seconds: float | None
    """How long one takes, by the latest runs on record, s; None without any."""
    size: float | None
    """How large the products of one are, bytes; None where no run is on record."""


@dataclass(frozen=True)
class JobEstimate:
    """What a job would take."""

    configs: tuple[ConfigEstimate, ...]
    """For each config, in the order in which they are run."""
    free: int | None
    """Bytes that are free on the disk of the products; None if that cannot be read."""

    @property
    def runs(self) -> int:
        """How many runs."""
        return sum(one.runs for one in self.configs)

    @property
    def expected(self) -> dict[str, int]:
        """For each config, how many runs."""
        return {one.config: one.runs for one in self.configs}

    def time(self, at_once: int) -> timedelta | None:
        """How long with so many runs at once; None where no run is on record."""
        seconds = self._sum(lambda one: one.seconds, lambda one: one.runs)
        if seconds is None:
            return None
        return timedelta(seconds=round(seconds / max(1, min(at_once, self.runs))))

    @property
    def size(self) -> float | None:
        """How large all products are, bytes; None where no run is on record."""
        return self._sum(lambda one: one.size, lambda one: one.runs)

    @property
    def more(self) -> float | None:
        """How many bytes more than now the products take."""
        return self._sum(lambda one: one.size, lambda one: one.runs - one.repeated)

    def _sum(
        self, of: Callable[[ConfigEstimate], float | None], count: Callable[[ConfigEstimate], int]
    ) -> float | None:
        """Something of a run, times how many there are; None where it is not known of some runs."""
        total = 0.0
        for one in self.configs:
            each = of(one)
            if one.runs and each is None:
                return None
            total += (each or 0.0) * count(one)
        return total


def estimate_job(
    scopes: Sequence[Scope],
    asked: datetime,
    ledger: SqliteLedger,
    planner: Planner,
    output: Path,
    counted: Callable[[int], None],
) -> JobEstimate:
    """What a job over these scopes takes; ``counted`` gets how many runs were found so far."""
    found: list[ConfigEstimate] = []
    total = 0
    for scope in scopes:
        id = scope.config.id
        runs = repeated = 0
        for batch in planner.batches(scope, asked, read=False):
            runs += len(batch.runs)
            repeated += batch.repeated
            counted(total + runs)
        total += runs
        size = _average_size(ledger, id)
        found.append(ConfigEstimate(id, runs, repeated, ledger.history.average_seconds(id), size))
    return JobEstimate(tuple(found), _free(output))


def _average_size(ledger: SqliteLedger, config: str) -> float | None:
    """How large the products of a run are, by the latest that succeeded, bytes."""
    sizes = [
        sum(product.size for product in record.products)
        for record in ledger.records(config=config, states=("succeeded",), limit=_JUDGED_BY)
        if not record.run.adopted
    ]
    return sum(sizes) / len(sizes) if sizes else None


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
