"""A summary of each day of a datastream: how much data there is, and how much passed its checks.

They are kept in the ledger as one value for each datastream (``Ledger.state``), and brought up to
date from the ledger's change log: the cost depends on what has changed since then, and a page
over years reads thirty values instead of a million products. The cursor in the change log is part
of the value. So each write leaves a correct value, and the next refresh continues from its cursor.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.errors import LedgerError, StorageError, TidegateError
from tidegate.runtime.protocols import MOST_CHANGES, Ledger, Span
from tidegate.runtime.runs import Product

if TYPE_CHECKING:
    from typing import TypeAlias

logger = logging.getLogger(__name__)

DAY_SECONDS = 86400.0
TOLERANCE = 1.5
"""A pause is a gap when it is this many times longer than usual."""

_STATE = "days/"
_FORMAT = 2
_DENSE = 8
"""With at least so many products on a day, its usual pause is computed from that day alone."""
_MOST_STRETCHES = 48
_LONGEST = timedelta(days=3660)
"""Products that cover more than this have wrong times, or say nothing about single days."""
_CHUNK = 31
_AT_ONCE = 8
_LAST_DAY = date.max.toordinal() - 1


Say: TypeAlias = "Callable[[str, int], object]"
"""Called when a datastream is done, with its name and how many there are."""


def silent(name: str, of: int) -> None:
    """Report no progress."""


class Stretch(NamedTuple):
    """A time without a gap; seconds since the begin of the day."""

    begin: float
    """The first sample."""
    end: float
    """The last sample."""
    interval: float
    """How far the samples are apart, on average, s; 0 if there is only one."""


@dataclass(frozen=True)
class DaySummary:
    """What there is of one day (UTC) of a datastream."""

    products: int
    """How many data products begin on that day."""
    samples: int
    """How many values have a QC variable, all variables together."""
    bad: int
    """How many of them failed a test that is assessed Bad."""
    indeterminate: int
    """How many of them failed only tests that are assessed Indeterminate."""
    step: float
    """How long it usually is from the end of a product to the begin of the next, s; 0 where there
    are too few products on that day to tell."""
    missing: float
    """Gaps inside of ``stretches``, s: of a day with very many gaps, the shortest are added up."""
    stretches: tuple[Stretch, ...]
    """When there is data, in order."""


class DayRows(Mapping[date, DaySummary]):
    """Days in order, as they are kept: each is decoded when it is asked for, and few are."""

    def __init__(self, rows: Mapping[date, list[Any]]) -> None:
        self.rows = rows
        """The numbers of each day."""

    def __getitem__(self, day: date) -> DaySummary:
        return _to_day(self.rows[day])

    def __iter__(self) -> Iterator[date]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Days:
    """The days of one datastream."""

    datastream: str
    """Its name."""
    config: str = ""
    """The config that made the products that were looked at last."""
    cursor: str = ""
    """How far the change log was read."""
    days: DayRows = field(default_factory=lambda: DayRows({}))
    """The days with data, in order."""


@dataclass
class Unwritten:
    """Summaries that the ledger did not take: they stay with the reader, who may only read."""

    days: dict[str, Days] = field(default_factory=dict)
    """By datastream."""
    error: TidegateError | None = None
    """Why the last one was not taken; None if it was."""


def refresh_all(
    ledger: Ledger,
    datastreams: Iterable[str] | None = None,
    say: Say = silent,
    *,
    at_once: int = _AT_ONCE,
    unwritten: Unwritten | None = None,
) -> list[Days]:
    """Bring the summaries of these datastreams, or of all, up to date, and return them.

    ``at_once`` datastreams at the same time; ``say`` is called from their threads.
    """
    names = list(ledger.datastreams() if datastreams is None else datastreams)

    def one(name: str) -> Days:
        days = refresh(ledger, name, unwritten)
        say(name, len(names))
        return days

    if len(names) <= 1 or at_once == 1:
        return [one(name) for name in names]
    with ThreadPoolExecutor(min(at_once, len(names))) as pool:
        return list(pool.map(one, names))


def refresh(ledger: Ledger, datastream: str, unwritten: Unwritten | None = None) -> Days:
    """Bring the summaries of a datastream up to date, and return them.

    What cannot be written to the ledger is kept in ``unwritten``, and used the next time.
    """
    left = unwritten or Unwritten()
    known = left.days.get(datastream)
    if known is None:
        known = _from_text(datastream, ledger.state(_STATE + datastream))
    while True:
        spans, cursor = ledger.changes(datastream, known.cursor)
        if spans:
            known = _refresh_touched(ledger, known, spans, cursor, left)
        if len(spans) < MOST_CHANGES:
            return known


def _refresh_touched(
    ledger: Ledger, known: Days, spans: Sequence[Span], cursor: str, unwritten: Unwritten
) -> Days:
    """Sum up the days of these spans, and keep that."""
    datastream = known.datastream
    days = dict(known.days.rows)
    config = known.config
    for begin, end in _chunks(_touched(spans)):
        products = ledger.overlapping(datastream, _midnight(begin), _midnight(end + 1))
        if products:
            config = products[-1].config
        by_day = _by_day(products, begin, end)
        for ordinal in range(begin, end + 1):
            day = date.fromordinal(ordinal)
            if ordinal in by_day:
                days[day] = _to_row(summarize_day(by_day[ordinal], _midnight(ordinal)))
            else:
                days.pop(day, None)
    found = Days(datastream, config, cursor, DayRows({day: days[day] for day in sorted(days)}))
    try:
        ledger.set_state(_STATE + datastream, _to_text(found))
        unwritten.days.pop(datastream, None)
        unwritten.error = None
    except (LedgerError, StorageError) as error:  # such as credentials that may only read
        logger.warning("the summaries of days were not written: %s", error)
        unwritten.days[datastream] = found
        unwritten.error = error
    return found


def summarize_day(products: Sequence[Product], midnight: datetime) -> DaySummary:
    """The summary of the day that begins at ``midnight``, given the products that touch it."""
    begun = samples = bad = indeterminate = 0
    stretches = []
    for product in products:
        assert product.begin is not None
        assert product.end is not None
        first = (product.begin - midnight).total_seconds()
        last = (product.end - midnight).total_seconds()
        begun += 0 <= first < DAY_SECONDS
        begin, end = max(first, 0.0), min(last, DAY_SECONDS)
        share = (end - begin) / (last - first) if last > first else 1.0
        for checked in product.quality:
            samples += round(checked.samples * share)
            bad += round(checked.bad * share)
            indeterminate += round(checked.indeterminate * share)
        times = product.dimensions.get("time", 0)
        interval = (last - first) / (times - 1) if times > 1 and last > first else 0.0
        stretches.append(Stretch(round(begin, 3), round(end, 3), round(interval, 3)))
    stretches.sort()
    step = 0.0
    if len(stretches) >= _DENSE:
        pauses = list(pauses_between(stretches))
        step = round(median(pauses), 3) if pauses else 0.0
    stretches = _joined(stretches, step)
    stretches, missing = _at_most(stretches, _MOST_STRETCHES, step)
    return DaySummary(begun, samples, bad, indeterminate, step, missing, tuple(stretches))


def pauses_between(stretches: Iterable[Stretch]) -> Iterator[float]:
    """How long it is from the end of each stretch to the next one, s; not if they touch."""
    end: float | None = None
    for stretch in stretches:
        if end is not None and stretch.begin > end:
            yield stretch.begin - end
        end = stretch.end if end is None else max(end, stretch.end)


def _joined(stretches: Sequence[Stretch], step: float) -> list[Stretch]:
    """Stretches without pauses as long as usual: between products, or between their samples."""
    joined: list[Stretch] = []
    counts: list[float] = []
    for stretch in stretches:
        count = (stretch.end - stretch.begin) / stretch.interval if stretch.interval else 0.0
        before = joined[-1] if joined else None
        usual = TOLERANCE * max(step, before.interval if before else 0.0)
        if before is None or stretch.begin - before.end > usual:
            joined.append(stretch)
            counts.append(count)
            continue
        total = counts[-1] + count
        lengths = before.interval * counts[-1] + stretch.interval * count
        interval = round(lengths / total, 3) if total else 0.0
        joined[-1] = Stretch(before.begin, max(before.end, stretch.end), interval)
        counts[-1] = total
    return joined


def _at_most(stretches: list[Stretch], most: int, step: float) -> tuple[list[Stretch], float]:
    """At most so many stretches; and how much is missing inside of them, s."""
    missing = 0.0
    while len(stretches) > most:
        pauses = [stretches[n].begin - stretches[n - 1].end for n in range(1, len(stretches))]
        shortest = min(range(len(pauses)), key=pauses.__getitem__)
        one, other = stretches[shortest : shortest + 2]
        missing += max(pauses[shortest] - step, 0.0)
        stretches[shortest : shortest + 2] = [Stretch(one.begin, other.end, one.interval)]
    return stretches, round(missing, 3)


# Days, as numbers from ``date.toordinal``.


def _midnight(ordinal: int) -> datetime:
    return datetime.combine(date.fromordinal(ordinal), time(), timezone.utc)


def _ordinals(begin: datetime, end: datetime) -> range:
    """The days of a product; none where it covers too much."""
    if end - begin > _LONGEST:
        return range(0)
    last = end.date().toordinal()
    if end > begin and end.time() == time():  # a last sample at midnight belongs to the day before
        last -= 1
    return range(begin.date().toordinal(), min(last, _LAST_DAY) + 1)


def _touched(spans: Iterable[Span]) -> list[int]:
    return sorted({day for span in spans for day in _ordinals(span.begin, span.end)})


def _chunks(days: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Days in pieces without a gap: the first and the last day of each."""
    begin = 0
    for n in range(1, len(days) + 1):
        if n == len(days) or days[n] != days[n - 1] + 1 or n - begin >= _CHUNK:
            yield days[begin], days[n - 1]
            begin = n


