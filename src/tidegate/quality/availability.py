"""How much of each day (or hour) of a datastream is there, and how much of it passed its checks.

``availability`` is what pages and commands call. It reads the day summaries that are kept in the
ledger (``runtime.day_summaries``); ``measure`` computes the rest and is pure.

*What counts as there.* A product covers the time from its first to its last sample, and from there
as long as it usually is until the next product begins. So a file with a sample every ten minutes,
a daily file, a snapshot every hour and a burst of twenty minutes every hour are all complete when
the next one follows as usual. What is usual comes from the data of the thirty days around; where
there are fewer than three products, from ``expect_every``. A pause of more than 1.5 times that is a
gap. A product with clearly fewer samples than usual counts for a part of its time.
Nothing is expected before the first data of a datastream, nor before the next product is due.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise
from statistics import median
from typing import Literal

from tidegate.runtime.day_summaries import (
    DAY_SECONDS,
    TOLERANCE,
    Days,
    DaySummary,
    Say,
    refresh_all,
    silent,
)
from tidegate.runtime.protocols import Ledger

HOUR_SECONDS = 3600.0
_WEEK = 7 * DAY_SECONDS
_BLOCK = 10
"""Days; what is usual comes from a block of them and its two neighbours."""
_FEW = 3
_BEFORE = 30
"""What is usual at the begin of a period comes from so many days with data before it."""


@dataclass(frozen=True)
class Cell:
    """What there is of one day or hour."""

    begin: datetime
    """Its begin, UTC."""
    expected: float
    """How much of it there could be, s: less than all of it at the first data and today; 0 before
    the first data, in the future, and until the next product is due."""
    present: float
    """How much of that is there, s."""
    products: int = 0
    """How many data products begin in it."""
    samples: int = 0
    """How many values have a QC variable, all variables together."""
    bad: int = 0
    """How many of them failed a test that is assessed Bad."""
    indeterminate: int = 0
    """How many failed only tests that are assessed Indeterminate."""

    @property
    def available(self) -> float | None:
        """The part that is there, 0 to 1; None where nothing is expected."""
        return min(self.present / self.expected, 1.0) if self.expected > 0 else None

    @property
    def passed(self) -> float | None:
        """The part of the checked values that is not bad, 0 to 1; None where none was checked."""
        return 1.0 - self.bad / self.samples if self.samples else None


def total(cells: Sequence[Cell]) -> Cell:
    """One or more days or hours as one cell."""
    return Cell(
        cells[0].begin,
        sum(cell.expected for cell in cells),
        sum(min(cell.present, cell.expected) for cell in cells),
        sum(cell.products for cell in cells),
        sum(cell.samples for cell in cells),
        sum(cell.bad for cell in cells),
        sum(cell.indeterminate for cell in cells),
    )


@dataclass(frozen=True)
class Gap:
    """A time without data."""

    begin: datetime
    """From when on data is missing."""
    end: datetime
    """When data begins again; now, for an ongoing gap."""
    ongoing: bool = False
    """Whether no data has come since."""


@dataclass(frozen=True)
class Series:
    """A datastream over a period."""

    datastream: str
    """Its name."""
    config: str
    """The config that makes it."""
    begin: datetime | None
    """The first data on record, in the period or before; None without any."""
    end: datetime | None
    """The last data on record."""
    step: float
    """How long it usually is from one product to the next at the end of the period, s."""
    cells: tuple[Cell, ...]
    """Each day or hour of the period, in order."""
    gaps: tuple[Gap, ...] = ()
    """The gaps that touch the period, in order."""

    @property
    def total(self) -> Cell:
        """The whole period as one cell."""
        return total(self.cells)


def availability(
    ledger: Ledger,
    begin: date,
    end: date,
    *,
    now: datetime,
    datastreams: Iterable[str] | None = None,
    expect_every: Mapping[str, float | None] | None = None,
    by: Literal["day", "hour"] = "day",
    refreshed: Sequence[Days] | None = None,
) -> list[Series]:
    """The datastreams over the days [begin, end), by day or by hour.

    ``datastreams=None`` is all of them, by name. ``expect_every`` gives the seconds of that key by
    config id. The cost depends on what has changed since the last call, and for hours on the number
    of products in the period. Writes the refreshed day summaries to the ledger, except where the
    caller has ``refreshed`` them.
    """
    expected = expect_every or {}
    found = []
    for days in refresh_all(ledger, datastreams) if refreshed is None else refreshed:
        series = measure(days, begin, end, now, expected.get(days.config), by)
        if by == "hour":
            series = _with_checks(ledger, series, begin, end)
        found.append(series)
    return found


def last_day(ledger: Ledger, datastreams: Iterable[str] | None = None, say: Say = silent) -> date:
    """The last day with data of any of these datastreams, or of all; today without any."""
    found = [max(days.days) for days in refresh_all(ledger, datastreams, say) if days.days]
    return max(found, default=datetime.now(timezone.utc).date())


def measure(
    days: Days,
    begin: date,
    end: date,
    now: datetime,
    expect_every: float | None = None,
    by: Literal["day", "hour"] = "day",
) -> Series:
    """One datastream over the days [begin, end), from its day summaries; pure.

    By hour, the cells have no counts of products and checked values.
    """
    known = list(days.days)
    low = max(bisect_left(known, begin) - _BEFORE, 0)
    high = bisect_left(known, end) + 1
    near = {day: days.days[day] for day in known[low:high]}
    usual = _Usual.of(near, expect_every)
    first = _edge(days.days, known[0], 0) if known else None
    last = _edge(days.days, known[-1], -1) if known else None
    pieces, pauses = _pieces(near, usual)
    until_s = _seconds(now)
    if not known[high:] and last is not None:
        end_s, step = last, usual.step(known[-1])
        if until_s - end_s > TOLERANCE * max(step, usual.cadence):
            pauses.append((end_s + step, until_s, True))
        else:  # the next product is not due yet
            until_s = min(until_s, end_s + step)
    length = DAY_SECONDS if by == "day" else HOUR_SECONDS
    low_s, high_s = _start(begin), _start(end)
    present = _present(pieces, length)
    cells: list[Cell] = []
    first_cell, each = _midnight(begin), timedelta(seconds=length)
    at = low_s
    while at < high_s:
        until = at + length
        expected = 0.0 if first is None else min(until, until_s) - max(at, first)
        summary = near.get(_day(at)) if by == "day" else None
        amount = present.get(at, 0.0) - (summary.missing if summary else 0.0)
        cells.append(_cell(first_cell + len(cells) * each, expected, amount, summary))
        at = until
    gaps = tuple(
        Gap(_moment(a), _moment(b), ongoing) for a, b, ongoing in pauses if b > low_s and a < high_s
    )
    step = usual.step(known[high - 1 if high <= len(known) else -1]) if known else 0.0
    return Series(
        days.datastream,
        days.config,
        None if first is None else _moment(first),
        None if last is None else _moment(last),
        step,
        tuple(cells),
        gaps,
    )


def _cell(begin: datetime, expected: float, present: float, summary: DaySummary | None) -> Cell:
    times = (round(max(expected, 0.0), 3), round(max(present, 0.0), 3))
    if summary is None:
        return Cell(begin, *times)
    counts = (summary.products, summary.samples, summary.bad, summary.indeterminate)
    return Cell(begin, *times, *counts)


# What is usual.


@dataclass
class _Usual:
    """How products usually follow each other; from the blocks of days around a day."""

    pauses: dict[int, list[float]] = field(default_factory=dict)
    """By block: from the end of a product to the begin of the next, s."""
    intervals: dict[int, list[float]] = field(default_factory=dict)
    """By block: from one sample to the next, s."""
    cadence: float = 0.0
    """How long it is from the begin of one product to the begin of the next, s."""
    expect_every: float | None = None
    """The key of the config, s."""
    _steps: dict[int, float] = field(default_factory=dict)
    _typical: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, days: Mapping[date, DaySummary], expect_every: float | None) -> _Usual:
        found = cls(expect_every=expect_every)
        busy = [(day, summary.products) for day, summary in days.items() if summary.products]
        apart = [(day - before).days for (before, _), (day, _) in pairwise(busy[-_BEFORE:])]
        if apart:
            products = median(count for _, count in busy[-_BEFORE:])
            found.cadence = median(apart) * DAY_SECONDS / products
        end: float | None = None
        for day, summary in days.items():
            block, start = day.toordinal() // _BLOCK, _start(day)
            pauses = found.pauses.setdefault(block, [])
            intervals = found.intervals.setdefault(block, [])
            if summary.step:
                pauses.append(summary.step)
            for stretch in summary.stretches:
                if end is not None and not summary.step and 0 < start + stretch.begin - end < _WEEK:
                    pauses.append(start + stretch.begin - end)
                end = max(start + stretch.end, end or 0.0)
                if stretch.interval:
                    intervals.append(stretch.interval)
        return found

    def step(self, day: date) -> float:
        """How long it usually is until the next product, s."""
        block = day.toordinal() // _BLOCK
        if block not in self._steps:
            pauses = self._near(self.pauses, block)
            interval = self.interval(day)
            if len(pauses) >= _FEW:
                step = median(pauses)
            elif self.expect_every:
                step = min(self.expect_every, _WEEK)
            else:
                step = median(pauses) if pauses and not interval else 0.0
            self._steps[block] = max(step, interval)
        return self._steps[block]

    def interval(self, day: date) -> float:
        """How far samples usually are apart, s; 0 where that is not known."""
        block = day.toordinal() // _BLOCK
        if block not in self._typical:
            near = self._near(self.intervals, block)
            self._typical[block] = min(median(near), _WEEK) if near else 0.0
        return self._typical[block]

    @staticmethod
    def _near(values: Mapping[int, list[float]], block: int) -> list[float]:
        return [v for n in (block - 1, block, block + 1) for v in values.get(n, ())]


_Piece = tuple[float, float, float]
"""Begin and end in seconds, and the part of the usual samples that is in it."""
_Pause = tuple[float, float, bool]
"""Begin and end in seconds, and whether it is ongoing."""


def _pieces(days: Mapping[date, DaySummary], usual: _Usual) -> tuple[list[_Piece], list[_Pause]]:
    """The times that are there, and the gaps between them."""
    pieces: list[_Piece] = []
    gaps: list[_Pause] = []
    end = covered = step = 0.0
    density = 1.0
    for day, summary in days.items():
        start, interval = _start(day), usual.interval(day)
        for stretch in summary.stretches:
            begin = start + stretch.begin
            if pieces:
                if begin - end > TOLERANCE * step:
                    gaps.append((end + step, begin, False))
                    pieces.append((covered, end + step, density))
                elif begin > covered:
                    pieces.append((covered, begin, density))
                covered = max(covered, begin)
            else:
                covered = begin
            sparse = interval and stretch.interval > TOLERANCE * interval
            density = interval / stretch.interval if sparse else 1.0
            end = max(end, start + stretch.end)
            step = usual.step(day)
            if end > covered or not pieces:
                pieces.append((covered, end, density))
                covered = end
    if pieces:
        pieces.append((covered, end + step, density))
    return pieces, gaps


def _present(pieces: Iterable[_Piece], length: float) -> dict[float, float]:
    """How much of each day or hour is there, s, by its begin."""
    present: dict[float, float] = {}
    for begin, end, density in pieces:
        while begin < end:
            at = begin // length * length
            until = min(at + length, end)
            present[at] = present.get(at, 0.0) + (until - begin) * density
            begin = until
    return present


def _with_checks(ledger: Ledger, series: Series, begin: date, end: date) -> Series:
    """The same hours, with counts of products and checked values."""
    sums = {cell.begin: [0.0, 0.0, 0.0, 0.0] for cell in series.cells}
    for product in ledger.overlapping(series.datastream, _midnight(begin), _midnight(end)):
        assert product.begin is not None
        assert product.end is not None
        counts = [
            sum(checked.samples for checked in product.quality),
            sum(checked.bad for checked in product.quality),
            sum(checked.indeterminate for checked in product.quality),
        ]
        for n, (hour, share) in enumerate(_shares(product.begin, product.end)):
            if hour in sums:
                sums[hour][0] += n == 0
                for index, count in enumerate(counts, 1):
                    sums[hour][index] += count * share
    cells = tuple(
        Cell(cell.begin, cell.expected, cell.present, *map(round, sums[cell.begin]))
        for cell in series.cells
    )
    return replace(series, cells=cells)


def _shares(begin: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """The hours of a time span, and which part of it is in each."""
    hour = begin.replace(minute=0, second=0, microsecond=0)
    if end <= begin:
        yield hour, 1.0
    while hour < end:
        after = hour + timedelta(hours=1)
        yield hour, (min(after, end) - max(hour, begin)) / (end - begin)
        hour = after


# Times, in seconds since the first day of the calendar.


def _start(day: date) -> float:
    return day.toordinal() * DAY_SECONDS


def _day(seconds: float) -> date:
    return date.fromordinal(int(seconds // DAY_SECONDS))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)


def _seconds(moment: datetime) -> float:
    utc = moment.astimezone(timezone.utc)
    return _start(utc.date()) + (utc - _midnight(utc.date())).total_seconds()


def _moment(seconds: float) -> datetime:
    day = _day(seconds)
    return _midnight(day) + timedelta(seconds=seconds - _start(day))


def _edge(days: Mapping[date, DaySummary], day: date, index: int) -> float:
    """The first (0) or the last (-1) moment of a day with data."""
    stretch = days[day].stretches[index]
    return _start(day) + (stretch.end if index else stretch.begin)
