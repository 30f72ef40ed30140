"""How each config is doing, and what needs a person: for the dashboard and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from tidegate.runtime.manifest import Config
from tidegate.workspace.config_summary import (
    MOST_FAILURES,
    ConfigSummary,
    FailedRun,
    LastProducts,
    LastRun,
)
from tidegate.workspace.session import Session
from tidegate.workspace.summary_refresh import CurrentSummaries, SummaryRefresh


@dataclass(frozen=True)
class ConfigState:
    """How one config is doing."""

    config: Config
    """The config."""
    last_arrival: datetime | None
    """When its newest data arrived, or its schedule was last due."""
    last_run: LastRun | None
    """The run that started last."""
    last_products: LastProducts | None
    """The latest run that published products."""
    running: int
    """How many runs are being carried out."""
    waiting: int
    """How many runs wait."""
    retrying: int
    """How many runs will be tried again by themselves."""
    failures: tuple[FailedRun, ...]
    """Open failures, the latest first, at most MOST_FAILURES."""
    stale: bool
    """Whether it has ``expect_every``, and no data have arrived for longer than that."""
    samples: int
    """How many checked values were published in the last day (at most 50 runs are looked at)."""
    bad: int
    """How many of them failed a test that is assessed Bad."""

    @property
    def newest_data(self) -> datetime | None:
        """The last time in its latest products."""
        return self.last_products.newest_data if self.last_products else None

    @property
    def lag(self) -> timedelta | None:
        """How long it took from the arrival to these products."""
        found = self.last_products
        return None if found is None or found.lag is None else timedelta(seconds=found.lag)

    @property
    def empty(self) -> tuple[str, ...]:
        """Sentences about these products that have empty variables."""
        return self.last_products.empty if self.last_products else ()

    @property
    def more_failures(self) -> bool:
        """Whether there may be more open failures than ``failures`` has."""
        return len(self.failures) >= MOST_FAILURES

    @property
    def bad_share(self) -> float | None:
        """The part of the checked values that are bad, 0 to 1; None without any."""
        return self.bad / self.samples if self.samples else None


def config_states(
    session: Session,
    refresh: SummaryRefresh,
    now: datetime,
    waiting: Mapping[str, int] | None = None,
) -> list[ConfigState]:
    """How all configs are doing, in the order of the config file.

    ``waiting`` is what ``Session.waiting`` returned, if that was asked a moment ago.
    """
    configs = session.manifest.configs
    found = refresh([config.id for config in configs], now)
    waiting = session.waiting() if waiting is None else waiting
    return [_state(c, found.configs[c.id], found, waiting.get(c.id, 0), now) for c in configs]


def _state(
    config: Config, summary: ConfigSummary, all: CurrentSummaries, waiting: int, now: datetime
) -> ConfigState:
    arrived = summary.last_arrival
    checked = summary.checked
    return ConfigState(
        config=config,
        last_arrival=arrived,
        last_run=summary.last_run,
        last_products=summary.last_products,
        running=all.running[config.id],
        waiting=waiting,
        retrying=all.retrying[config.id],
        failures=summary.failures,
        stale=bool(config.expect_every)
        and arrived is not None
        and now - arrived > timedelta(seconds=config.expect_every or 0),
        samples=sum(run.samples for run in checked),
        bad=sum(run.bad for run in checked),
    )


@dataclass(frozen=True)
class Attention:
    """Something that needs a person."""

    kind: str
    """failures, silence, empty, or place (the disk, ignored files)."""
    text: str
    """One sentence."""
    config: str = ""
    """The config's id; "" for the whole workspace."""


def _period(seconds: int) -> str:
    """A duration as it is written in a config."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def needs_attention(states: Sequence[ConfigState], place: Sequence[str]) -> list[Attention]:
    """What needs a person; ``place`` is what ``Session.place_problems`` returned."""
    return [*_about_configs(states), *(Attention("place", text) for text in place)]


def _about_configs(states: Sequence[ConfigState]) -> Iterator[Attention]:
    for state in states:
        id = state.config.id
        if state.failures:
            count = f"{len(state.failures)}{'+' if state.more_failures else ''}"
            message = state.failures[0].message
            latest = f"; the latest: {message}" if message else ""
            noun = "open failure" if count == "1" else "open failures"
            yield Attention("failures", f"{count} {noun}{latest}", id)
        if state.stale and state.last_arrival:
            text = (
                f"no new data since {state.last_arrival:%Y-%m-%d %H:%M} UTC,"
                f" but expected every {_period(state.config.expect_every or 0)}"
            )
            yield Attention("silence", text, id)
        for text in islice(state.empty, 3):
            yield Attention("empty", text, id)
