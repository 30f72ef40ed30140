"""The command ``reprocess``, and how a job is carried out and followed."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

import typer

from tidegate.cli import view
from tidegate.cli.asking import has_terminal
from tidegate.cli.job_view import JobProgress, estimate_lines, job_data, show_summary
from tidegate.cli.options import Yes, stopping
from tidegate.cli.run_options import RunArguments, takes_run_options
from tidegate.cli.runs import carried_out
from tidegate.cli.view import View, plain
from tidegate.errors import UsageError
from tidegate.runtime.jobs import Job
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.wording import quantity
from tidegate.workspace import rerun, session
from tidegate.workspace.jobs import JobRequest, LocalJobs, jobs_of, named
from tidegate.workspace.session import Session
from tidegate.workspace.stage_requests import StageRequests

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
        requests = StageRequests(opened, request, wait=dry_run or options.wait > 0)
        if dry_run:
            _show_runs(out, [run for stage in requests.all() for run in stage.runs])
        else:
            _request(out, opened, requests, yes=yes)
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
        show_summary(out, job, at_work=jobs.at_work())
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
    return job


def _show_runs(out: View, runs: Iterable[Run]) -> None:
    if out.as_json:
        out.data([{"key": run.key, "about": run.title} for run in runs])
        return
    rows = [(view.short_key(run.key), plain(run.config), plain(run.title)) for run in runs]
    out.table(("run", "config", "about"), rows, empty="nothing to run")


# --- on AWS ------------------------------------------------------------------------------------


def _request(out: View, opened: Session, requests: StageRequests, *, yes: bool) -> None:
    """Ask, then request the runs of each stage, and wait for them; exit 1 if one failed."""
    stages = requests.all(ask_functions=True)
    for id in stages[0].searched:
        out.note(
            f"{id}: its function searches for files without products, and runs them;"
            " `tidegate runs --target aws` shows what it does"
        )
    for id, count in (item for stage in stages for item in stage.counts.items()):
        out.note(f"{id}: {quantity(count, 'run')}{opened.estimate(id, count)}")
    asks = any(stage.runs for stage in stages) and not yes and has_terminal()
    if asks and not typer.confirm("Start?", default=True, err=True):
        raise typer.Exit(1)
    records: list[RunRecord] = []
    complete = True
    for number, planned in enumerate(stages):
        stage = requests.choose(number) if number else planned
        ended = carried_out(out, opened, stage.runs)
        records += ended
        complete = not requests.wait or len(ended) >= len(stage.runs)
        if not complete:
            _say_what_is_left(out, requests, number)
            break
    if out.as_json:
        out.data([view.run_data(record) for record in records])
    if not complete or any(record.state == "failed" for record in records):
        raise typer.Exit(1)


def _say_what_is_left(out: View, requests: StageRequests, number: int) -> None:
    """Say which VAPs were not requested, because runs that they wait for have not ended."""
    left = [id for ids in requests.stages[number + 1 :] for id in ids]
    if left:
        out.note(
            f"not requested, because runs before them have not ended: {', '.join(left)};"
            f" later on: `tidegate reprocess {' '.join(left)} --target aws`"
        )
