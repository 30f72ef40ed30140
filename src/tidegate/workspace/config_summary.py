"""What the runs of a config come to: the latest one, the last products, open failures; pure.

Adding a run twice changes nothing, so whoever adds runs may look at some of them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from tidegate.runtime.ledger_rules import start_and_key
from tidegate.runtime.product_checks import empty_warnings
from tidegate.runtime.runs import Product, RunRecord

MOST_FAILURES = 20
"""Of each config, so many of the latest failed runs are looked at."""
MOST_CHECKED = 50
"""Of each config, so many runs of the last day are looked at."""
LAST_DAY = timedelta(days=1)

_MOST_SUBJECTS = 1000
_LONGEST_MESSAGE = 500
_CLOSING = ("succeeded", "empty", "failed")


@dataclass(frozen=True)
class LastRun:
    """The run of a config that started last."""

    key: str
    """Its key."""
    outcome: str
    """``RunRecord.outcome``."""
    started: datetime
    """When it started."""


@dataclass(frozen=True)
class StreamEnd:
    """A datastream at the end of the latest products."""

    name: str
    """Its name."""
    newest: datetime | None
    """The last time in its newest product."""
    begin: datetime | None
    """The first time in that product."""

    @property
    def day(self) -> date | None:
        """The day on which its newest product begins."""
        return self.begin.date() if self.begin else None


@dataclass(frozen=True)
class LastProducts:
    """The latest run of a config that succeeded."""

    key: str
    """Its key."""
    started: datetime
    """When it started."""
    finished: datetime | None = None
    """When it published its products."""
    lag: float | None = None
    """How long it took from the arrival to the products, s."""
    streams: tuple[StreamEnd, ...] = ()
    """The datastreams that it wrote."""
    empty: tuple[str, ...] = ()
    """Sentences about empty variables."""

    @property
    def newest_data(self) -> datetime | None:
        """The last time in these products."""
        return max((stream.newest for stream in self.streams if stream.newest), default=None)


@dataclass(frozen=True)
class FailedRun:
    """An open failure."""

    key: str
    """The key of the run."""
    started: datetime
    """When it started."""
    message: str = ""
    """What happened."""
    subjects: tuple[str, ...] = ()
    """Digests of what it is about; the first of them where there are very many."""


class CheckedRun(NamedTuple):
    """How many values in the products of a run were checked."""

    key: str
    """The key of the run."""
    ended: float
    """When it ended, s since 1970."""
    samples: int
    """How many values were checked."""
    bad: int
    """How many of them failed a test that is assessed Bad."""


@dataclass(frozen=True)
class ConfigSummary:
    """What the runs of one config come to."""

    config: str
    """The config's id."""
    made: datetime
    """When it was made from the latest runs, and not from an earlier summary."""
    last_run: LastRun | None = None
    """The run that started last."""
    last_arrival: datetime | None = None
    """When the newest data arrived. A run that a person asked for is no arrival; where only such
    runs are known, it is the time of a file."""
    last_products: LastProducts | None = None
    """The latest products."""
    failures: tuple[FailedRun, ...] = ()
    """The open failures, the latest first; acknowledged ones may be among them."""
    rows: tuple[tuple[Any, ...], ...] = ()
    """``checked``, as it is stored."""

    @property
    def checked(self) -> list[CheckedRun]:
        """The runs of the last day with checked values, the latest first."""
        return [CheckedRun(*row) for row in self.rows]