def _by_day(products: Iterable[Product], begin: int, end: int) -> dict[int, list[Product]]:
    found: dict[int, list[Product]] = {}
    for product in products:
        assert product.begin is not None
        assert product.end is not None
        days = _ordinals(product.begin, product.end)
        for day in range(max(days.start, begin), min(days.stop, end + 1)):
            found.setdefault(day, []).append(product)
    return found


# As text.


def _to_text(days: Days) -> str:
    listed = {day.isoformat(): row for day, row in days.days.rows.items()}
    data = {"format": _FORMAT, "cursor": days.cursor, "config": days.config, "days": listed}
    return json.dumps(data, separators=(",", ":"))


def _from_text(datastream: str, text: str | None) -> Days:
    """What ``_to_text`` was given; nothing where another version of Tidegate has written it."""
    data: dict[str, Any] = json.loads(text) if text else {}
    if data.get("format") != _FORMAT:
        return Days(datastream)
    rows = {date.fromisoformat(day): row for day, row in data["days"].items()}
    return Days(datastream, data["config"], data["cursor"], DayRows(rows))


def _to_row(d: DaySummary) -> list[Any]:
    stretches = [list(stretch) for stretch in d.stretches]
    return [d.products, d.samples, d.bad, d.indeterminate, d.step, d.missing, stretches]


def _to_day(row: Sequence[Any]) -> DaySummary:
    products, samples, bad, indeterminate, step, missing, stretches = row
    listed = tuple(Stretch(*stretch) for stretch in stretches)
    return DaySummary(products, samples, bad, indeterminate, step, missing, listed)
