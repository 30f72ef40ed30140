"""The command ``availability``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import typer

from tidegate.cli import availability_view
from tidegate.cli.options import HERE, MAIN, Branch, In, Json, Profile, Region, Target
from tidegate.cli.view import View
from tidegate.errors import UsageError
from tidegate.quality import availability_data as data
from tidegate.quality.availability import (
    Series,
    availability,
    last_day,
)
from tidegate.quality.variables import VariableSeries, by_variable
from tidegate.runtime.protocols import Ledger
from tidegate.workspace import rerun, session
from tidegate.workspace.session import TargetOptions

app = typer.Typer()

By = Literal["day", "hour", "variable"]
_DAYS: dict[str, int] = {"day": 365, "hour": 14, "variable": 30}
_MOST_DAYS: dict[str, int] = {"day": 36600, "hour": 366, "variable": 3660}


@app.command(
    "availability",
    epilog="Examples: tidegate availability   ·   "
    "tidegate availability morro.buoy_z06-waves.a1 --by hour --begin 20240301 --end 20240308",
)
def show_availability(
    datastream: Annotated[
        str | None, typer.Argument(metavar="DATASTREAM", help="Only this datastream.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--begin", help="The first day; default: a year, 14 days or 30 days ago."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--end", help="The day after the last one; default: tomorrow."),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            "--by", help="What a column is: a day, an hour, or a day with a line per variable."
        ),
    ] = "day",
    gaps: Annotated[bool, typer.Option("--gaps", help="List the gaps.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show how much of each day is there, and how much of it passed its quality checks."""
    out = View(as_json=as_json or as_csv)
    if as_json and as_csv:
        raise UsageError("--json and --csv cannot be combined", next="choose one of them")
    if gaps and by != "day":
        raise UsageError(f"--gaps and --by {by} cannot be combined", next="leave out one of them")
    opened = session.open_for_reading(TargetOptions(directory, target, branch, profile, region))
    expected = {config.id: config.expect_every for config in opened.manifest.configs}
    with opened.ledger() as ledger:
        names = _names(ledger, datastream, by)
        if not names:
            if as_json:
                out.data([])
            out.note("no products with times yet")
            return
        period = _period(out, ledger, names, begin, end, by)
        listed = _find(ledger, names, period, by, expected, gaps=gaps)
    found = listed.found
    if as_json:
        out.data(listed.data())
    elif as_csv:
        listed.write_csv()
    elif gaps:
        availability_view.show_gaps(out, found)
    elif by == "variable":
        availability_view.show_variables(out, found[0], listed.variables)
    elif by == "hour":
        availability_view.show_hours(out, found[0])
    elif datastream is None:
        availability_view.show_overview(out, found)
    else:
        availability_view.show_calendar(out, found[0])


@dataclass(frozen=True)
class _Listed:
    """What was asked for, as JSON and CSV."""

    datastream: str
    found: Sequence[Series]
    variables: Sequence[VariableSeries]
    by: By
    gaps: bool = field(kw_only=True)

    def data(self) -> list[dict[str, Any]]:
        """For ``--json``; a list of gaps is without days."""
        if self.by == "variable":
            return [data.variable_data(self.datastream, variable) for variable in self.variables]
        listed = [data.series_data(series) for series in self.found]
        return (
            [{k: v for k, v in s.items() if k != "cells"} for s in listed] if self.gaps else listed
        )

    def write_csv(self) -> None:
        """For ``--csv``."""
        if self.by == "variable":
            _write_csv(data.VARIABLE_COLUMNS, data.variable_rows(self.datastream, self.variables))
        elif self.gaps:
            _write_csv(data.GAP_COLUMNS, data.gap_rows(self.found))
        else:
            _write_csv(data.CELL_COLUMNS, data.cell_rows(self.found))


def _find(
    ledger: Ledger,
    names: Sequence[str],
    period: tuple[date, date],
    by: By,
    expected: Mapping[str, float | None],
    *,
    gaps: bool,
) -> _Listed:
    unit: Literal["day", "hour"] = "hour" if by == "hour" else "day"
    now = datetime.now(timezone.utc)
    found = availability(
        ledger, *period, now=now, datastreams=names, expect_every=expected, by=unit
    )
    variables = by_variable(ledger, names[0], *period) if by == "variable" else []
    return _Listed(names[0], found, variables, by, gaps=gaps)


def _names(ledger: Ledger, datastream: str | None, by: By) -> list[str]:
    """The datastreams to show; raises UsageError for one that is not on record."""
    known = ledger.datastreams()
    if datastream is None and by != "day" and len(known) > 1:
        raise UsageError(
            f"--by {by} shows one datastream",
            next=f"name one, such as: tidegate availability {known[0]} --by {by}",
        )
    if datastream is None:
        return known
    rerun.check_datastream(datastream, known)
    return [datastream]


def _period(
    out: View, ledger: Ledger, names: Sequence[str], begin: str | None, end: str | None, by: By
) -> tuple[date, date]:
    """The first day, and the day after the last."""
    last = rerun.parse_time(end) if end else None
    if last is not None:  # an end within a day includes that day
        until = (last + timedelta(days=1) - timedelta(microseconds=1)).date()
    else:
        with out.progress() as progress:
            task = progress.add_task("summing up days", total=len(names))
            latest = last_day(ledger, names, lambda name, of: progress.advance(task))
        today = datetime.now(timezone.utc).date()
        old = (today - latest).days >= _DAYS[by]  # then a period until today would be empty
        until = (latest if old else today) + timedelta(days=1)
    first = rerun.parse_time(begin).date() if begin else until - timedelta(days=_DAYS[by])
    if first >= until:
        raise UsageError(
            f"the period ends before it begins: {first} to {until}",
            next="give a later --end, or an earlier --begin",
        )
    if (until - first).days > _MOST_DAYS[by]:
        raise UsageError(
            f"{(until - first).days} days are too many for --by {by}",
            next=f"ask for at most {_MOST_DAYS[by]} days",
        )
    return first, until


def _write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
