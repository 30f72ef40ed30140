"""Commands about runs: check, up, run, runs, show, products, retry, reprocess, adopt, demo.

Each reads its options, calls one function below, and shows what it gives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from tidegate import config as configuration
from tidegate.cli import view
from tidegate.cli.options import (
    AN_HOUR,
    CPUS,
    HERE,
    MAIN,
    Branch,
    Dir,
    In,
    Json,
    Profile,
    Python,
    Region,
    Target,
    Wait,
    Workers,
    stopping,
)
from tidegate.cli.view import View, plain
from tidegate.errors import UsageError
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Run, RunRecord, State
from tidegate.scaffold import demo
from tidegate.targets.local.service import Listener, Settings
from tidegate.workspace import commands, loading, rerun, session
from tidegate.workspace.adoption import command as adoption
from tidegate.workspace.adoption.command import AdoptOptions
from tidegate.workspace.environment_options import EnvironmentOptions, make_environment
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import LoadedWorkspace
from tidegate.workspace.session import Means, Where

app = typer.Typer()


@app.command(epilog="Example: tidegate check my-workspace")
def check(directory: Dir = HERE, python: Python = None, as_json: Json = False) -> None:
    """Check pipelines_config.yml and ask Tsdat about every config file it names."""
    out = View(as_json=as_json)
    workspace = Workspace.at(directory)
    try:
        opened = loading.load_workspace(workspace, python=python, say=out.note)
    except loading.ConfigProblems as error:
        if as_json:
            out.data({"ok": False, "problems": to_json(error.problems)})
            raise typer.Exit(2) from None
        raise
    rows = configuration.summary(opened.manifest, datetime.now(timezone.utc))
    if as_json:
        out.data({"ok": True, "configs": to_json(rows), "notes": to_json(opened.notes)})
        return
    for note in opened.notes:
        out.note(str(note))
    out.table(
        ("config", "kind", "runs", "on", "next (UTC)"),
        [
            (
                plain(row.config),
                row.kind,
                plain(row.when),
                plain(row.over),
                view.moment(row.next) if row.next else "",
            )
            for row in rows
        ],
    )
    out.note(f"{opened.reading.file} is good: {len(rows)} configs")


@app.command(epilog="Example: tidegate env --python 3.11")
def env(
    directory: Dir = HERE,
    python: Annotated[
        str | None, typer.Option("--python", help="The Python version, such as 3.11, or its path.")
    ] = None,
    exclude_newer: Annotated[
        str | None,
        typer.Option(
            "--exclude-newer", help="Take packages as they were on this date, YYYY-MM-DD."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the pipelines' Python environment from requirements.txt or environment.yml."""
    out = View(as_json=as_json)
    reading = loading.read_config(Workspace.at(directory))
    made = make_environment(
        Workspace.at(directory), reading, EnvironmentOptions(python, exclude_newer), out.note
    )
    if as_json:
        out.data({"python": str(made)})
    else:
        out.line(plain(made))


