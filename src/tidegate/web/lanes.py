"""Runs as bars along a span of time, those at the same time in lanes of their own; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.web.texts import about, duration, outcome_mark

WIDTH = 1000.0
"""The whole span, in the units of the picture."""
MOST_LANES = 6
"""Of more runs at the same time, those that start later share the last lane."""
_NARROWEST = 1.6
_ON_TOP = ("old", "good", "warn", "busy", "bad")
"""The looks in the order in which they are drawn: where short runs touch, failures are visible."""


@dataclass(frozen=True)
class Bar:
    """One run."""

    key: str
    """The key of the run."""
    begin: float
    """Where it begins, 0 to WIDTH."""
    width: float
    """How wide it is."""
    lane: int
    """Its lane, from 0."""
    look: str
    """The class of its outcome: good, warn, bad, busy, old."""
    text: str
    """All about it, in words."""


@dataclass(frozen=True)
class Row:
    """The runs of one config."""

    config: str
    """The config."""
    bars: tuple[Bar, ...]
    """Its runs, in the order in which they are drawn."""
    lanes: int
    """How many lanes they take."""
    counts: tuple[tuple[str, int], ...]
    """How many runs have each outcome, the most frequent first."""

    @property
    def text(self) -> str:
        """The row in words."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts)
        return f"{self.config}: {counts}"


def rows_of(
    records: Iterable[RunRecord],
    configs: Sequence[str],
    begin: datetime,
    end: datetime,
    now: datetime,
) -> list[Row]:
    """A row for each config with runs that went on in [begin, end).

    They are in the order of ``configs``, and then by name.
    """
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.started < end and _ended(record, now) >= begin:
            by_config.setdefault(record.run.config, []).append(record)
    known = [config for config in configs if config in by_config]
    others = sorted(set(by_config) - set(known))
    return [_row(name, by_config[name], begin, end, now) for name in (*known, *others)]


def _ended(record: RunRecord, now: datetime) -> datetime:
    return record.finished or max(now, record.started)


def _row(
    config: str, records: list[RunRecord], begin: datetime, end: datetime, now: datetime
) -> Row:
    unit = (end - begin) / WIDTH
    free: list[datetime] = []
    bars = []
    for record in sorted(records, key=lambda record: (record.started, record.key)):
        until = _ended(record, now)
        lane = next((n for n, last in enumerate(free) if last <= record.started), len(free))
        lane = min(lane, MOST_LANES - 1)
        if lane == len(free):
            free.append(until)
        free[lane] = max(free[lane], until)
        start = max((record.started - begin) / unit, 0.0)
        width = max(min((until - begin) / unit, WIDTH) - start, _NARROWEST)
        start = min(start, WIDTH - width)
        look = outcome_mark(record.outcome)[1]
        bars.append(Bar(record.key, start, width, lane, look, _text(record, now)))
    bars.sort(key=lambda bar: _ON_TOP.index(bar.look))
    counts = Counter(record.outcome for record in records)
    return Row(config, tuple(bars), len(free), tuple(counts.most_common()))


def _text(record: RunRecord, now: datetime) -> str:
    took = _ended(record, now) - record.started
    until = f"{record.finished:%H:%M:%S}" if record.finished else "now"
    times = f"{record.started:%H:%M:%S} to {until} ({duration(took)})"
    return f"{record.outcome}, {times}: {about(record)}"


@dataclass(frozen=True)
class Mark:
    """A time on the scale."""

    at: float
    """Where it is, 0 to WIDTH."""
    text: str
    """The time."""
    begin: datetime
    """The time."""


def marks(begin: datetime, end: datetime, step: timedelta) -> list[Mark]:
    """The times on the scale, from ``begin`` on."""
    found = []
    when = begin
    while when < end:
        found.append(Mark((when - begin) / (end - begin) * WIDTH, f"{when:%H:%M}", when))
        when += step
    return found


def summary(rows: Sequence[Row]) -> str:
    """All rows in a few words."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(dict(row.counts))
    runs = quantity(sum(counts.values()), "run")
    parts = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    return f"{runs} of {quantity(len(rows), 'config')}: {parts}" if rows else "no runs"
