"""Commands that change what is on AWS: bootstrap, plan, deploy, release, releases, rollback."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli import view
from tidegate.cli.options import HERE, MAIN, In, Json, Profile, Python, Region
from tidegate.cli.view import View, plain
from tidegate.errors import UsageError
from tidegate.runtime.records import to_json

# What AWS and the CDK need takes a second to import: not before a command wants it.
if TYPE_CHECKING:
    from tidegate.deploy.cloudformation.changes import ChangeSet
    from tidegate.deploy.cloudformation.states import Event
    from tidegate.deploy.core.branch import Branch
    from tidegate.deploy.core.history import Release
    from tidegate.deploy.costs.estimate import Estimate
    from tidegate.deploy.workflow.deploying import Found
    from tidegate.deploy.workflow.releasing import Deployment, Prepared

app = typer.Typer()

BranchName = Annotated[
    str, typer.Argument(metavar="[BRANCH]", help="The branch of the pipelines repository.")
]
Repository = Annotated[
    Path | None,
    typer.Option("--repository", help="The pipelines repository, if the config does not say."),
]
Commit = Annotated[str | None, typer.Option("--commit", help="Its commit, if git does not tell.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Waiting = Annotated[
    bool, typer.Option("--wait", help="Wait for another deployment to end, instead of refusing.")
]
Builder = Annotated[
    str | None, typer.Option("--builder", help="What builds images: buildx or buildah.")
]
Base = Annotated[
    str | None, typer.Option("--base", help="Another base image, NAME[:TAG][@sha256:…].")
]
UpdateBase = Annotated[
    bool, typer.Option("--update-base", help="Take the base image as it is now: builds all anew.")
]
Recreate = Annotated[
    list[str] | None,
    typer.Option("--recreate", help="Make a resource again, by its logical id; repeatable."),
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
    """Make or adopt the buckets and the ledger of a branch; `deploy` does so by itself."""
    from tidegate.deploy.bootstrap import data_stores
    from tidegate.deploy.workflow import deploying

    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        found = deploying.look(opened, out.note, folder=Path(folder))
        _show_foundation(out, found)
        if found.foundation.changes and not yes and not asked("Go on?"):
            raise typer.Exit(1)
        deploying.prepare_ground(found, Path(folder), out.note)
    if as_json:
        out.data(data_stores.as_data(found.foundation))


@app.command(epilog="Examples: tidegate plan main   ·   tidegate plan main --stacks-only")
def plan(
    branch: BranchName = MAIN,
    repository: Repository = None,
    stacks_only: Annotated[
        bool, typer.Option("--stacks-only", help="Leave out the pipelines: Tsdat is not asked.")
    ] = False,
    base: Base = None,
    python: Python = None,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Say what a deployment and a release would change, and what it costs; changes nothing."""
    from tidegate.deploy.bootstrap import data_stores
    from tidegate.deploy.cloudformation.changes import as_data
    from tidegate.deploy.costs import estimate as costs
    from tidegate.deploy.workflow import deploying, releasing

    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        found = deploying.look(opened, out.note, folder=Path(folder))
        changes = deploying.preview(found, out.note)
    prepared = deployment = None
    if not stacks_only:
        wishes = releasing.Wishes(base=base, python=python)
        prepared = releasing.prepare(opened, repository, None, wishes, out.note)
        deployment = releasing.preview(prepared, out.note)
    if as_json:
        data: dict[str, Any] = {
            "foundation": data_stores.as_data(found.foundation),
            "stacks": [as_data(changes)],
        }
        if prepared is not None and deployment is not None:
            released = release_plan_data(prepared, deployment)
            data |= {**released, "stacks": data["stacks"] + released["stacks"]}
            data["costs"] = costs.as_data(estimate(prepared, deployment))
        out.data(data)
        return
    _show_foundation(out, found, results=True)
    show_changes(out, changes, results=True)
    if prepared is not None and deployment is not None:
        _show_plan(out, prepared, deployment)
        out.line(plain_lines(costs.describe(estimate(prepared, deployment))))


