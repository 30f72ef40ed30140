"""The commands ``run``, ``runs``, ``show``, ``products``, ``retry``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli import view
from tidegate.cli.options import (
    AN_HOUR,
    HERE,
    MAIN,
    Branch,
    In,
    Json,
    OnlyConfig,
    OnlyDatastream,
    Profile,
    Region,
    Target,
    stopping,
)
from tidegate.cli.run_list import show_products, show_runs
from tidegate.cli.run_options import RunArguments, takes_run_options
from tidegate.cli.view import View
from tidegate.errors import UsageError
from tidegate.runtime.open_failures import open_failures
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.release_notes import packages_of_run
from tidegate.runtime.runs import Run, RunRecord, State
from tidegate.runtime.wording import quantity
from tidegate.workspace import (
    bundle_extraction,
    commands,
    failure_bundle,
    rerun,
    session,
)
from tidegate.workspace.newest_products import ProductFilter, newest_products
from tidegate.workspace.session import TargetOptions

app = typer.Typer()

Full = Annotated[
    bool, typer.Option("--full", help="Show whole paths instead of the names of files.")
]


@app.command(
    epilog="Examples: tidegate run input/lidar/humboldt/x.sta.7z   ·   "
    "tidegate run lidar_vap/humboldt --begin 20220405 --end 20220406.120000   ·   "
    "tidegate run --from-bundle failed.zip"
)
@takes_run_options
def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Raw files; or the config of a VAP, with --begin and --end."
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="Use this config, for example lidar/humboldt.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--begin", help="For a VAP: the begin of the window.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="For a VAP: the end of the window, not included.")
    ] = None,
    clump: Annotated[bool, typer.Option("--clump", help="Process all files in one run.")] = False,
    multidispatch: Annotated[
        bool, typer.Option("--multidispatch", help="Run every config that a file belongs to.")
    ] = False,
    from_bundle: Annotated[
        Path | None,
        typer.Option(
            "--from-bundle",
            help="Run what `tidegate show RUN --failure-bundle` has packed, in a folder of its"
            " own. That runs the code in it.",
        ),
    ] = None,
    *,
    given: RunArguments,
) -> None:
    """Process raw files, or one window of a VAP, now, even if that was done before."""
    out = View(as_json=given.as_json)
    if from_bundle is not None:
        if files or given.where.target != "local":
            what = "--from-bundle runs what is in the bundle, on this machine"
            raise UsageError(what, next="leave out the files and --target")
        _run_bundle(out, from_bundle, given)
        return
    if not files:
        raise UsageError("name the files to run", next="or a VAP, or --from-bundle FILE.zip")
    is_vap = begin is not None or end is not None
    options = given.run_options(out.note, about=files[0] if is_vap else config)
    opened = session.open_session(given.where, options)
    if is_vap:
        with opened.ledger() as ledger:
            now = datetime.now(timezone.utc)
            runs = rerun.window_run(opened.manifest, ledger, files, (begin, end), now)
    else:
        runs = opened.file_runs(files, config=config, clump=clump, all=multidispatch)
    carry_out(out, opened, runs, options.wait)


def _run_bundle(out: View, file: Path, given: RunArguments) -> None:
    """Unpack a bundle, and run what is in it as on the machine that it comes from."""
    folder = Path(file.stem) if given.where.directory == HERE else given.where.directory
    bundle = bundle_extraction.unpack(file, folder)
    out.note(f"unpacked {file} into {folder}; it runs the code in there")
    for problem in bundle.problems:
        out.note(f"not in the bundle: {problem}")
    opened = session.open_session(TargetOptions(folder), given.run_options(out.note))
    wanted = bundle.runs(opened, datetime.now(timezone.utc))
    failure = bundle.record.failure
    if failure is not None:
        out.note(f"it failed there with: {failure.message}")
    carry_out(out, opened, wanted)


@app.command(epilog="Example: tidegate runs --failed --config lidar/humboldt")
def runs(
    config: OnlyConfig = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only failures that are open: nothing succeeded since.")
    ] = False,
    warnings: Annotated[
        bool, typer.Option("--warnings", help="Only runs that succeeded with warnings.")
    ] = False,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="Only this state: queued, running, retrying, succeeded, empty, failed or"
            " superseded.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 30,
    full: Full = False,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List runs, the latest first; then how many wait, or with --state queued, which ones."""
    out = View(as_json=as_json)
    opened = session.open_for_reading(TargetOptions(directory, target, branch, profile, region))
    states = commands.states("failed" if failed else "succeeded" if warnings else state)
    with opened.ledger() as ledger:
        rerun.check_config(opened.manifest, ledger, config)
        found: Iterable[RunRecord] = ()
        if failed:
            found = open_failures(ledger, config)
        elif states != ("queued",):
            found = _records(ledger, config, states, limit, warnings)
        records = list(islice(found, limit))
    listed: list[tuple[Run, datetime]] = []
    waiting = 0
    if as_json or states == ("queued",):
        listed = list(islice(opened.queued_runs(config, states), limit))
    elif not states and target == "local":  # on AWS, each queue is a request: `status` says it
        waiting = sum(n for id, n in opened.waiting().items() if config in (None, id))
    if as_json:
        queued = [view.queued_data(run, due) for run, due in listed]
        out.data([view.run_data(record) for record in records] + queued)
        return
    empty = "no runs yet" if config is None and not states else "no such runs"
    show_runs(out, listed, records, full=full, empty="" if waiting else empty)
    if waiting:
        count = quantity(waiting, "run")
        out.note(f"{count} waiting: `tidegate runs --state queued` lists them")


