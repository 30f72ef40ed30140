"""Summaries of configs: brought up to date from new runs, they are as if made from all runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tidegate.errors import LedgerError
from tidegate.runtime.open_failures import acknowledge
from tidegate.runtime.runs import (
    Failure,
    Input,
    Product,
    QualitySummary,
    Run,
    RunRecord,
    State,
)
from tidegate.runtime.testing import MemoryLedger
from tidegate.workspace.config_summary import ConfigSummary
from tidegate.workspace.summary_refresh import CurrentSummaries, SummaryRefresh, forget_summaries

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
CONFIGS = ("met/a", "met/b", "met/c")
LEASE = timedelta(days=1)


class CountingLedger(MemoryLedger):
    """Counts the questions about runs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.can_write = True

    def records(self, **query: object) -> Iterator[RunRecord]:  # type: ignore[override]
        self.asked["records"] += 1
        return super().records(**query)  # type: ignore[arg-type]

    def record(self, key: str) -> RunRecord | None:
        self.asked["record"] += 1
        return super().record(key)

    def set_state(self, name: str, value: str) -> None:
        if name == "overview" and not self.can_write:
            raise LedgerError("cannot write", why="the role may only read", next="")
        super().set_state(name, value)


class Station:
    """A ledger in which files arrive, and runs begin and end."""

    def __init__(self, seed: int) -> None:
        self.ledger = CountingLedger()
        self.chance = random.Random(seed)
        self.now = START
        self.going_on: list[RunRecord] = []
        self.failed: list[RunRecord] = []

    def begin(self, run: Run) -> None:
        """An attempt, unless one about the same file is going on."""
        busy = {
            subject
            for r in self.going_on
            if r.run.config == run.config
            for subject in r.run.subjects
        }
        if busy.intersection(run.subjects):
            return
        claim = self.ledger.claim(run, owner="test", lease=LEASE, now=self.now, release="r")
        if claim.record is not None and claim.granted:
            self.going_on = [r for r in self.going_on if r.key != run.key] + [claim.record]

    def arrive(self) -> None:
        """A file, or several that belong together; sometimes new content of a known one."""
        names = self.chance.choice((("a",), ("b",), ("c",), ("d",), ("e1", "e2")))
        version = f"{self.chance.randrange(3)}" * 4
        inputs = tuple(Input(name, version, 1) for name in names)
        self.begin(Run(self.chance.choice(CONFIGS), inputs))

    def end(self, state: State | None = None) -> None:
        """The end of a run that is going on."""
        if not self.going_on:
            return
        record = self.going_on.pop(self.chance.randrange(len(self.going_on)))
        state = state or self.chance.choice(("succeeded", "succeeded", "failed", "empty"))
        products: tuple[Product, ...] = ()
        if state == "succeeded":
            name = f"{record.run.config}.{self.now:%d%H%M%S}.nc"
            quality = (QualitySummary("x", 10, self.chance.randrange(10), 0),)
            span = (self.now - timedelta(hours=1), self.now)
            products = (Product(name, "data", 1, "s", "stream", *span, quality=quality),)
        earlier = [
            other.key
            for subject in record.run.subjects
            for other in self.ledger.about(record.run.config, subject, but=record.key)
            if other.started < record.started
        ]
        failure = Failure("bad-input", "no column") if state == "failed" else None
        ended = replace(
            record,
            state=state,
            finished=self.now,
            products=products,
            failure=failure,
            replaces=tuple(earlier) if state == "succeeded" else (),
        )
        self.ledger.finish(ended)
        if failure:
            self.failed.append(ended)

    def step(self) -> None:
        """Something happens."""
        self.now += timedelta(minutes=self.chance.choice((0, 1, 5, 70)), seconds=1)
        what = self.chance.random()
        if what < 0.5:
            self.arrive()
        elif what < 0.9 or not self.failed:
            self.end()
        elif what < 0.96:
            record = self.ledger.record(self.chance.choice(self.failed).key)
            if record is not None and record.state == "failed":
                self.begin(replace(record.run, again=True))
        else:
            acknowledge(self.ledger, self.chance.choice(self.failed).key, "Ada", self.now)


