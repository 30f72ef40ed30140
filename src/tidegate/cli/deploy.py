"""The commands ``bootstrap``, ``plan`` and ``deploy``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.change_sets import (
    Base,
    Commit,
    Recreate,
    Repository,
    Waiting,
    confirm,
    confirm_changes,
    estimate_costs,
    open_branch,
    release_plan_data,
    show_changes,
    show_release_plan,
    stack_events,
)
from tidegate.cli.options import HERE, MAIN, BranchName, In, Json, Profile, Python, Region, Yes
from tidegate.cli.release import release_data
from tidegate.cli.view import View, plain, plain_lines

# The packages for AWS take a second to import: only when a command needs them.
if TYPE_CHECKING:
    from tidegate.deploy.cloudformation.changes import ChangeSet
    from tidegate.deploy.core.branch import Branch
    from tidegate.deploy.workflow.deploying import DeploymentPlan

app = typer.Typer()

From = Annotated[
    Path | None, typer.Option("--from", help="Release the code in this folder, without GitHub.")
]
LocalBuilder = Annotated[
    str | None,
    typer.Option("--builder", help="With --from: build on this machine with buildx or buildah."),
]
Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="With --from: wait for the end of the build.")
]
ContinueRollback = Annotated[
    bool,
    typer.Option(
        "--continue-rollback", help="First continue the rollback of stacks that are stuck in it."
    ),
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        help="With --continue-rollback: skip this resource (its logical id); can be repeated.",
    ),
]


@app.command(epilog="Example: tidegate bootstrap main")
def bootstrap(
    branch: BranchName = MAIN,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Create or adopt the buckets and the ledger of a branch; `deploy` does this, too."""
    from tidegate.deploy.bootstrap import data_stores
    from tidegate.deploy.workflow import deploying

    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        found = deploying.plan_deployment(opened, out.note, folder=Path(folder))
        _show_data_stores(out, found)
        if found.data_stores.changes and not yes and not confirm("Continue?"):
            raise typer.Exit(1)
        deploying.create_data_stores(found, Path(folder), out.note)
    if as_json:
        out.data(data_stores.as_data(found.data_stores))


