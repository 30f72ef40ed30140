"""The command ``new ingest``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli import asking
from tidegate.cli.new_results import (
    actions_data,
    draft_data,
    products_data,
    short,
    show_created,
    show_draft,
    show_guesses,
    show_steps,
)
from tidegate.cli.options import HERE, In, Json, Python
from tidegate.cli.view import View
from tidegate.errors import UsageError
from tidegate.workspace.folder import Workspace

EPILOG = (
    "Examples: `tidegate new ingest met --from met_20220601.csv`;"
    " `tidegate new ingest met --from a.csv b.csv --location morro --timezone UTC --dayfirst --yes`"
)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Take the proposals, and do not ask.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist and differ, without asking.")
]


Name = Annotated[str, typer.Argument(help="The pipeline's name, such as met_station.")]
Source = Annotated[
    list[Path], typer.Option("--from", metavar="RAWFILE...", help="Sample raw files.")
]
More = Annotated[list[Path] | None, typer.Argument(hidden=True)]
Location = Annotated[
    str | None, typer.Option("--location", help="Where it is: the product's location_id.")
]
Dataset = Annotated[
    str | None, typer.Option("--dataset", help="The dataset_name; by default, NAME.")
]
InputPath = Annotated[
    str | None, typer.Option("--input-path", help="Where below input/ its files arrive.")
]
Timezone = Annotated[
    str | None,
    typer.Option("--timezone", help="The zone of the times: UTC, -08:00, Europe/Berlin."),
]
DayFirst = Annotated[
    bool | None, typer.Option("--dayfirst/--monthfirst", help="How 03/04/2022 is read.")
]
TimeColumn = Annotated[str | None, typer.Option("--time-column", help="The column with the times.")]
TimeFormat = Annotated[
    str | None, typer.Option("--time-format", help="Their format, as of Python's strptime.")
]
TimeKind = Annotated[
    str | None,
    typer.Option(
        "--time-kind",
        help="What numbers count: unix, unix-ms, unix-us, gps, labview, excel, matlab.",
    ),
]
TimeUnits = Annotated[
    str | None,
    typer.Option("--time-units", help="netCDF without units: 'seconds since 2022-06-01'."),
]
Year = Annotated[
    int | None, typer.Option("--year", help="The year, where files have the day of it only.")
]
Sheet = Annotated[str | None, typer.Option("--sheet", help="The sheet of a workbook.")]
Unit = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="COLUMN=UNIT", help="The unit of a column; repeatable."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what was recognized; write nothing.")]


def ingest(
    name: Name,
    source: Source,
    more: More = None,
    workspace: In = HERE,
    location: Location = None,
    dataset: Dataset = None,
    input_path: InputPath = None,
    timezone: Timezone = None,
    dayfirst: DayFirst = None,
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
    time_kind: TimeKind = None,
    time_units: TimeUnits = None,
    year: Year = None,
    sheet: Sheet = None,
    unit: Unit = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    yes: Yes = False,
    python: Python = None,
    as_json: Json = False,
) -> None:
    """Draft an ingest from sample files: reader, names, units, QC, plots, test, config entry.

    Reads CSV of all kinds, TOA5, netCDF, Excel, JSON lines, and zip and tar archives of them.
    What is guessed is marked `TODO check` in the YAML, and listed at the end.
    """
    out = View(as_json=as_json)
    module = asking.load_extra("tidegate.scaffold.ingest.create")
    order = None if dayfirst is None else "day" if dayfirst else "month"
    given = {
        "location": location,
        "timezone": timezone,
        "date_order": order,
        "time_column": time_column,
        "time_format": time_format,
        "time_kind": time_kind,
        "time_units": time_units,
        "year": None if year is None else str(year),
        "sheet": sheet,
    }
    samples = [*source, *(more or [])]
    wanted = module.Wanted(name, samples, location, dataset, input_path, _units(unit or []))
    answers = asking.answers(given, yes=yes)
    plan = module.plan_ingest(Workspace.at(workspace), wanted, answers)
    if not as_json:
        show_draft(out, plan.draft)
    if dry_run:
        _show_dry_run(out, plan.draft)
        return
    approve = asking.approval(out, overwrite=overwrite, yes=yes)
    worker = module.trial_run.start_worker(plan.workspace, plan.repository, python, out.note)
    try:
        created = module.create(plan, worker, approve=approve)
    finally:
        worker.close()
    _show(out, plan, created, _next_steps(plan, workspace))


def _show_dry_run(out: View, draft: Any) -> None:
    if out.as_json:
        out.data(draft_data(draft))
    else:
        show_guesses(out, draft)


def _show(out: View, plan: Any, created: Any, steps: list[str]) -> None:
    if not out.as_json:
        show_created(out, created)
        show_guesses(out, plan.draft)
        show_steps(out, steps)
        return
    files = actions_data(created.actions)
    data = {**draft_data(plan.draft), "files": files, **products_data(created.trial)}
    out.data({**data, "next": steps})


def _next_steps(plan: Any, workspace: Path) -> list[str]:
    """What a person does now."""
    folder = short(plan.repository / "pipelines" / plan.draft.name)
    where = "" if workspace == HERE else f" in {workspace}"
    arrivals = short(plan.workspace.input / plan.draft.input_path)
    return [
        f"look through {folder}/config for `TODO check`, and correct what is wrong",
        f"check the workspace: `tidegate check`{where}",
        f"put raw files into {arrivals}, and run them as they arrive: `tidegate up`{where}",
    ]


def _units(given: Sequence[str]) -> dict[str, str]:
    units = {}
    for text in given:
        column, sign, unit = text.rpartition("=")
        if not sign or not column:
            raise UsageError(f"{text!r} names no column and unit", next="write --unit 'Temp=degC'")
        units[column.strip()] = unit.strip()
    return units
