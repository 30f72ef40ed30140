"""Staleness: a config with ``expect_every`` for which no data have arrived for longer than that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Ledger
from tidegate.targets.local.listener import Problem

_RECENT = 20
"""How many of the latest runs are looked at: those that were asked for are among them."""
_ARRIVALS = 5
"""How many of these that were not asked for: the latest run is not always of the latest file."""


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
            expected = timedelta(seconds=config.expect_every or 0)
            is_stale = now - (last or self._start) > expected
            if is_stale and config.id not in self._stale:
                self._stale.add(config.id)
                since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "since the start"
                text = (
                    f"{config.id} is stale: no new data {since}, but expected every {expected}; "
                    + _advice(config)
                )
                found.append(Problem("silence", config.id, text))
            elif not is_stale and config.id in self._stale:
                self._stale.discard(config.id)
                text = f"{config.id} is no longer stale: new data have arrived"
                found.append(Problem("silence", config.id, text, over=True))
        return found


def last_arrival(ledger: Ledger, config: str) -> datetime | None:
    """When the newest data arrived; a run that a person asked for is no arrival."""
    times = (
        record.run.arrived or record.started
        for record in ledger.records(config=config, limit=_RECENT)
        if not record.run.again
    )
    return max(islice(times, _ARRIVALS), default=None)


def _advice(config: Config) -> str:
    if config.input_path:
        return f"check the instrument, and the transfer of its files to {config.input_path}"
    return "check its inputs: `tidegate runs --config " + config.id + "`"
