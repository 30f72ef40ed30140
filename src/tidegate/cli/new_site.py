"""The commands ``new site`` and ``new workspace``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli import asking
from tidegate.cli.new_ingest import Overwrite, Yes
from tidegate.cli.new_results import actions_data, short, show_actions, show_steps
from tidegate.cli.options import HERE, In, Json
from tidegate.cli.view import View
from tidegate.scaffold import changes
from tidegate.scaffold.site import plan_site
from tidegate.scaffold.workspace import create_workspace
from tidegate.workspace.folder import CONFIG, Workspace

SITE_EPILOG = "Example: `tidegate new site met pier9 --input-path met/pier9/`"
WORKSPACE_EPILOG = "Example: `tidegate new workspace my-pipelines`"


def workspace(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to.")],
    overwrite: Overwrite = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Write a pipelines repository with its config: ready for the first pipeline."""
    out = View(as_json=as_json)
    approve = asking.approval(out, overwrite=overwrite, yes=yes)
    actions = create_workspace(directory, approve=approve)
    draft = "`tidegate new ingest NAME --from RAWFILE`"
    steps = [f"go there: `cd {directory}`", f"draft the first pipeline from a raw file: {draft}"]
    if as_json:
        out.data({"folder": str(directory), "files": actions_data(actions), "next": steps})
        return
    show_actions(out, actions)
    show_steps(out, steps)


def site(
    pipeline: Annotated[
        str, typer.Argument(help="The pipeline, as pipelines_config.yml names it.")
    ],
    name: Annotated[str, typer.Argument(metavar="SITE", help="The new site: its location_id.")],
    workspace: In = HERE,
    input_path: Annotated[
        str | None, typer.Option("--input-path", help="Where below input/ its files arrive.")
    ] = None,
    overwrite: Overwrite = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Add a site to a pipeline: a config file of its own, and its entry."""
    out = View(as_json=as_json)
    opened = Workspace.at(workspace)
    plan = plan_site(opened, pipeline, name, input_path)
    approve = asking.approval(out, overwrite=overwrite, yes=yes)
    actions = changes.apply(plan.changes, approve, additions=(CONFIG,))
    steps = ["check the workspace: `tidegate check`"]
    if plan.input_path:
        folder = opened.input / plan.input_path
        folder.mkdir(parents=True, exist_ok=True)
        steps.append(f"put its raw files into {short(folder)}")
    if as_json:
        out.data({"files": actions_data(actions), "next": steps})
        return
    show_actions(out, actions)
    show_steps(out, steps)
