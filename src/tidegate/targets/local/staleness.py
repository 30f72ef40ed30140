"""Says once that a config is stale, and once that it is not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tidegate.runtime.manifest import Config
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.notices.staleness import (
    end_of_staleness,
    is_stale,
    last_arrival,
    staleness_problem,
)
from tidegate.runtime.protocols import Ledger


class Staleness:
    """Watches over ``expect_every``; says once that a config is stale, and once that it is not."""

    def __init__(self, configs: Iterable[Config], ledger: Ledger, start: datetime) -> None:
        self._configs = [config for config in configs if config.expect_every]
        self._ledger = ledger
        self._start = start
        self._stale: set[str] = set()

    def changes(self, now: datetime) -> list[Problem]:
        """One problem for each config that has become stale, or is no longer stale."""
        found = []
        for config in self._configs:
            last = last_arrival(self._ledger, config.id)
            stale = is_stale(config, last or self._start, now)
            if stale and config.id not in self._stale:
                self._stale.add(config.id)
                found.append(staleness_problem(config, last))
            elif not stale and config.id in self._stale:
                self._stale.discard(config.id)
                found.append(end_of_staleness(config))
        return found
