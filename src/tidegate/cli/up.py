"""The command ``up``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from tidegate.cli.activity import Activity
from tidegate.cli.options import CPUS, HERE, Dir, Json, Python, Workers, stopping
from tidegate.cli.run_options import takes_executor
from tidegate.cli.view import View
from tidegate.cli.web import PORT, dashboard
from tidegate.notify import Notifications
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.targets.local.listener import Listener
from tidegate.workspace import commands, loading
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments, choose_executor
from tidegate.workspace.folder import Workspace

app = typer.Typer()


@app.command(
    epilog="Examples: tidegate up my-workspace --workers 4   ·   tidegate up --once --verbose   ·  "
    " tidegate up --dask-cluster slurm --dask-options slurm.yml --dask-max 20"
)
@takes_executor
def up(
    directory: Dir = HERE,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Do everything that is due, then stop; exit code 1 if a run failed."
        ),
    ] = False,
    python: Python = None,
    workers: Workers = CPUS,
    poll: Annotated[
        bool, typer.Option("--poll", help="Find new files by polling, for network file systems.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print a line for each run.")
    ] = False,
    with_web: Annotated[
        bool, typer.Option("--web", help="Show the dashboard too, as `tidegate web` does.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The dashboard's port; 0: any.")
    ] = PORT,
    as_json: Json = False,
    executor: ExecutorArguments = NOTHING_SAID,
) -> None:
    """Run the service: process files as they arrive in input/, and schedules, until Ctrl-C."""
    out = View(as_json=as_json)
    workspace = Workspace.at(directory)
    workspace.check_free()  # before an environment is made, which can take minutes
    opened = loading.load_workspace(workspace, python=python, tolerant=True, say=out.note)
    activity = Activity(out, verbose=verbose)
    with (
        Notifications(opened, out.note) as notifications,
        commands.service(
            opened,
            workers,
            _listener(out, activity, notifications),
            poll=poll,
            taken_over=notifications.use,
            executor=executor,
        ) as service,
        stopping(service.stop, out),
        dashboard(directory, port, out, python=python, workers=workers)
        if with_web
        else nullcontext(),
        activity.shown(),
    ):
        if once:
            service.once()
        else:
            chosen = choose_executor(opened, executor, workers, out.note)
            on = " of Dask" if chosen.name == "dask" else ""
            out.note(
                f"watching {opened.workspace.input} with {quantity(chosen.most, 'worker')}{on};"
                " press Ctrl-C to stop"
            )
            service.up()
    if once and service.tally["failed"]:
        raise typer.Exit(1)


def _listener(out: View, activity: Activity, notifications: Notifications) -> Listener:
    def ended(record: RunRecord) -> None:
        notifications.record(record)
        activity.record(record)

    return Listener(ended, out.note, notifications.problem, activity.waiting)