def _records(
    ledger: Ledger, config: str | None, states: Sequence[str], limit: int, warnings: bool
) -> Iterator[RunRecord]:
    known: list[State] = [state for state in states if state != "queued"]  # type: ignore[misc]
    records = ledger.records(config=config, states=known, limit=None if warnings else limit)
    return (record for record in records if record.warnings or not warnings)


@app.command(
    epilog="Examples: tidegate show 3f9a   ·   tidegate show 3f9a --failure-bundle failed.zip"
)
def show(
    key: Annotated[str, typer.Argument(metavar="RUN", help="The first digits of a run's key.")],
    log: Annotated[
        bool, typer.Option("--log", help="Show the whole log, not only its end.")
    ] = False,
    full: Full = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--failure-bundle",
            help="Pack raw files, code, config and log into this zip file, to run it elsewhere.",
        ),
    ] = None,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show one run: inputs, products, quality, failure and log."""
    out = View(as_json=as_json)
    where = TargetOptions(directory, target, branch, profile, region)
    opened = session.open_for_reading(where)
    with opened.ledger() as ledger:
        record = rerun.find_record(ledger, key)
        packages = packages_of_run(ledger, record)
    if bundle is not None:
        contents = failure_bundle.write_bundle(opened, record, where.workspace.config, bundle)
        for problem in contents.problems:
            out.note(f"not in the bundle: {problem}")
        out.note(failure_bundle.warning(contents, bundle))
        return
    lines = opened.log(record)
    if as_json:
        out.data({**view.run_data(record), "packages": packages, "log_lines": lines})
    else:
        view.show_run(out, record, view.readable_log(lines, whole=log), packages, full=full)


@app.command(epilog="Example: tidegate products --datastream humboldt.buoy_z05-lidar-10m.a1")
def products(
    datastream: OnlyDatastream = None,
    config: OnlyConfig = None,
    begin: Annotated[
        str | None, typer.Option("--begin", help="Only products with data at or after this time.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Only products that begin before this time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 100,
    full: Full = False,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List products, those with the newest data first: times, sizes, share of bad data."""
    out = View(as_json=as_json)
    opened = session.open_for_reading(TargetOptions(directory, target, branch, profile, region))
    with opened.ledger() as ledger:
        rerun.check_config(opened.manifest, ledger, config)
        if datastream is not None:
            rerun.check_datastream(datastream, ledger.datastreams())
        found = newest_products(
            ledger,
            ProductFilter(
                datastream,
                config,
                rerun.parse_time(begin) if begin else None,
                rerun.parse_time(end) if end else None,
            ),
            limit,
        )
    if as_json:
        out.data([view.product_data(product) for product in found])
    else:
        show_products(out, found, full=full)


@app.command(epilog="Examples: tidegate retry 3f9a 77c0   ·   tidegate retry --failed")
@takes_run_options
def retry(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="The first digits of keys.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failures that are open, as in `runs --failed`.")
    ] = False,
    plots: Annotated[
        bool, typer.Option("--plots", help="All runs that succeeded except for their plots.")
    ] = False,
    *,
    given: RunArguments,
) -> None:
    """Run failed runs again."""
    out = View(as_json=given.as_json)
    if bool(keys) + failed + plots != 1:
        raise UsageError(
            "name the runs to retry, or use --failed or --plots",
            next="`tidegate runs --failed` lists open failures",
        )
    opened = session.open_session(given.where, given.run_options(out.note))
    with opened.ledger() as ledger:
        now = datetime.now(timezone.utc)
        wanted = rerun.to_retry(opened.manifest, ledger, keys or [], now, plots=plots)
    # First, so that a run which is also in the ledger as failed is not done twice.
    if failed and (count := opened.redrive()):
        out.note(
            f"moved {quantity(count, 'message')} from the dead-letter queues back to their queues"
        )
    elif not wanted:
        out.note("no run with failed plots" if plots else "no failed runs")
    carry_out(out, opened, wanted, given.options.wait)


# --- shared by commands ------------------------------------------------------------------------


def carry_out(
    out: View, opened: session.Session, wanted: Sequence[Run], wait: float = AN_HOUR
) -> None:
    """Have runs carried out; exit 1 if one failed, or did not end while waiting."""
    records = carried_out(out, opened, wanted)
    if out.as_json:
        out.data([view.run_data(record) for record in records])
    missing = len(records) < len(wanted) and wait > 0
    if missing or any(record.state == "failed" for record in records):
        raise typer.Exit(1)


def carried_out(out: View, opened: session.Session, wanted: Sequence[Run]) -> list[RunRecord]:
    """Have runs carried out, with a line for each; returns the records of those that have ended."""
    records: list[RunRecord] = []
    with out.progress() as progress:
        task = progress.add_task("runs", total=len(wanted))

        def ended(record: RunRecord) -> None:
            if record.state != "retrying":
                progress.advance(task)
                records.append(record)
            if not out.as_json:
                out.line(view.record_line(record, out.columns))

        with (
            opened.carrying_out(wanted, ended, out.note) as job,
            stopping(job.stop, out),
        ):
            job.run()
    return records
