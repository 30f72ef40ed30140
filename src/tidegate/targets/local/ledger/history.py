"""What is on record about many files, windows or runs at once; no record is read as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tidegate.runtime.scope import PastRun
from tidegate.targets.local.ledger import products, runs
from tidegate.targets.local.ledger.database import Database


class History:
    """Answers about many runs at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, config: str, subjects: Iterable[str]) -> dict[str, PastRun]:
        """The latest run about each of those subjects that has one."""
        subjects = list(subjects)
        with self._database.reading() as db:
            return runs.read_latest(db, config, subjects)

    def average_seconds(self, config: str, latest: int = 50) -> float | None:
        """The average duration of the latest successful runs of a config, s; None without any."""
        with self._database.reading() as db:
            return runs.average_duration(db, config, latest)

    def extent(self, datastreams: Iterable[str]) -> tuple[datetime, datetime] | None:
        """The first time in the data of some datastreams, and a time that none of it is after."""
        with self._database.reading() as db:
            spans = [span for name in datastreams if (span := products.read_extent(db, name))]
        return (min(begin for begin, _ in spans), max(end for _, end in spans)) if spans else None

    def product_keys(self, made_by: Iterable[str]) -> dict[str, list[str]]:
        """The keys of the present products of some runs, by the run's key."""
        made_by = list(made_by)
        with self._database.reading() as db:
            return products.read_keys_by_run(db, made_by)
