"""How each config is doing, and what needs a person: for the dashboard and for scripts.

Every question to the ledger has a limit, so the cost depends on how many configs there are and not
on how many runs are on record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile

from tidegate.runtime.manifest import Config
from tidegate.runtime.open_failures import acknowledged, only_open
from tidegate.runtime.product_checks import empty_warnings
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product, RunRecord
from tidegate.targets.local.staleness import last_arrival
from tidegate.workspace.session import Session

MOST_FAILURES = 20
"""Of each config, so many of the latest failed runs are looked at."""
_RECENT = 50
_LAST_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ConfigState:
    """How one config is doing."""

    config: Config
    """The config."""
    last_arrival: datetime | None
    """When its newest data arrived, or its schedule was last due."""
    last_run: RunRecord | None
    """The run that started last."""
    last_product: RunRecord | None
    """The latest run that published products."""
    newest_data: datetime | None
    """The last time in the products of that run."""
    lag: timedelta | None
    """How long it took from the arrival to the products of that run."""
    running: int
    """How many runs are being carried out."""
    waiting: int
    """How many runs wait."""
    retrying: int
    """How many runs will be tried again by themselves."""
    failures: tuple[RunRecord, ...]
    """Open failures, the latest first, at most MOST_FAILURES."""
    stale: bool
    """Whether it has ``expect_every``, and no data have arrived for longer than that."""
    samples: int
    """How many checked values were published in the last day (at most 50 runs are looked at)."""
    bad: int
    """How many of them failed a test that is assessed Bad."""
    empty: tuple[str, ...]
    """Sentences about products of the last run that have empty variables."""

    @property
    def more_failures(self) -> bool:
        """Whether there may be more open failures than ``failures`` has."""
        return len(self.failures) >= MOST_FAILURES

    @property
    def bad_share(self) -> float | None:
        """The part of the checked values that are bad, 0 to 1; None without any."""
        return self.bad / self.samples if self.samples else None


def config_states(session: Session, ledger: Ledger, now: datetime) -> list[ConfigState]:
    """How all configs are doing, in the order of the config file."""
    waiting, known = session.waiting(), acknowledged(ledger)

    def one(config: Config) -> ConfigState:
        id = config.id
        failed = ledger.records(config=id, states=("failed",), limit=MOST_FAILURES)
        going_on = [
            record.state
            for record in ledger.records(config=id, states=("running", "retrying"), limit=1000)
        ]
        arrived = last_arrival(ledger, id)
        # Records are decoded one by one: of a config with one file a day, only two are.
        done = ledger.records(config=id, states=("succeeded",), limit=_RECENT)
        last = next(done, None)
        recent = takewhile(
            lambda record: now - (record.finished or record.started) <= _LAST_DAY,
            chain([last] if last else [], done),
        )
        samples, bad = checked([product for record in recent for product in record.products])
        return ConfigState(
            config=config,
            last_arrival=arrived,
            last_run=next(ledger.records(config=id, limit=1), None),
            last_product=last,
            newest_data=max((p.end for p in last.products if p.end), default=None)
            if last
            else None,
            lag=_lag(last),
            running=going_on.count("running"),
            waiting=waiting.get(id, 0),
            retrying=going_on.count("retrying"),
            failures=tuple(only_open(ledger, iter(failed), known)),
            stale=bool(config.expect_every)
            and arrived is not None
            and now - arrived > timedelta(seconds=config.expect_every or 0),
            samples=samples,
            bad=bad,
            empty=empty_warnings(last.products) if last else (),
        )

    with ThreadPoolExecutor(session.reads_at_once) as pool:
        return list(pool.map(one, session.manifest.configs))


def checked(products: Sequence[Product]) -> tuple[int, int]:
    """How many values of products were checked, and how many of these are bad."""
    found = [quality for product in products for quality in product.quality]
    return sum(q.samples for q in found), sum(q.bad for q in found)


def _lag(record: RunRecord | None) -> timedelta | None:
    if record is None or record.finished is None or record.run.arrived is None:
        return None
    return max(record.finished - record.run.arrived, timedelta(0))


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
            failure = state.failures[0].failure
            latest = f"; the latest: {failure.message}" if failure else ""
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
