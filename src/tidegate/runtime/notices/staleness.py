"""Staleness: a config with ``expect_every`` for which no data have arrived for longer than that."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from tidegate.runtime.manifest import Config
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.protocols import Ledger

_RECENT = 20
"""How many of the latest runs are looked at: those that were asked for are among them."""
_ARRIVALS = 5
"""How many of these that were not asked for: the latest run is not always of the latest file."""


def is_stale(config: Config, last: datetime, now: datetime) -> bool:
    """Whether no data have arrived for longer than expected, given the ``last`` arrival."""
    return bool(config.expect_every) and now - last > timedelta(seconds=config.expect_every or 0)


def staleness_problem(config: Config, last: datetime | None) -> Problem:
    """That a config is stale; ``last`` is the last arrival, None for none."""
    since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "since the start"
    text = (
        f"{config.id} is stale: no new data {since}, but expected every"
        f" {timedelta(seconds=config.expect_every or 0)}; {_advice(config)}"
    )
    return Problem("silence", config.id, text)


def end_of_staleness(config: Config) -> Problem:
    """That a config is stale no longer."""
    text = f"{config.id} is no longer stale: new data have arrived"
    return Problem("silence", config.id, text, over=True)


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
