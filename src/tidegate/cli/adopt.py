"""The command ``adopt``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from tidegate.cli import view
from tidegate.cli.options import (
    HERE,
    MAIN,
    Branch,
    In,
    Json,
    OnlyConfig,
    OnlyDatastream,
    Profile,
    Python,
    Region,
    Target,
)
from tidegate.cli.view import View
from tidegate.workspace import session
from tidegate.workspace.adoption import command
from tidegate.workspace.session import RunOptions, TargetOptions

app = typer.Typer()


@app.command(
    epilog="Examples: tidegate adopt --dry-run   ·   tidegate adopt --read --config lidar/humboldt"
)
def adopt(
    config: OnlyConfig = None,
    datastream: OnlyDatastream = None,
    read: Annotated[
        bool,
        typer.Option(
            "--read", help="Open each file, to get its exact times, quality and raw files."
        ),
    ] = False,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Count all raw files that exist now as done.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only show what would be adopted.")
    ] = False,
    directory: In = HERE,
    python: Python = None,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Record existing products, made by plain Tsdat or an earlier deployment, in the ledger."""
    out = View(as_json=as_json)
    where = TargetOptions(directory, target, branch, profile, region)
    opened = session.open_session(where, RunOptions(python, say=out.note, about=config))
    options = command.AdoptOptions(config, datastream, read, inputs, dry_run)
    with out.progress() as progress:

        def bar(title: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(title, total=total)
            return lambda count: progress.advance(task, count)

        report = command.adopt(opened, options, out.note, bar)
    if as_json:
        out.data(command.report_data(report))
        return
    out.table(view.STREAM_COLUMNS, [view.stream_row(stream) for stream in report.streams])
    for remark in command.remarks(report, options):
        out.note(remark)