@app.command(
    epilog="Examples: tidegate deploy main   ·   tidegate deploy dev --from ../pipelines"
    "   ·   tidegate deploy dev --from . --builder buildah"
)
def deploy(
    branch: BranchName = MAIN,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Release the code in this folder, without GitHub."),
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option("--builder", help="With --from: build here, by buildx or buildah."),
    ] = None,
    base: Base = None,
    commit: Commit = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="With --from: wait for the build's end.")
    ] = True,
    wait: Waiting = False,
    recreate: Recreate = None,
    continue_rollback: Annotated[
        bool,
        typer.Option("--continue-rollback", help="Bring stacks that are stuck back first."),
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", help="With it: leave a resource behind, by its logical id."),
    ] = None,
    python: Python = None,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Deploy a branch: buckets and ledger, the CodePipeline stack, and a first release."""
    from tidegate.deploy.workflow import builds, deploying, releasing

    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    with following(out) as progress:
        if continue_rollback:
            for name in deploying.continue_rollback(opened, tuple(skip or ()), out.note, progress):
                out.note(f"the stack {name} is back at what it was")
        found = _deploy_ground(out, opened, wait=wait, yes=yes, needs_pipeline=source is None)
    result: dict[str, Any] = {"branch": branch, "stack": found.template.stack}
    if source is None:
        deploying.start_pipeline(opened, was_there=found.state.holds, say=out.note)
    elif builder is None:
        arguments = " ".join(f"--recreate {logical}" for logical in recreate or ())
        build = deploying.build_bundle(opened, source, commit, out.note, arguments=arguments)
        result["build"] = build.id
        out.note(f"CodeBuild has begun: {build.id}")
        if follow:
            builds.follow(build, opened.clients, out.note)
    else:
        wishes = releasing.Wishes(
            builder=builder, base=base, wait=wait, recreate=tuple(recreate or ()), python=python
        )
        prepared = releasing.prepare(opened, source, commit, wishes, out.note)
        with following(out) as progress:
            done = releasing.release(prepared, agreeing(out, yes=yes), out.note, progress)
        result["release"] = release_data(done)
    if as_json:
        out.data(result)
    else:
        out.line(f"[green]deployed[/] {plain(found.template.stack)}")
        out.note(f"`tidegate status {branch}` shows how things stand")


def _deploy_ground(
    out: View, opened: Branch, *, wait: bool, yes: bool, needs_pipeline: bool
) -> Found:
    """What holds data, and the CodePipeline stack, each shown before it is touched."""
    from tidegate.deploy.workflow import deploying
    from tidegate.deploy.workflow.releasing import Declined

    with (
        tempfile.TemporaryDirectory(prefix="tidegate-") as folder,
        following(out) as progress,
    ):
        if needs_pipeline:
            deploying.check_pipeline_keys(opened)
        found = deploying.look(opened, out.note, folder=Path(folder))
        deploying.check_older_recipe(found)
        _show_foundation(out, found)
        is_new = not found.state.exists
        if is_new:
            show_changes(out, deploying.preview(found, out.note))
        unasked = yes or not (found.foundation.changes or is_new)
        if not unasked and not asked("Go on?"):
            raise Declined("nothing was changed", next="`tidegate plan` shows it again")
        deploying.prepare_ground(found, Path(folder), out.note)

        def agree(changes: ChangeSet) -> bool:
            if not is_new:
                show_changes(out, changes)
            return yes or is_new or asked("Go on?")

        if not deploying.deploy_stack(found, agree, out.note, progress, wait=wait):
            raise Declined("the stack was not changed", next="`tidegate plan` shows it again")
    return found


@app.command(
    epilog="Examples: tidegate release main --plan   ·   tidegate release main --builder buildah"
)
def release(
    branch: BranchName = MAIN,
    plan: Annotated[
        bool, typer.Option("--plan", "-n", help="Only say what would be built and changed.")
    ] = False,
    repository: Repository = None,
    commit: Commit = None,
    builder: Builder = None,
    base: Base = None,
    update_base: UpdateBase = False,
    python: Python = None,
    wait: Waiting = False,
    recreate: Recreate = None,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="End the hold of a release that has died.")
    ] = False,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Build the images that are missing and deploy the pipelines, as CodeBuild does at a push."""
    from tidegate.deploy.images.building import describe_images
    from tidegate.deploy.workflow import releasing

    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    wishes = releasing.Wishes(
        builder=builder,
        base=base,
        update_base=update_base,
        wait=wait,
        recreate=tuple(recreate or ()),
        python=python,
    )
    if break_lock:
        opened.history.break_lock()
    found = releasing.prepare(opened, repository, commit, wishes, out.note)
    if plan:
        _show_plan(out, found, releasing.preview(found, out.note))
        return
    out.note(describe_images(found.images))
    with following(out) as progress:
        done = releasing.release(found, agreeing(out, yes=yes), out.note, progress)
    _show_release(out, done)