@app.command(epilog="Example: tidegate up my-workspace --workers 4")
def up(
    directory: Dir = HERE,
    once: Annotated[
        bool,
        typer.Option("--once", help="Do all that is due, then end: 0 if all went well, else 1."),
    ] = False,
    python: Python = None,
    workers: Workers = CPUS,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look for files by polling (network file systems).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch input/, run schedules, and carry out what is due, until Ctrl-C."""
    out = View(as_json=as_json)
    opened = loading.load_workspace(Workspace.at(directory), python=python, say=out.note)
    settings = Settings(opened.python, opened.repository, workers=workers, poll=poll)
    with (
        commands.service(opened, settings, _listener(out)) as service,
        stopping(service.stop, out),
    ):
        if once:
            service.once()
        else:
            out.note(f"watching {opened.workspace.input} with {workers} workers; Ctrl-C ends it")
            service.up()
    if once and service.tally["failed"]:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: tidegate run input/lidar/humboldt/x.sta.7z   ·   "
    "tidegate run lidar_vap/humboldt --begin 20220405 --end 20220406.120000"
)
def run(
    files: Annotated[
        list[str], typer.Argument(help="Raw files; or a VAP's config, with --begin and --end.")
    ],
    config: Annotated[
        str | None, typer.Option("--config", help="The config to use, such as lidar/humboldt.")
    ] = None,
    begin: Annotated[str | None, typer.Option("--begin", help="A VAP: the first time.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="A VAP: the first time after it.")
    ] = None,
    clump: Annotated[bool, typer.Option("--clump", help="All files in one run.")] = False,
    multidispatch: Annotated[
        bool, typer.Option("--multidispatch", help="Run every config that fits a file.")
    ] = False,
    directory: In = HERE,
    python: Python = None,
    workers: Workers = CPUS,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    wait: Wait = AN_HOUR,
    as_json: Json = False,
) -> None:
    """Run files, or one window of a VAP, now, whether or not they were run before."""
    out = View(as_json=as_json)
    where = Where(directory, target, branch, profile, region)
    opened = session.open_session(where, Means(python, workers, wait, out.note))
    if begin is not None or end is not None:
        now = datetime.now(timezone.utc)
        with opened.ledger() as ledger:
            runs = rerun.window_run(opened.manifest, ledger, files, (begin, end), now)
    else:
        runs = opened.file_runs(files, config=config, clump=clump, all=multidispatch)
    _carry_out(out, opened, runs, wait)


@app.command(epilog="Example: tidegate runs --failed --config lidar/humboldt")
def runs(
    config: Annotated[str | None, typer.Option("--config", help="Only of this config.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed ones.")] = False,
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only in this state: succeeded, failed, running, queued, …"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 30,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List runs, the latest first; what waits comes before them."""
    out = View(as_json=as_json)
    opened = session.glance(Where(directory, target, branch, profile, region))
    states = commands.states("failed" if failed else state)
    waiting = list(islice(opened.waiting(config, states), limit))
    with opened.ledger() as ledger:
        records = [] if states == ("queued",) else list(_records(ledger, config, states, limit))
    if as_json:
        queued = [view.queued_data(run, due) for run, due in waiting]
        out.data(queued + [view.run_data(record) for record in records])
        return
    rows = [view.queued_row(run, due) for run, due in waiting]
    rows += [view.run_row(record) for record in records]
    empty = "no runs yet" if config is None and not states else "no such runs"
    out.table(view.RUN_COLUMNS, rows, empty=empty, wide=("products", "took"))


def _records(
    ledger: Ledger, config: str | None, states: Sequence[str], limit: int
) -> Iterator[RunRecord]:
    known: list[State] = [state for state in states if state != "queued"]  # type: ignore[misc]
    return ledger.records(config=config, states=known, limit=limit)


@app.command(epilog="Example: tidegate show 3f9a")
def show(
    key: Annotated[str, typer.Argument(metavar="RUN", help="The first digits of a run's key.")],
    log: Annotated[bool, typer.Option("--log", help="The whole log, not only its end.")] = False,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show one run: inputs, products, quality, why it failed, and its log."""
    out = View(as_json=as_json)
    opened = session.glance(Where(directory, target, branch, profile, region))
    with opened.ledger() as ledger:
        record = rerun.find_record(ledger, key)
    lines = opened.log(record)
    if as_json:
        out.data({**view.run_data(record), "log_lines": lines})
    else:
        view.show_run(out, record, lines if log else lines[-20:])


@app.command(epilog="Example: tidegate products --datastream humboldt.buoy_z05-lidar-10m.a1")
def products(
    datastream: Annotated[str | None, typer.Option("--datastream", help="Only of it.")] = None,
    config: Annotated[str | None, typer.Option("--config", help="Only of this config.")] = None,
    begin: Annotated[str | None, typer.Option("--begin", help="Only that reach it.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Only that begin before it.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 100,
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List products, with their times, sizes and how much of them is bad."""
    out = View(as_json=as_json)
    opened = session.glance(Where(directory, target, branch, profile, region))
    with opened.ledger() as ledger:
        found = list(
            ledger.products(
                datastream=datastream,
                config=config,
                begin=rerun.parse_time(begin) if begin else None,
                end=rerun.parse_time(end) if end else None,
                limit=limit,
            )
        )
    if as_json:
        out.data([view.product_data(product) for product in found])
    else:
        rows = [view.product_row(product) for product in found]
        out.table(view.PRODUCT_COLUMNS, rows, empty="no products yet")


@app.command(epilog="Examples: tidegate retry 3f9a 77c0   ·   tidegate retry --failed")
def retry(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="The first digits of keys.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that have failed.")] = False,
    directory: In = HERE,
    python: Python = None,
    workers: Workers = CPUS,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    wait: Wait = AN_HOUR,
    as_json: Json = False,
) -> None:
    """Run again what failed."""
    out = View(as_json=as_json)
    if bool(keys) == failed:
        raise UsageError("say which runs, or --failed", next="`tidegate runs --failed` lists them")
    where = Where(directory, target, branch, profile, region)
    opened = session.open_session(where, Means(python, workers, wait, out.note))
    with opened.ledger() as ledger:
        now = datetime.now(timezone.utc)
        wanted = rerun.to_retry(opened.manifest, ledger, keys or [], now)
    # Before the requests: what is on record as failed comes to nothing then, and is not done twice.
    if failed and (count := opened.redeliver()):
        letters = "1 dead letter is" if count == 1 else f"{count} dead letters are"
        out.note(f"{letters} back in the queue: what was not put on record is run, too")
    elif not wanted:
        out.note("nothing has failed")
    _carry_out(out, opened, wanted, wait)


