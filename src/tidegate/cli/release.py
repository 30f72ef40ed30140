"""The commands ``release``, ``releases`` and ``rollback``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli import view
from tidegate.cli.change_sets import (
    Base,
    Commit,
    Recreate,
    Repository,
    Waiting,
    confirm_changes,
    open_branch,
    show_release_plan,
    stack_events,
)
from tidegate.cli.options import (
    HERE,
    MAIN,
    BranchName,
    BreakLock,
    In,
    Json,
    Profile,
    Python,
    Region,
    Yes,
)
from tidegate.cli.view import View, plain
from tidegate.runtime.records import to_json

# The packages for AWS take a second to import: only when a command needs them.
if TYPE_CHECKING:
    from tidegate.deploy.core.history import Release

app = typer.Typer()

Builder = Annotated[
    str | None, typer.Option("--builder", help="Build images with this: buildx or buildah.")
]
UpdateBase = Annotated[
    bool,
    typer.Option("--update-base", help="Use the newest base image: rebuilds all images."),
]


@app.command(
    epilog="Examples: tidegate release main --plan   ·   tidegate release main --builder buildah"
)
def release(
    branch: BranchName = MAIN,
    plan: Annotated[
        bool, typer.Option("--plan", "-n", help="Only show what would be built and changed.")
    ] = False,
    repository: Repository = None,
    commit: Commit = None,
    builder: Builder = None,
    base: Base = None,
    update_base: UpdateBase = False,
    python: Python = None,
    wait: Waiting = False,
    recreate: Recreate = None,
    break_lock: BreakLock = False,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Build missing images and update the functions; CodeBuild runs this after each push."""
    from tidegate.deploy.images.building import describe_images
    from tidegate.deploy.workflow import releasing

    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    options = releasing.ReleaseOptions(
        builder=builder,
        base=base,
        update_base=update_base,
        wait=wait,
        recreate=tuple(recreate or ()),
        python=python,
    )
    if break_lock:
        opened.history.break_lock()
    prepared = releasing.prepare(opened, repository, commit, options, out.note, here=plan)
    if plan:
        show_release_plan(out, prepared, releasing.preview(prepared, out.note))
        return
    out.note(describe_images(prepared.images))
    with stack_events(out) as progress:
        released = releasing.release(prepared, confirm_changes(out, yes=yes), out.note, progress)
    _show_release(out, released)


@app.command(epilog="Example: tidegate releases main")
def releases(
    branch: BranchName = MAIN,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List releases, latest first: commit, images built, by whom, and why one failed."""
    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    found = list(islice(opened.history.all(), limit + 1))
    if as_json:
        out.data([release_data(one) for one in found[:limit]])
        return
    # Compare each with the deployed release before it, to show which images it built.
    rows = []
    for number, one in enumerate(found[:limit]):
        before = next((r for r in found[number + 1 :] if r.state == "deployed"), None)
        rows.append(_release_row(one, before))
    out.table(_COLUMNS, rows, empty=f"{branch} has no releases yet")


@app.command(epilog="Examples: tidegate rollback main   ·   tidegate rollback main 20261124T1012")
def rollback(
    branch: BranchName = MAIN,
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="RELEASE", help="The first digits of its id; default: the one before."
        ),
    ] = None,
    wait: Waiting = False,
    yes: Yes = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Deploy the images and configs of an earlier release again; builds nothing."""
    from tidegate.deploy.workflow import releasing

    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile, region)
    options = releasing.ReleaseOptions(wait=wait)
    with stack_events(out) as progress:
        released = releasing.rollback(
            opened, to, options, confirm_changes(out, yes=yes), out.note, progress
        )
    _show_release(out, released)


_COLUMNS = ("release", "began (UTC)", "state", "commit", "built", "took", "by", "why")
_COLOURS = {"deployed": "green", "failed": "red", "building": "cyan", "deploying": "cyan"}


def _release_row(release: Release, before: Release | None) -> tuple[str, ...]:
    old = before.images if before else {}
    new = [p for p, image in release.images.items() if p not in old or old[p].tag != image.tag]
    built = ", ".join(sorted(new)) if len(new) < 4 else f"{len(new)} of {len(release.images)}"
    took = (release.ended - release.when).total_seconds() if release.ended else None
    return (
        release.id,
        view.moment(release.when),
        f"[{_COLOURS.get(release.state, 'white')}]{release.state}[/]",
        release.commit[:7] + ("-dirty" if release.commit.endswith("-dirty") else ""),
        plain(f"rollback to {release.of}" if release.of else built or "-"),
        view.duration(took) if took is not None else "-",
        plain(release.who.rsplit("/", 1)[-1]),
        plain(release.error.splitlines()[0] if release.error else ""),
    )


def release_data(release: Release) -> dict[str, Any]:
    """A release for ``--json``, without the manifest and keys that a rollback uses."""
    data: dict[str, Any] = to_json(release)
    data["state"] = release.state
    return {name: value for name, value in data.items() if name not in ("manifest", "keys")}


def _show_release(out: View, release: Release) -> None:
    if out.as_json:
        out.data(release_data(release))
    else:
        out.line(f"[green]deployed[/] {release.id}")
