"""The command ``new vap``."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli import asking
from tidegate.cli.new_ingest import Overwrite, Yes
from tidegate.cli.new_results import (
    actions_data,
    products_data,
    show_actions,
    show_steps,
    show_trial,
)
from tidegate.cli.options import HERE, In, Json, Python
from tidegate.cli.view import View
from tidegate.workspace.folder import Workspace

EPILOG = "Example: `tidegate new vap met_hourly --from pier.met.a1 --every 1h --schedule Hourly`"


def vap(
    name: Annotated[str, typer.Argument(help="The pipeline's name, such as met_hourly.")],
    source: Annotated[
        list[str], typer.Option("--from", metavar="DATASTREAM", help="A datastream; repeatable.")
    ],
    workspace: In = HERE,
    every: Annotated[
        str, typer.Option("--every", help="The interval of the means: 10min, 1h, 1d.")
    ] = "1h",
    schedule: Annotated[
        str, typer.Option("--schedule", help="Hourly, Daily, Weekly, Monthly, or cron.")
    ] = "Hourly",
    window: Annotated[
        str | None, typer.Option("--window", help="How much time one run covers: hour, day, 6h.")
    ] = None,
    overwrite: Overwrite = False,
    yes: Yes = False,
    python: Python = None,
    as_json: Json = False,
) -> None:
    """Draft a VAP over datastreams: means over an interval, its test, its entry and schedule."""
    out = View(as_json=as_json)
    module = asking.load_extra("tidegate.scaffold.vap.create")
    wanted = module.Wanted(name, source, every, schedule, window)
    plan = module.plan_vap(Workspace.at(workspace), wanted)
    approve = asking.approval(out, overwrite=overwrite, yes=yes)
    worker = module.trial_run.start_worker(plan.workspace, plan.repository, python, out.note)
    try:
        created = module.create(plan, worker, approve=approve)
    finally:
        worker.close()
    steps = [
        f"look through pipelines/{name} for `TODO check`, and correct what is wrong",
        "check the workspace: `tidegate check`",
        "run it for the data that is there, and then on its schedule: `tidegate up`",
    ]
    streams = [stream for stream in plan.draft.datastreams if stream.left]
    left = [f"{stream.name}: {', '.join(stream.left)}" for stream in streams]
    if as_json:
        out.data(
            {
                "datastream": plan.draft.datastream,
                "variables": [variable for variable, _ in plan.draft.variables],
                "left_out": left,
                "files": actions_data(created.actions),
                **products_data(created.trial),
                "next": steps,
            }
        )
        return
    show_actions(out, created.actions)
    show_trial(out, created.trial)
    for text in left:
        out.note(f"left out, not numbers along time alone: {text}")
    show_steps(out, steps)