@app.command(
    epilog="Example: tidegate reprocess lidar/humboldt --begin 20201201 --end 20210101 --only stale"
)
def reprocess(
    config: Annotated[str, typer.Argument(help="The config, such as lidar/humboldt.")],
    begin: Annotated[
        str | None, typer.Option("--begin", help="From this time of the data.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", help="Up to this time of the data.")] = None,
    only: Annotated[
        Literal["missing", "stale", "failed"] | None,
        typer.Option(
            "--only",
            help="missing: without products. stale: made by other code, or from inputs that have"
            " changed. failed: as it says.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would be run.")
    ] = False,
    directory: In = HERE,
    python: Python = None,
    workers: Workers = CPUS,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    wait: Wait = AN_HOUR,
    as_json: Json = False,
) -> None:
    """Run again all of a config, or a part of it, such as after a change of its code."""
    out = View(as_json=as_json)
    where = Where(directory, target, branch, profile, region)
    opened = session.open_session(where, Means(python, workers, wait, out.note))
    scope = rerun.Scope(
        rerun.named_config(opened.manifest, config),
        rerun.parse_time(begin) if begin else None,
        rerun.parse_time(end) if end else None,
        only,
    )
    with opened.ledger() as ledger:
        release, now = opened.manifest.release(scope.config), datetime.now(timezone.utc)
        wanted = rerun.to_reprocess(
            scope, ledger, release, lambda: opened.raw_files(scope.config), now
        )
    estimate = opened.estimate(config, len(wanted))
    if dry_run:
        if as_json:
            out.data([{"key": run.key, "about": run.title} for run in wanted])
        else:
            rows = [(run.key[:10], plain(run.title)) for run in wanted]
            out.table(("run", "about"), rows, empty="nothing to run")
        return
    out.note(f"{len(wanted)} runs{estimate}")
    _carry_out(out, opened, wanted, wait)


