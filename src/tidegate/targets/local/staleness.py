"""Silence as an alarm: a config that should have had something to do by now, and had not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Ledger


class Silence:
    """Watches over ``expect_every``: tells of each silence once, and when it has ended."""

    def __init__(self, configs: Iterable[Config], ledger: Ledger, start: datetime) -> None:
        self._configs = [config for config in configs if config.expect_every]
        self._ledger = ledger
        self._start = start
        self._told: set[str] = set()

    def broken(self, now: datetime) -> list[str]:
        """What to tell a person now: one sentence for each config whose state has changed."""
        said = []
        for config in self._configs:
            last = self._last(config)
            silent = now - (last or self._start)
            expected = timedelta(seconds=config.expect_every or 0)
            if silent > expected and config.id not in self._told:
                self._told.add(config.id)
                since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "since the start"
                said.append(f"{config.id} is silent {since}: a run is expected every {expected}")
            elif silent <= expected and config.id in self._told:
                self._told.discard(config.id)
                said.append(f"{config.id} is no longer silent")
        return said

    def _last(self, config: Config) -> datetime | None:
        return next((r.started for r in self._ledger.records(config=config.id, limit=1)), None)
