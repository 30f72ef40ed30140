"""The command ``reprocess``, and how a job is carried out and followed."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Annotated, Literal

import typer

from tidegate.cli import view
from tidegate.cli.asking import has_terminal
from tidegate.cli.job_view import JobProgress, estimate_lines, job_data, show_summary
from tidegate.cli.options import Yes, stopping
from tidegate.cli.run_options import RunArguments, takes_run_options
from tidegate.cli.runs import carry_out
from tidegate.cli.view import View, plain
from tidegate.errors import UsageError
from tidegate.runtime.jobs import Job
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.scope import Scope
from tidegate.runtime.wording import quantity
from tidegate.workspace import rerun, session
from tidegate.workspace.jobs import JobRequest, LocalJobs, jobs_of, named
from tidegate.workspace.session import Session
from tidegate.workspace.verification import lost_runs

app = typer.Typer()
OnlyRuns = Annotated[
    Literal["missing", "stale", "failed"] | None,
    typer.Option(
        "--only",
        help="missing: without products. stale: made with other code, or from inputs that have"
        " changed since. failed: failed runs.",
    ),
]


@app.command(
    epilog="Examples: tidegate reprocess lidar/humboldt --begin 20201201 --end 20210101 --only"
    " stale   ·   tidegate reprocess lidar --with-vaps --yes"
)
@takes_run_options
def reprocess(
    configs: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG",
            help="Configs, for example lidar/humboldt; or pipelines, for all of their configs.",
        ),
    ],
    begin: Annotated[
        str | None, typer.Option("--begin", help="Only data at or after this time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", help="Only data before this time.")] = None,
    only: OnlyRuns = None,
    with_vaps: Annotated[
        bool,
        typer.Option(
            "--with-vaps",
            help="Then also the VAPs that read these data: each window once, after all its inputs.",
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="How many of its runs go on at once, at most."),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only show what would run.")
    ] = False,
    *,
    given: RunArguments,
) -> None:
    """Run configs or whole pipelines again, for example after a change of their code.

    On this machine this is a job: it survives a restart, and `tidegate jobs` pauses or cancels it.
    """
    out = View(as_json=given.as_json)
    since, until = (rerun.parse_time(text) if text else None for text in (begin, end))
    if since is not None and until is not None and since >= until:
        raise UsageError("--end is not after --begin", next="swap them")
    options = given.run_options(out.note)
    opened = session.open_session(given.where, options)
    ids = named(configs, lambda n: [c.id for c in rerun.named_configs(opened.manifest, n)])
    request = JobRequest(ids, since, until, only, with_vaps, limit)
    jobs = jobs_of(opened)
    if jobs is None:
        _request(out, opened, request, None if dry_run else options.wait)
    elif dry_run:
        _show_runs(out, jobs.runs(jobs.new_job(request)))
    else:
        job = _start(out, jobs, jobs.new_job(request), yes=yes)
        follow(out, jobs, job.id)


def _start(out: View, jobs: LocalJobs, job: Job, *, yes: bool) -> Job:
    """Say what a job takes, ask, and put it on record; with nothing to do, the command ends."""
    with out.progress() as progress:
        task = progress.add_task("runs found", total=None)
        estimate = jobs.estimate(job, lambda count: progress.update(task, completed=count))
    at_once = jobs.at_once()
    for line in estimate_lines(estimate, min(at_once, job.limit or at_once)):
        out.note(line)
    if not estimate.runs and len(job.stages) == 1:
        if out.as_json:
            out.data(job_data(replace(job, state="done"), at_work=False))
        raise typer.Exit
    if not yes and has_terminal() and not typer.confirm("Start?", default=True, err=True):
        raise typer.Exit(1)
    job = replace(job, expected=estimate.expected)
    jobs.start(job)
    out.note(f"job {job.id}: `tidegate jobs` shows, pauses, resumes and cancels it")
    return job


def follow(out: View, jobs: LocalJobs, id: str) -> None:
    """Carry a job out, or follow it, to its end; exit 1 if a run failed or it did not end."""
    progress = JobProgress(out)
    received: list[int] = []
    with jobs.carrying_out(id, progress.seen, _print_failure(out), out.note) as work:
        if work.by_service:
            own = ", with its own executor" if jobs.names_executor() else ""
            out.note(f"the service carries it out{own}; Ctrl-C ends the waiting, and then asks")
        with stopping(work.stop, out, received), progress.shown():
            work.run()
        by_service = work.by_service
    job = jobs.find(id)
    if signal.SIGINT in received and job.state == "running":
        job = _ask_after_interrupt(out, jobs, job, by_service=by_service)
    if out.as_json:
        out.data(job_data(job, at_work=jobs.at_work()))
    else:
        show_summary(out, job)
    if job.state != "done" or job.counts.failures:
        raise typer.Exit(1)


def _print_failure(out: View) -> session.Ended:
    def ended(record: RunRecord) -> None:
        if not out.as_json and record.state == "failed":
            out.line(view.record_line(record, out.columns))

    return ended


def _ask_after_interrupt(out: View, jobs: LocalJobs, job: Job, *, by_service: bool) -> Job:
    """After Ctrl-C: cancel the job, or leave it; where nobody can be asked, it is cancelled."""
    try:
        cancel = not has_terminal() or typer.confirm("Cancel the job?", default=False, err=True)
    except typer.Abort:  # Ctrl-C once more: leave it as it is
        cancel = False
    if cancel:
        return jobs.cancel(job.id)
    if by_service:
        out.note(f"the service goes on with it; `tidegate jobs cancel {job.id}` ends it")
    else:
        out.note(f"`tidegate jobs resume {job.id}` goes on with it, and so does `tidegate up`")
    return job


def _show_runs(out: View, runs: Iterable[Run]) -> None:
    if out.as_json:
        out.data([{"key": run.key, "about": run.title} for run in runs])
        return
    rows = [(view.short_key(run.key), plain(run.config), plain(run.title)) for run in runs]
    out.table(("run", "config", "about"), rows, empty="nothing to run")


# --- on AWS ------------------------------------------------------------------------------------


def _is_searched(out: View, opened: Session, config: Config, scope: Scope) -> bool:
    """Whether the function of a config was asked to search for missing files, and to run them."""
    if scope.only != "missing" or not opened.request_missing(config, scope.begin, scope.end):
        return False
    out.note(
        f"{config.id}: its function searches for files without products, and runs them;"
        " `tidegate runs --target aws` shows what it does"
    )
    return True


def _request(out: View, opened: Session, request: JobRequest, wait: float | None) -> None:
    """Request all runs at once, and ``wait`` for their ends; None: only show them."""
    if request.with_vaps or request.limit is not None:
        raise UsageError(
            "--with-vaps and --limit work on this machine only",
            next="on AWS, the concurrency of the function is the limit; name the VAPs too",
        )
    wanted: list[Run] = []
    counts: dict[str, int] = {}
    with opened.ledger() as ledger:
        for id in request.configs:
            one = opened.manifest.config(id)
            scope = Scope(one, request.begin, request.end, request.only)
            if wait is not None and _is_searched(out, opened, one, scope):
                continue
            lost: frozenset[str] = frozenset()
            if scope.only == "missing":
                with opened.product_files(exclusive=False) as store:
                    lost = lost_runs(ledger.products(config=id), store)
            release, now = opened.manifest.release(one), datetime.now(timezone.utc)
            files = partial(opened.raw_files, one)
            found = rerun.to_reprocess(replace(scope, lost=lost), ledger, release, files, now)
            wanted += found
            counts[id] = len(found)
    if wait is None:
        _show_runs(out, wanted)
        return
    for id, count in counts.items():
        out.note(f"{id}: {quantity(count, 'run')}{opened.estimate(id, count)}")
    carry_out(out, opened, wanted, wait)
