"""Availability and quality as maps of characters: legible without colour, and at 80 columns.

``#`` is complete, a digit is how many tenths are there, ``·`` is nothing expected or checked.
Colours are those of Okabe and Ito, which colour-blind people can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby

from tidegate.cli import view
from tidegate.cli.view import View, plain
from tidegate.quality.availability import Cell, Series, total
from tidegate.quality.variables import VariableSeries
from tidegate.runtime.wording import quantity

LEGEND = "# complete   9 to 0: tenths   · nothing expected, or not checked"
_COMPLETE = 0.995
_STYLES = (
    (_COMPLETE, "white on #0072b2"),
    (0.9, "black on #56b4e9"),
    (0.5, "black on #f0e442"),
    (0.1, "black on #e69f00"),
    (0.0, "white on #d55e00"),
)
"""From which share on a cell has which colours."""
_NARROW = 80
_NUMBERS = 15
_SHORTEST_MAP = 24


def show_overview(out: View, found: Sequence[Series]) -> None:
    """A line for each datastream; a column is one day or several."""
    names = [series.datastream for series in found]
    width, room = _widths(out, names)
    cells = len(found[0].cells)
    each = -(-cells // room)
    starts = [found[0].cells[n].begin.date() for n in range(0, cells, each)]
    _title(out, found[0], f"a column is {quantity(each, 'day')}")
    out.line(f"{'':{width}} {_ruler(starts):{len(starts)}} {'there':>6} {'passed':>7}")
    for series in found:
        columns = [total(series.cells[n : n + each]) for n in range(0, cells, each)]
        name = plain(f"{_short(series.datastream, width):{width}}")
        whole = series.total
        numbers = f"{percent(whole.available):>6} {percent(whole.passed):>7}"
        out.line(f"{name} {_map(c.available for c in columns)} {numbers}")


def show_calendar(out: View, series: Series) -> None:
    """A line for each month, a column for each day: what is there, and what passed."""

    def month(cell: Cell) -> str:
        return f"{cell.begin:%Y-%m}"

    ruler = "1   5    10   15   20   25   30"
    _rows(out, series, "a column is a day", month, lambda cell: cell.begin.day - 1, ruler)


def show_hours(out: View, series: Series) -> None:
    """A line for each day, a column for each hour: what is there, and what passed."""

    def day(cell: Cell) -> str:
        return f"{cell.begin:%Y-%m-%d}"

    ruler = "0     6     12    18    "
    _rows(out, series, "a column is an hour", day, lambda cell: cell.begin.hour, ruler)


def _rows(
    out: View,
    series: Series,
    what: str,
    label: Callable[[Cell], str],
    place: Callable[[Cell], int],
    ruler: str,
) -> None:
    _title(out, series, what)
    size = len(ruler)
    whole = series.total
    left, right = f"there: {percent(whole.available)}", f"passed QC: {percent(whole.passed)}"
    width = len(label(series.cells[0]))
    out.line(f"{'':{width}} {left:{size}} {right:{size}}   %   %")
    out.line(f"{'':{width}} {ruler} {ruler}")
    for name, group in groupby(series.cells, label):
        cells = list(group)
        there: list[float | str | None] = [" "] * size
        passed: list[float | str | None] = [" "] * size
        for cell in cells:
            there[place(cell)], passed[place(cell)] = cell.available, cell.passed
        one = total(cells)
        numbers = f"{_number(one.available)} {_number(one.passed)}"
        out.line(f"{name} {_map(there)} {_map(passed)} {numbers}")


def show_variables(out: View, series: Series, variables: Sequence[VariableSeries]) -> None:
    """A line for each variable, a column for each day: what passed; and the tests that failed."""
    width, room = _widths(out, [variable.variable for variable in variables])
    days = len(series.cells)
    each = -(-days // room)
    starts = [series.cells[n].begin.date() for n in range(0, days, each)]
    _title(out, series, f"passed QC; a column is {quantity(each, 'day')}")
    out.line(f"{'':{width}} {_ruler(starts):{len(starts)}} {'valid':>6} {'passed':>7}")
    for variable in variables:
        columns = [
            _share([(d.samples, d.bad) for d in variable.days[n : n + each]])
            for n in range(0, days, each)
        ]
        name = plain(f"{_short(variable.variable, width):{width}}")
        whole = variable.total
        numbers = f"{percent(whole.valid):>6} {percent(whole.passed):>7}"
        out.line(f"{name} {_map(columns)} {numbers}")
    rows = [
        (plain(variable.variable), plain(meaning), str(failed))
        for variable in variables
        for meaning, failed in sorted(variable.tests.items(), key=lambda test: -test[1])
    ]
    if rows:
        out.line("")
        out.table(("variable", "failed test", "values"), rows)


def show_gaps(out: View, found: Iterable[Series]) -> None:
    """A table of gaps."""
    rows = [
        (
            plain(series.datastream),
            view.moment(gap.begin),
            "no data since" if gap.ongoing else view.moment(gap.end),
            _length(gap.end - gap.begin),
        )
        for series in found
        for gap in series.gaps
    ]
    out.table(("datastream", "from (UTC)", "to (UTC)", "length"), rows, empty="no gaps")


def _length(time: timedelta) -> str:
    if time >= timedelta(days=2):
        return f"{time / timedelta(days=1):.1f} days"
    return view.duration(time.total_seconds())


def _title(out: View, series: Series, what: str) -> None:
    first, last = series.cells[0].begin, series.cells[-1].begin
    out.line(f"[bold]{first:%Y-%m-%d} to {last:%Y-%m-%d}[/], {what}")
    out.line(LEGEND)


def _widths(out: View, names: Sequence[str]) -> tuple[int, int]:
    """The columns for names and for the map."""
    whole = max(out.out.width, _NARROW) if out.out.is_terminal else _NARROW
    longest = max(map(len, names), default=0)
    name = min(longest, whole - _NUMBERS - _SHORTEST_MAP - 1)
    return name, whole - _NUMBERS - name - 1


def _short(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[head + 1 - width :]}"


def _ruler(starts: Sequence[date]) -> str:
    """The names of months, or numbers of days in short periods, above their columns."""
    daily = len(starts) > 1 and (starts[-1] - starts[0]).days < 62
    line = ""
    before = None
    for n, day in enumerate(starts):
        label = f"{day:%d}" if daily else f"{day:%b}"
        new = day.day % 5 == 1 if daily else (day.year, day.month) != before
        before = (day.year, day.month)
        if new and n >= len(line) and n + len(label) <= len(starts):
            line = f"{line:{n}}{label} "
    return line[: len(starts)]


def percent(share: float | None) -> str:
    """A share for a person; what is not complete is never 100 %."""
    number = _number(share).strip()
    return number if share is None else f"{number} %"


def _number(share: float | None) -> str:
    if share is None:
        return "  -"
    return f"{100 if share >= 1 else min(int(100 * share + 0.5), 99):3d}"


def _share(counts: Iterable[tuple[int, int]]) -> float | None:
    listed = list(counts)
    samples = sum(count for count, _ in listed)
    return 1.0 - sum(bad for _, bad in listed) / samples if samples else None


def _map(shares: Iterable[float | str | None]) -> str:
    """One line of a map, as Rich markup; text is shown as it is."""
    return "".join(
        f"[{style}]{''.join(character for _, character in group)}[/]"
        if style
        else "".join(character for _, character in group)
        for style, group in groupby(_characters(shares), key=lambda pair: pair[0])
    )


def _characters(shares: Iterable[float | str | None]) -> Iterator[tuple[str, str]]:
    for share in shares:
        if isinstance(share, str) or share is None:
            yield "", share or "·"
            continue
        style = next((style for least, style in _STYLES if share >= least), _STYLES[-1][1])
        yield style, "#" if share >= _COMPLETE else str(max(int(share * 10), 0))
