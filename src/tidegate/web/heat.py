"""How availability and quality are shown: classes of colours, and words for each cell; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tidegate.quality.availability import Cell, Series
from tidegate.quality.variables import VariableDay
from tidegate.runtime.wording import quantity
from tidegate.web.texts import percent

LEVELS = ((0.0, "a0"), (0.5, "a1"), (0.8, "a2"), (0.95, "a3"), (0.9995, "a4"))
"""Up to which share each class goes; above the last: a5."""
FEW_BAD, MANY_BAD = 0.01, 0.1
"""From these shares of bad values on, a cell has a mark: a thin or a thick one."""


def level(share: float | None) -> str:
    """The class for how much is there: a0 nothing, to a5 everything; "" where none is expected."""
    if share is None:
        return ""
    return next((name for limit, name in LEVELS if share <= limit), "a5")


def mark(bad_share: float | None) -> str:
    """The class for how much is bad: q1 or q2; "" for little or none."""
    if bad_share is None or bad_share < FEW_BAD:
        return ""
    return "q2" if bad_share >= MANY_BAD else "q1"


def number(share: float | None) -> str:
    """A share in two digits, for a small cell: what is not all is at most 99, and not 0 if any."""
    if share is None:
        return ""
    if share >= 0.9995:
        return "100"
    if share <= 0:
        return "0"
    return str(min(max(round(100 * share), 1), 99))


@dataclass(frozen=True)
class Box:
    """A day or an hour as it is shown."""

    day: date
    """The day."""
    classes: str
    """The classes of its colour and mark."""
    number: str
    """How much is there, %; "" where nothing is expected."""
    text: str
    """All about it, in words."""


def box(cell: Cell, *, hour: bool = False) -> Box:
    """A cell of a series."""
    bad = None if cell.passed is None else 1.0 - cell.passed
    when = f"{cell.begin:%Y-%m-%d %H:%M}" if hour else f"{cell.begin:%Y-%m-%d}"
    words = [f"{percent(cell.available)} there"] if cell.available is not None else ["no data yet"]
    if cell.products:
        words.append(quantity(cell.products, "product"))
    if bad is not None:
        words.append(f"{percent(bad)} bad")
    return Box(
        cell.begin.date(),
        f"{level(cell.available)} {mark(bad)}".strip(),
        number(cell.available),
        f"{when}: {', '.join(words)}",
    )


def variable_box(found: VariableDay) -> Box:
    """A variable on a day: the colour says how many values are valid, the mark how many are bad."""
    bad = None if found.passed is None else 1.0 - found.passed
    share = found.valid if found.valid is not None else found.passed
    words = [f"{percent(found.valid)} valid"] if found.valid is not None else []
    words += [f"{percent(bad)} bad"] if bad is not None else []
    return Box(
        found.day,
        f"{level(share)} {mark(bad)}".strip(),
        number(share),
        f"{found.day}: {', '.join(words) or 'no data'}",
    )


@dataclass(frozen=True)
class Strip:
    """Neighbouring days that look the same, in a strip."""

    at: int
    """The number of the first day in the strip."""
    days: int
    """How many there are."""
    classes: str
    """As in ``Box``."""


def strips(series: Series) -> list[Strip]:
    """The days of a series for a narrow strip."""
    found: list[Strip] = []
    for place, cell in enumerate(series.cells):
        classes = box(cell).classes
        if found and found[-1].classes == classes:
            found[-1] = Strip(found[-1].at, found[-1].days + 1, classes)
        else:
            found.append(Strip(place, 1, classes))
    return [strip for strip in found if strip.classes]


@dataclass(frozen=True)
class Month:
    """A month as a row of a calendar."""

    first: date
    """Its first day."""
    boxes: list[Box | None]
    """Its 31 columns; None before the period, after it, and where the month has no such day."""


def months(series: Series) -> list[Month]:
    """The days of a series as a calendar, the latest month first; from its first data on."""
    rows: dict[date, Month] = {}
    begin = series.begin.date().replace(day=1) if series.begin else date.min
    for cell in series.cells:
        day = cell.begin.date()
        first = day.replace(day=1)
        if first < begin:
            continue
        if first not in rows:
            rows[first] = Month(first, [None] * 31)
        rows[first].boxes[day.day - 1] = box(cell)
    return [rows[first] for first in sorted(rows, reverse=True)]


def month_starts(first: date, last: date) -> list[tuple[int, str]]:
    """Where months begin in a strip of days, and their names."""
    found = []
    day = first
    while day <= last:
        if day.day == 1:
            found.append(((day - first).days, f"{day:%b}" if day.month > 1 else f"{day:%Y}"))
        day += timedelta(days=1)
    return found