def add_runs(
    summary: ConfigSummary, records: Iterable[RunRecord], now: datetime
) -> tuple[ConfigSummary, list[str]]:
    """The summary with new attempts of runs; pure.

    Also returns the keys of failures that may be closed, which only the ledger knows: a run about
    several files is open until all of them succeed.
    """
    last, arrival, products = summary.last_run, summary.last_arrival, summary.last_products
    failures = {failure.key: failure for failure in summary.failures}
    checked = {run.key: run for run in summary.checked}
    unsure: dict[str, None] = {}
    for record in sorted(records, key=start_and_key):
        if last is None or record.started >= last.started:
            last = LastRun(record.key, record.outcome, record.started)
        if not record.run.again:
            arrived = record.run.arrived or record.started
            arrival = max(arrived, arrival or arrived)
        failures.pop(record.key, None)
        for key in (record.key, *record.replaces):
            checked.pop(key, None)
        if record.state in _CLOSING:
            for key in _about_the_same(record, failures.values()):
                if len(failures[key].subjects) == 1:
                    del failures[key]
                else:
                    unsure[key] = None
        if record.state == "failed":
            failures[record.key] = failed_run(record)
        if record.state == "succeeded":
            if products is None or record.started >= products.started:
                products = last_products(record)
            if run := checked_run(record):
                checked[record.key] = run
    after = replace(
        summary,
        last_run=last,
        last_arrival=arrival,
        last_products=products,
        failures=_latest(failures.values()),
        rows=recent(checked.values(), now),
    )
    return after, [failure.key for failure in after.failures if failure.key in unsure]


def file_time(record: RunRecord) -> datetime | None:
    """The time of the latest raw file of a run; None where it is not known."""
    return record.run.arrival[0] if record.run.arrival else None


def _about_the_same(record: RunRecord, failures: Iterable[FailedRun]) -> list[str]:
    """The keys of earlier failures about one of the subjects of a run."""
    subjects = set(_digests(record, most=None))
    return [
        failure.key
        for failure in failures
        if failure.started < record.started
        and (len(failure.subjects) >= _MOST_SUBJECTS or not subjects.isdisjoint(failure.subjects))
    ]


def _latest(failures: Iterable[FailedRun]) -> tuple[FailedRun, ...]:
    found = sorted(failures, key=lambda failure: (failure.started, failure.key), reverse=True)
    return tuple(found[:MOST_FAILURES])


def recent(runs: Iterable[CheckedRun], now: datetime) -> tuple[CheckedRun, ...]:
    """Those that ended in the last day, the latest first, at most MOST_CHECKED."""
    since = (now - LAST_DAY).timestamp()
    found = sorted((run for run in runs if run.ended >= since), key=lambda run: -run.ended)
    return tuple(found[:MOST_CHECKED])


# From records.


def last_products(record: RunRecord) -> LastProducts:
    """What the latest successful run has made."""
    newest: dict[str, Product] = {}
    for product in record.products:
        before = newest.get(product.datastream)
        if product.datastream and (before is None or _is_later(product, before)):
            newest[product.datastream] = product
    lag = None
    if record.finished is not None and record.run.arrived is not None:
        lag = max((record.finished - record.run.arrived).total_seconds(), 0.0)
    return LastProducts(
        record.key,
        record.started,
        record.finished,
        lag,
        tuple(StreamEnd(name, one.end, one.begin) for name, one in newest.items()),
        empty_warnings(record.products),
    )


def _is_later(product: Product, before: Product) -> bool:
    return product.end is not None and (before.end is None or product.end > before.end)


def failed_run(record: RunRecord) -> FailedRun:
    """A failure, short."""
    message = record.failure.message[:_LONGEST_MESSAGE] if record.failure else ""
    return FailedRun(record.key, record.started, message, _digests(record, _MOST_SUBJECTS))


def checked_run(record: RunRecord) -> CheckedRun | None:
    """What was checked in a run's products; None if nothing was."""
    samples, bad = checked_values(record.products)
    ended = (record.finished or record.started).timestamp()
    return CheckedRun(record.key, ended, samples, bad) if samples else None


def checked_values(products: Sequence[Product]) -> tuple[int, int]:
    """How many values of products were checked, and how many of these are bad."""
    found = [quality for product in products for quality in product.quality]
    return sum(q.samples for q in found), sum(q.bad for q in found)


def _digests(record: RunRecord, most: int | None) -> tuple[str, ...]:
    """Digests of what a run is about."""
    subjects = record.run.subjects[:most] or ("",)
    return tuple(
        hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        for subject in dict.fromkeys(subjects)
    )
