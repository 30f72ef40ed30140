"""The commands ``jobs …``: reprocessing that is under way, or was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.job_view import job_data, show_jobs, show_summary
from tidegate.cli.options import CPUS, HERE, In, Json, Python, Target, Workers
from tidegate.cli.reprocess import follow
from tidegate.cli.run_options import takes_executor
from tidegate.cli.view import View
from tidegate.errors import UsageError
from tidegate.runtime.jobs import Job
from tidegate.workspace import session
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments
from tidegate.workspace.jobs import LocalJobs, jobs_of
from tidegate.workspace.session import Name, RunOptions, TargetOptions

app = typer.Typer(name="jobs", help="Reprocessing that is under way: list, pause, cancel.")
Id = Annotated[str, typer.Argument(metavar="JOB", help="The first digits of the job's id.")]


@app.callback(
    invoke_without_command=True, epilog="Examples: tidegate jobs   ·   tidegate jobs cancel 3f9a0c"
)
def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    directory: In = HERE,
    target: Target = "local",
    as_json: Json = False,
) -> None:
    """List jobs, those that are under way first; or pause, resume or cancel one."""
    if context.invoked_subcommand is None:
        jobs = _open(directory, target)
        show_jobs(View(as_json=as_json), jobs.latest(limit), at_work=jobs.at_work())


@app.command(epilog="Example: tidegate jobs show 3f9a0c")
def show(id: Id, directory: In = HERE, target: Target = "local", as_json: Json = False) -> None:
    """Show how far a job is, and what came of its runs."""
    jobs = _open(directory, target)
    _print(View(as_json=as_json), jobs, jobs.find(id))


@app.command(epilog="Example: tidegate jobs pause 3f9a0c")
def pause(id: Id, directory: In = HERE, target: Target = "local", as_json: Json = False) -> None:
    """Start no more runs of a job until it is resumed; those at work end."""
    jobs = _open(directory, target)
    _print(View(as_json=as_json), jobs, jobs.pause(jobs.find(id).id))


@app.command(epilog="Example: tidegate jobs cancel 3f9a0c")
def cancel(id: Id, directory: In = HERE, target: Target = "local", as_json: Json = False) -> None:
    """End a job early; those of its runs that are at work end, and what was made stays."""
    jobs = _open(directory, target)
    _print(View(as_json=as_json), jobs, jobs.cancel(jobs.find(id).id))


@app.command(
    epilog="Examples: tidegate jobs resume 3f9a0c   ·   tidegate jobs resume 3f9a0c --dask-max 20"
)
@takes_executor
def resume(
    id: Id,
    directory: In = HERE,
    target: Target = "local",
    python: Python = None,
    workers: Workers = CPUS,
    as_json: Json = False,
    executor: ExecutorArguments = NOTHING_SAID,
) -> None:
    """Go on with a job that was paused or interrupted: in the service, or else here.

    Without options for the executor it uses those that the job was begun with.
    """
    out = View(as_json=as_json)
    job = _open(directory, target).find(id)
    options = RunOptions(python, workers, say=out.note, executor=executor)
    opened = session.open_session(TargetOptions(directory), options)
    jobs = jobs_of(opened)
    assert jobs is not None
    jobs.resume(job.id)
    follow(out, jobs, job.id)


def _open(directory: Path, target: Name) -> LocalJobs:
    if target == "aws":
        raise UsageError(
            "there are no jobs on AWS",
            why="`reprocess --target aws` requests all runs of a stage at once; they wait in queues"
            " and in the ledger, and cannot be paused or cancelled",
            next="`tidegate status BRANCH` says how many wait, `tidegate runs --target aws` what"
            " came of them; `--target local` shows the jobs of this machine",
        )
    jobs = jobs_of(session.open_for_reading(TargetOptions(directory)))
    assert jobs is not None
    return jobs


def _print(out: View, jobs: LocalJobs, job: Job) -> None:
    if out.as_json:
        out.data(job_data(job, at_work=jobs.at_work()))
    else:
        show_summary(out, job, at_work=jobs.at_work())