@app.command(epilog="Example: tidegate releases main")
def releases(
    branch: BranchName = MAIN,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List releases, the latest first: what was deployed, by whom, and what it changed."""
    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    found = list(islice(opened.history.all(), limit + 1))
    if as_json:
        out.data([release_data(one) for one in found[:limit]])
        return
    # Each is shown beside the deployed one before it: what it built anew.
    rows = []
    for number, one in enumerate(found[:limit]):
        before = next((r for r in found[number + 1 :] if r.state == "deployed"), None)
        rows.append(_release_row(one, before))
    out.table(_RELEASE_COLUMNS, rows, empty=f"nothing was released of {branch} yet")


@app.command(epilog="Examples: tidegate rollback main   ·   tidegate rollback main 20261124T1012")
def rollback(
    branch: BranchName = MAIN,
    to: Annotated[
        str | None,
        typer.Argument(metavar="[RELEASE]", help="The first digits of a release; else the last."),
    ] = None,
    wait: Waiting = False,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Deploy the images and configs of an earlier release again; nothing is built."""
    from tidegate.deploy.workflow import releasing

    out = View(as_json=as_json)
    opened = _open(directory, branch, profile, region)
    wishes = releasing.Wishes(wait=wait)
    with following(out) as progress:
        done = releasing.rollback(opened, to, wishes, agreeing(out, yes=yes), out.note, progress)
    _show_release(out, done)


# --- shared by commands ------------------------------------------------------------------------


def _open(directory: Path, branch: str, profile: str | None, region: str | None) -> Branch:
    from tidegate.deploy.core.branch import open_branch

    opened = open_branch(directory, branch, profile=profile, region=region)
    View().note(f"working as {opened.who}")
    return opened


def estimate(found: Prepared, deployment: Deployment) -> Estimate:
    """What it would cost a month."""
    from tidegate.deploy.status.costing import planned

    now = datetime.now(timezone.utc)
    return planned(found.branch, found.manifest, deployment.plan, now)


def agreeing(out: View, *, yes: bool) -> Callable[[Sequence[ChangeSet]], bool]:
    """Shows change sets, and asks whether to go on."""

    def agree(change_sets: Sequence[ChangeSet]) -> bool:
        for change_set in change_sets:
            show_changes(out, change_set)
        return yes or asked("Go on?")

    return agree


def asked(question: str) -> bool:
    """Ask a person.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "there is nobody to ask", why="standard input is no terminal", next="agree with --yes"
        )
    return typer.confirm(question, default=False, err=True)


_MARKS = {
    "heading": "bold",
    "created": "green",
    "imported": "green",
    "recreated": "green",
    "changed": "yellow",
    "replaced": "magenta",
    "perhaps replaced": "magenta",
    "removed": "red",
    "danger": "bold red",
    "note": "cyan",
    "unaffected": "bright_black",
    "detail": "bright_black",
}


def show_changes(out: View, change_set: ChangeSet, *, results: bool = False) -> None:
    """What a stack would become: on standard error, unless that is what was asked for."""
    from tidegate.deploy.cloudformation.changes import lines

    console = out.out if results else out.err
    for line in lines(change_set):
        console.print(f"[{_MARKS[line.mark]}]{plain(line.text)}[/]")


def _show_foundation(out: View, found: Found, *, results: bool = False) -> None:
    from tidegate.deploy.bootstrap import data_stores

    console = out.out if results and not out.as_json else out.err
    console.print(plain_lines(data_stores.describe(found.foundation)))
    if found.older:
        console.print(
            f"[cyan]the stack {plain(found.template.stack)} is the older recipe's: see"
            " docs/moving-over.md[/]"
        )


def plain_lines(text: str) -> str:
    """Text of several lines, so that nothing in it is taken for markup."""
    return "\n".join(map(plain, text.splitlines()))


@contextmanager
def following(out: View) -> Iterator[Callable[[Event], None]]:
    """Tells of each resource as CloudFormation works on it."""

    def progress(event: Event) -> None:
        colour = "red" if event.failed else "bright_black"
        out.err.print(f"[{colour}]{plain(event.text)}[/]")

    yield progress


_RELEASE_COLUMNS = ("release", "began (UTC)", "state", "commit", "built", "took", "by", "why")
_COLOURS = {"deployed": "green", "failed": "red", "building": "cyan", "deploying": "cyan"}


def _release_row(release: Release, before: Release | None) -> tuple[str, ...]:
    """A release as a row of ``tidegate releases``."""
    old = before.images if before else {}
    new = [p for p, image in release.images.items() if p not in old or old[p].tag != image.tag]
    built = ", ".join(sorted(new)) if len(new) < 4 else f"{len(new)} of {len(release.images)}"
    took = (release.ended - release.when).total_seconds() if release.ended else None
    return (
        release.id,
        view.moment(release.when),
        f"[{_COLOURS.get(release.state, 'white')}]{release.state}[/]",
        release.commit[:7] + ("-dirty" if release.commit.endswith("-dirty") else ""),
        plain(f"back to {release.of}" if release.of else built or "-"),
        view.duration(took) if took is not None else "-",
        plain(release.who.rsplit("/", 1)[-1]),
        plain(release.error.splitlines()[0] if release.error else ""),
    )


def release_data(release: Release) -> dict[str, Any]:
    """A release as ``--json`` gives it: without the configs that a rollback needs."""
    data: dict[str, Any] = to_json(release)
    data["state"] = release.state
    return {name: value for name, value in data.items() if name not in ("manifest", "keys")}


def _show_release(out: View, release: Release) -> None:
    if out.as_json:
        out.data(release_data(release))
    else:
        out.line(f"[green]deployed[/] {release.id}")


def release_plan_data(found: Prepared, deployment: Deployment) -> dict[str, Any]:
    """What a release would do, as ``--json`` gives it."""
    from tidegate.deploy.cloudformation.changes import as_data

    return {
        "commit": found.commit,
        "images": [
            {**to_json(image), "digest": image.digest, "built": image.digest is not None}
            for image in (found.images.environment, *found.images.images)
        ],
        "stacks": [as_data(change_set) for change_set in deployment.changes],
        "notes": [*found.notes, *deployment.plan.notes],
    }


def _show_plan(out: View, found: Prepared, deployment: Deployment) -> None:
    from tidegate.deploy.images.building import describe_images

    if out.as_json:
        out.data(release_plan_data(found, deployment))
        return
    out.line(plain_lines(describe_images(found.images)))
    for change_set in deployment.changes:
        show_changes(out, change_set, results=True)
    if not deployment.changes:
        out.line("no stack would change")
    for note in (*found.notes, *deployment.plan.notes):
        out.note(note)
