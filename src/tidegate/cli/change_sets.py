"""What the commands that change AWS share: show changes, ask for confirmation, show progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.view import View, plain, plain_lines
from tidegate.errors import UsageError
from tidegate.runtime.records import to_json

# The packages for AWS take a second to import: only when a command needs them.
if TYPE_CHECKING:
    from tidegate.deploy.cloudformation.changes import ChangeSet
    from tidegate.deploy.cloudformation.states import Event
    from tidegate.deploy.core.branch import Branch
    from tidegate.deploy.costs.estimate import Estimate
    from tidegate.deploy.workflow.releasing import Deployment, Prepared

Repository = Annotated[
    Path | None,
    typer.Option("--repository", help="The pipelines repository, instead of the config's."),
]
Commit = Annotated[
    str | None, typer.Option("--commit", help="The commit of the code, where there is no git.")
]
Waiting = Annotated[
    bool, typer.Option("--wait", help="If another deployment is running, wait for its end.")
]
Base = Annotated[
    str | None, typer.Option("--base", help="Use this base image: NAME:TAG or NAME@sha256:….")
]
Recreate = Annotated[
    list[str] | None,
    typer.Option(
        "--recreate", help="Create this resource again (its logical id); can be repeated."
    ),
]

_COLOURS = {
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


def open_branch(directory: Path, branch: str, profile: str | None, region: str | None) -> Branch:
    """The branch of the config in ``directory``, with access to AWS; prints who that access is."""
    from tidegate.deploy.core import branch as core

    opened = core.open_branch(directory, branch, profile=profile, region=region)
    View().note(f"working as {opened.who}")
    return opened


def confirm(question: str) -> bool:
    """Ask a yes-or-no question.

    Raises:
        UsageError: standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation",
            why="standard input is not a terminal",
            next="use --yes to confirm in advance",
        )
    return typer.confirm(question, default=False, err=True)


def confirm_changes(out: View, *, yes: bool) -> Callable[[Sequence[ChangeSet]], bool]:
    """A function that shows change sets and asks whether to continue; ``yes``: does not ask."""

    def agree(change_sets: Sequence[ChangeSet]) -> bool:
        for change_set in change_sets:
            show_changes(out, change_set)
        return yes or confirm("Continue?")

    return agree


@contextmanager
def stack_events(out: View) -> Iterator[Callable[[Event], None]]:
    """A function that prints each event of CloudFormation."""

    def show(event: Event) -> None:
        colour = "red" if event.failed else "bright_black"
        out.err.print(f"[{colour}]{plain(event.text)}[/]")

    yield show


def show_changes(out: View, change_set: ChangeSet, *, results: bool = False) -> None:
    """Print a change set: to standard output if it is the result of the command."""
    from tidegate.deploy.cloudformation.change_report import lines

    console = out.out if results else out.err
    for line in lines(change_set):
        console.print(f"[{_COLOURS[line.mark]}]{plain(line.text)}[/]")


def show_release_plan(out: View, prepared: Prepared, deployment: Deployment) -> None:
    """Print what a release would build and change."""
    from tidegate.deploy.images.building import describe_images

    if out.as_json:
        out.data(release_plan_data(prepared, deployment))
        return
    out.line(plain_lines(describe_images(prepared.images)))
    for change_set in deployment.changes:
        show_changes(out, change_set, results=True)
    if not deployment.changes:
        out.line("no changes in the stacks")
    for note in (*prepared.notes, *deployment.plan.notes):
        out.note(note)


def release_plan_data(prepared: Prepared, deployment: Deployment) -> dict[str, Any]:
    """What a release would build and change, for ``--json``."""
    from tidegate.deploy.cloudformation.change_report import as_data

    return {
        "commit": prepared.commit,
        "images": [
            {**to_json(image), "digest": image.digest, "built": image.digest is not None}
            for image in (prepared.images.environment, *prepared.images.images)
        ],
        "stacks": [as_data(change_set) for change_set in deployment.changes],
        "notes": [*prepared.notes, *deployment.plan.notes],
    }


def estimate_costs(prepared: Prepared, deployment: Deployment) -> Estimate:
    """What the branch would cost a month after this release."""
    from tidegate.deploy.status.cost import estimate_planned

    now = datetime.now(timezone.utc)
    return estimate_planned(prepared.branch, prepared.manifest, deployment.plan, now)