@app.command(epilog="Examples: tidegate plan main   ·   tidegate plan main --stacks-only")
def plan(
    branch: BranchName = MAIN,
    repository: Repository = None,
    stacks_only: Annotated[
        bool, typer.Option("--stacks-only", help="Leave out the pipelines, so Tsdat is not needed.")
    ] = False,
    base: Base = None,
    python: Python = None,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show what a deployment would change and what it would cost a month; changes nothing."""
    from tidegate.deploy.bootstrap import data_stores
    from tidegate.deploy.cloudformation.change_report import as_data
    from tidegate.deploy.costs import estimate as costs
    from tidegate.deploy.workflow import deploying, releasing

    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        found = deploying.plan_deployment(opened, out.note, folder=Path(folder))
        changes = deploying.preview(found, out.note)
    prepared = deployment = None
    if not stacks_only:
        options = releasing.ReleaseOptions(base=base, python=python)
        prepared = releasing.prepare(opened, repository, None, options, out.note, here=True)
        deployment = releasing.preview(prepared, out.note)
    if as_json:
        data: dict[str, Any] = {
            "data_stores": data_stores.as_data(found.data_stores),
            "stacks": [as_data(changes)],
        }
        if prepared is not None and deployment is not None:
            released = release_plan_data(prepared, deployment)
            data |= {**released, "stacks": data["stacks"] + released["stacks"]}
            data["costs"] = costs.as_data(estimate_costs(prepared, deployment))
        out.data(data)
        return
    _show_data_stores(out, found, results=True)
    show_changes(out, changes, results=True)
    if prepared is not None and deployment is not None:
        show_release_plan(out, prepared, deployment)
        out.line(plain_lines(costs.describe(estimate_costs(prepared, deployment))))


@app.command(
    epilog="Examples: tidegate deploy main   ·   tidegate deploy dev --from ../pipelines"
    "   ·   tidegate deploy dev --from . --builder buildah"
)
def deploy(
    branch: BranchName = MAIN,
    source: From = None,
    builder: LocalBuilder = None,
    base: Base = None,
    commit: Commit = None,
    follow: Follow = True,
    wait: Waiting = False,
    recreate: Recreate = None,
    continue_rollback: ContinueRollback = False,
    skip: Skip = None,
    python: Python = None,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Deploy a branch: buckets and ledger, the CodePipeline stack, and the first release."""
    from tidegate.deploy.workflow import builds, deploying, releasing

    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    if continue_rollback:
        _continue_rollback(out, opened, skip or [])
    found = _deploy_pipeline_stack(out, opened, wait=wait, yes=yes, needs_pipeline=source is None)
    result: dict[str, Any] = {"branch": branch, "stack": found.template.stack}
    if source is None:
        deploying.start_pipeline(opened, existed=found.state.has_resources, say=out.note)
    elif builder is None:
        arguments = " ".join(f"--recreate {logical}" for logical in recreate or ())
        build = deploying.build_bundle(opened, source, commit, out.note, arguments=arguments)
        result["build"] = build.id
        out.note(f"started the CodeBuild build {build.id}")
        if follow:
            builds.follow(build, opened.clients, out.note)
    else:
        options = releasing.ReleaseOptions(
            builder=builder, base=base, wait=wait, recreate=tuple(recreate or ()), python=python
        )
        prepared = releasing.prepare(opened, source, commit, options, out.note)
        with stack_events(out) as progress:
            released = releasing.release(
                prepared, confirm_changes(out, yes=yes), out.note, progress
            )
        result["release"] = release_data(released)
    if as_json:
        out.data(result)
    else:
        out.line(f"[green]deployed[/] {plain(found.template.stack)}")
        out.note(f"`tidegate status {branch}` shows the state of the deployment")


def _continue_rollback(out: View, opened: Branch, skip: list[str]) -> None:
    from tidegate.deploy.workflow import deploying

    with stack_events(out) as progress:
        for name in deploying.continue_rollback(opened, tuple(skip), out.note, progress):
            out.note(f"rolled the stack {name} back")


def _deploy_pipeline_stack(
    out: View, opened: Branch, *, wait: bool, yes: bool, needs_pipeline: bool
) -> DeploymentPlan:
    """Deploy the data stores and the CodePipeline stack; show each before changing it."""
    from tidegate.deploy.workflow import deploying
    from tidegate.deploy.workflow.releasing import Declined

    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder, stack_events(out) as progress:
        if needs_pipeline:
            deploying.check_pipeline_keys(opened)
        found = deploying.plan_deployment(opened, out.note, folder=Path(folder))
        deploying.check_older_recipe(found)
        _show_data_stores(out, found)
        is_new = not found.state.exists
        if is_new:
            show_changes(out, deploying.preview(found, out.note))
        needs_consent = not yes and (found.data_stores.changes or is_new)
        if needs_consent and not confirm("Continue?"):
            raise Declined("nothing was changed", next="`tidegate plan` shows the changes again")
        deploying.create_data_stores(found, Path(folder), out.note)

        def agree(changes: ChangeSet) -> bool:
            if not is_new:
                show_changes(out, changes)
            return yes or is_new or confirm("Continue?")

        if not deploying.deploy_stack(found, agree, out.note, progress, wait=wait):
            raise Declined(
                "the stack was not changed", next="`tidegate plan` shows the changes again"
            )
    return found


def _show_data_stores(out: View, found: DeploymentPlan, *, results: bool = False) -> None:
    from tidegate.deploy.bootstrap import data_stores

    console = out.out if results and not out.as_json else out.err
    console.print(plain_lines(data_stores.describe(found.data_stores)))
    if found.older:
        console.print(
            f"[cyan]the stack {plain(found.template.stack)} was made by Tsdat's deployment recipe:"
            " see docs/moving-over.md[/]"
        )