def plain(found: CurrentSummaries) -> CurrentSummaries:
    """Without when they were made, and in one order.

    Nor with arrivals: a run that is repeated on request is no longer one, if all runs are read.
    """

    def same(summary: ConfigSummary) -> ConfigSummary:
        rows = tuple(sorted(tuple(row) for row in summary.rows))
        return replace(summary, made=START, rows=rows, last_arrival=None)

    return replace(found, configs={id: same(one) for id, one in found.configs.items()})


@pytest.mark.parametrize("seed", range(12))
def test_added_up_they_are_as_if_made_from_all_runs(seed: int) -> None:
    station = Station(seed)
    for _ in range(25):
        for _ in range(station.chance.randrange(6)):
            station.step()
        if station.chance.random() < 0.5:
            SummaryRefresh(station.ledger)(CONFIGS, station.now)
        while station.going_on:
            station.end()
        found = SummaryRefresh(station.ledger)(CONFIGS, station.now)
        kept = station.ledger.state("overview")
        forget_summaries(station.ledger)
        anew = SummaryRefresh(station.ledger)(CONFIGS, station.now)
        assert plain(found) == plain(anew)
        station.ledger.set_state("overview", kept or "{}")


def test_a_refresh_asks_no_more_than_what_is_new() -> None:
    station = Station(1)
    for _ in range(60):
        station.step()
    refresh = SummaryRefresh(station.ledger)
    refresh(CONFIGS, station.now)
    station.now += timedelta(minutes=3)
    station.ledger.asked.clear()
    refresh(CONFIGS, station.now)
    assert station.ledger.asked == {"records": 2}


def test_who_may_only_read_gets_the_same() -> None:
    station = Station(2)
    station.ledger.can_write = False
    refresh = SummaryRefresh(station.ledger)
    for _ in range(10):
        station.step()
        while station.going_on:
            station.end()
        found = refresh(CONFIGS, station.now)
        assert plain(found) == plain(SummaryRefresh(station.ledger)(CONFIGS, station.now))
    assert station.ledger.state("overview") is None


def test_each_config_is_looked_at_again_in_turn() -> None:
    station = Station(3)
    refresh = SummaryRefresh(station.ledger)
    refresh(CONFIGS, station.now)
    station.now += timedelta(hours=2)
    made = [
        sum(one.made == station.now for one in refresh(CONFIGS, station.now).configs.values())
        for _ in range(4)
    ]
    assert made == [1, 2, 3, 3]


def test_who_asks_for_fewer_configs_does_not_remove_the_others() -> None:
    station = Station(4)
    for _ in range(30):
        station.step()
    refresh = SummaryRefresh(station.ledger)
    refresh(CONFIGS, station.now)
    refresh(CONFIGS[:1], station.now + timedelta(hours=2))
    station.ledger.asked.clear()
    refresh(CONFIGS, station.now + timedelta(hours=2, minutes=1))
    assert station.ledger.asked["records"] <= 2 + 5  # one config is looked at again
    refresh(CONFIGS[:1], station.now + timedelta(days=3))
    assert CONFIGS[2] not in (station.ledger.state("overview") or "")


def test_the_last_arrival_is_not_forgotten_when_all_files_are_run_again() -> None:
    station = Station(5)
    config, arrived = CONFIGS[0], START
    runs = [Run(config, (Input(f"{n:02}", "v", 1, START - timedelta(days=9)),)) for n in range(25)]
    for run in runs:
        station.begin(replace(run, arrived=arrived))
        station.end("succeeded")
    refresh = SummaryRefresh(station.ledger)
    refresh(CONFIGS, station.now)
    for run in runs:
        station.now += timedelta(minutes=5)  # each config is looked at again
        station.begin(replace(run, arrived=station.now, again=True))
        station.end("succeeded")
        assert refresh(CONFIGS, station.now).configs[config].last_arrival == arrived
    forget_summaries(station.ledger)
    new = SummaryRefresh(station.ledger)(CONFIGS, station.now)
    assert new.configs[config].last_arrival == START - timedelta(days=9)