@app.command(epilog="Example: tidegate adopt --read --dry-run")
def adopt(
    config: Annotated[
        str | None, typer.Option("--config", help="Only what this config has made.")
    ] = None,
    datastream: Annotated[
        str | None, typer.Option("--datastream", help="Only of this datastream.")
    ] = None,
    read: Annotated[
        bool,
        typer.Option("--read", help="Open each file: its true times, quality, and raw files."),
    ] = False,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Count all raw files that are there as done.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would be adopted.")
    ] = False,
    directory: In = HERE,
    python: Python = None,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Put on record what an older deployment, or plain Tsdat, has made."""
    out = View(as_json=as_json)
    where = Where(directory, target, branch, profile, region)
    opened = session.open_session(where, Means(python, say=out.note))
    options = AdoptOptions(config, datastream, read, inputs, dry_run)
    with out.progress() as progress:

        def bar(title: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(title, total=total)
            return lambda count: progress.advance(task, count)

        report = adoption.adopt(opened, options, out.note, bar)
    if as_json:
        out.data(adoption.report_data(report))
        return
    rows = [view.stream_row(stream) for stream in report.streams]
    out.table(view.STREAM_COLUMNS, rows)
    for remark in adoption.remarks(report, options):
        out.note(remark)


@app.command("demo", epilog="Example: tidegate demo my-demo")
def demo_command(
    directory: Annotated[Path, typer.Argument(help="The folder to make.")] = Path("tidegate-demo"),
    python: Python = None,
    workers: Workers = CPUS,
    as_json: Json = False,
) -> None:
    """Make a workspace with three days of lidar files, and run it."""
    out = View(as_json=as_json)
    workspace = demo.make_workspace(directory)
    command = [python] if python else demo.default_python()
    out.note(f"writing {demo.DAYS} days of raw lidar files into {workspace.input}")
    demo.write_raw_files(workspace, command)
    opened = loading.load_workspace(workspace, python=command[0], say=out.note)
    settings = Settings(opened.python, opened.repository, workers=workers)
    records: list[RunRecord] = []
    _once(out, opened, settings, records)
    demo.deliver_again(workspace)
    out.note(f"delivering {demo.DUPLICATE} once more: the same content, so nothing is to be done")
    _once(out, opened, settings, records)
    _show_demo(out, opened, records)


def _once(out: View, opened: LoadedWorkspace, settings: Settings, records: list[RunRecord]) -> None:
    with (
        commands.service(opened, settings, _listener(out, records)) as service,
        stopping(service.stop, out),
    ):
        service.once()


def _show_demo(out: View, opened: LoadedWorkspace, records: Sequence[RunRecord]) -> None:
    with opened.ledger() as ledger:
        found = list(ledger.products())
        counts = ledger.counts()
    if out.as_json:
        out.data(
            {
                "runs": counts,
                "products": [view.product_data(product) for product in found],
                "ended": [record.key for record in records],
            }
        )
        return
    out.line("")
    states = ("succeeded", "empty", "failed")
    rows = [(c, *(str(counts[c].get(s, 0)) for s in states)) for c in sorted(counts)]  # type: ignore[call-overload]
    out.table(("config", *states), rows)
    folder = str(loading.short_path(opened.workspace.root))
    data = [product for product in found if product.kind == "data"]
    out.line(f"\n{len(found)} products in {plain(folder)}/output, such as")
    for product in [*data[:1], *data[-1:], *(p for p in found if p.key.endswith(".png"))][:3]:
        out.line(f"  {plain(product.key)}  {view.size(product.size)}")
    out.line("\n[bold]what next[/]")
    for text, why in (
        (f"tidegate runs -w {folder} --failed", "the file that was cut off, and why it failed"),
        (f"tidegate products -w {folder}", "all products, with their times and their quality"),
        (f"tidegate up {folder}", "go on: copy files into input/ and see them processed"),
        (f"ls {folder}/pipelines", "the pipelines: change one, then `tidegate reprocess`"),
    ):
        out.line(f"  [bold]{plain(text)}[/]\n      {why}")


# --- shared by commands ------------------------------------------------------------------------


def _carry_out(
    out: View, opened: session.Session, wanted: Sequence[Run], wait: float = AN_HOUR
) -> None:
    """Have runs carried out; exit 1 when one has failed, or was waited for in vain."""
    records: list[RunRecord] = []
    with out.progress() as progress:
        task = progress.add_task("runs", total=len(wanted))

        def ended(record: RunRecord) -> None:
            if record.state != "retrying":
                progress.advance(task)
                records.append(record)
            if not out.as_json:
                out.line(view.record_line(record))

        with (
            opened.carrying_out(wanted, ended, out.note) as job,
            stopping(job.stop, out),
        ):
            job.run()
    if out.as_json:
        out.data([view.run_data(record) for record in records])
    missing = len(records) < len(wanted) and wait > 0
    if missing or any(record.state == "failed" for record in records):
        raise typer.Exit(1)


def _listener(out: View, records: list[RunRecord] | None = None) -> Listener:
    def ended(record: RunRecord) -> None:
        if records is not None:
            records.append(record)
        if not out.as_json:
            out.line(view.record_line(record))
        elif records is None:
            sys.stdout.write(commands.json_line(view.run_data(record)))
            sys.stdout.flush()

    return Listener(record=ended, message=out.note)
