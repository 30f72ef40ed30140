"""The command ``destroy``: a branch's end."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from tidegate.cli.options import HERE, In, Json, Profile, Region
from tidegate.cli.view import View, plain
from tidegate.deploy.cloudformation.states import Event
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.core.history import History
from tidegate.deploy.teardown import teardown as removing
from tidegate.deploy.teardown.teardown import Following, Step, Teardown
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.records import to_json

app = typer.Typer()

_ROUNDS = 3


class StillThere(TidegateError):
    """Not everything could be removed."""


class BrokenOff(TidegateError):
    """Someone has broken a removal off."""

    exit_code = 130


@app.command(epilog="Example: tidegate destroy dev --dry-run")
def destroy(
    branch: Annotated[str, typer.Argument(help="The branch that is to go.")],
    delete_data: Annotated[
        list[str] | None,
        typer.Option(
            "--delete-data",
            metavar="NAME",
            help="Delete this bucket, or the ledger table, with all that is in it. Repeatable.",
        ),
    ] = None,
    used_by: Annotated[
        list[str] | None,
        typer.Option(
            "--used-by",
            metavar="BRANCH",
            help="With --delete-data: yes, although this branch uses the bucket too. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would go, and what stays.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="End the hold of a release that has died.")
    ] = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Remove all of a branch from AWS, but for its data; say first what goes and what stays."""
    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile=profile, region=region)
    out.note(f"looking at the account of {opened.who}")
    teardown = removing.plan(opened, delete_data=delete_data or (), used_by=used_by or ())
    if not as_json:
        _show(out, opened, teardown)
    if dry_run or not teardown.steps:
        if as_json:
            out.data({"removed": False, **_data(teardown)})
        elif not teardown.steps:
            out.note(f"nothing is deployed of {branch}")
        return
    if not yes:
        _ask(out, branch)
    if break_lock and teardown.ledger:
        History(opened.names.ledger_table, opened.clients).break_lock()
    left = _remove(out, opened, teardown)
    if as_json:
        out.data({"removed": True, **_data(teardown), "left": [s.what for s in left.steps]})
    _prove(out, branch, left, as_json)


def _remove(out: View, branch: Branch, teardown: Teardown) -> Teardown:
    """Take the steps, and look again, until nothing is left; what is left when that does not help.

    What was running when it went may have logged once more.
    """
    for _ in range(_ROUNDS):
        _carry_out(out, branch, teardown)
        teardown = removing.plan(branch)
        if not teardown.steps:
            break
    return teardown


def _carry_out(out: View, branch: Branch, teardown: Teardown) -> None:
    """Take the steps once, with a bar that says how far it is, and how many objects are gone."""
    with out.progress() as progress:
        task = progress.add_task("removing", total=len(teardown.steps))
        gone = 0

        def begins(step: Step) -> None:
            out.note(f"removing {step.what}")
            progress.update(task, advance=1, description="removing")

        def counted(number: int) -> None:
            nonlocal gone
            gone += number
            progress.update(task, description=f"{gone:,} objects deleted")

        following = Following(begins, _event(out), counted, out.note)
        try:
            removing.carry_out(branch, teardown, following)
        except KeyboardInterrupt:
            raise BrokenOff(
                f"the removal of {branch.name} was broken off",
                why="what was removed until then is gone",
                next=f"`tidegate destroy {branch.name}` goes on from here",
            ) from None
    if gone:
        out.note(f"{gone:,} objects, old versions among them, were deleted")


def _event(out: View) -> removing.Told:
    def tell(event: Event) -> None:
        if event.ended or event.failed:
            out.note(f"  {event.text}")

    return tell


def _ask(out: View, branch: str) -> None:
    if not sys.stdin.isatty() or out.as_json:
        raise UsageError(
            "nobody is there to confirm it",
            why="this is no terminal, or --json was given",
            next="look at it with --dry-run, then give --yes",
        )
    with suppress(typer.Abort):
        said = typer.prompt(f"type the name of the branch ({branch}) to remove it", err=True)
        if said.strip() == branch:
            return
    raise UsageError("nothing was removed", why="the name of the branch was not typed")


def _show(out: View, branch: Branch, teardown: Teardown) -> None:
    place = branch.place
    out.line(f"[bold]{plain(branch.names.base)}[/] in the account {place.account}, {place.region}")
    if teardown.steps:
        out.line("\n[bold]goes[/]")
        out.table(("", ""), [_row(step) for step in teardown.steps])
    if teardown.stays:
        out.line("\n[bold]stays[/]")
        out.table(("", ""), [(plain(stay.what), plain(stay.why)) for stay in teardown.stays])
    for text in teardown.unseen:
        out.note(f"could not be looked for: {text}")


def _row(step: Step) -> tuple[str, str]:
    what = f"[bold red]{plain(step.what)}[/]" if step.dangerous else plain(step.what)
    return what, plain(step.why)


def _data(teardown: Teardown) -> dict[str, object]:
    steps = [
        {"what": s.what, "act": s.act, "name": s.name, "why": s.why, "data": s.dangerous}
        for s in teardown.steps
    ]
    return {"goes": steps, "stays": to_json(teardown.stays), "unseen": list(teardown.unseen)}


def _prove(out: View, branch: str, left: Teardown, as_json: bool) -> None:
    """Say what another look has found."""
    if left.steps:
        raise StillThere(
            f"{len(left.steps)} things of {branch} are still there",
            why="; ".join(step.what for step in left.steps[:5]),
            next=f"`tidegate destroy {branch}` again: it goes on from here",
        )
    if as_json:
        return
    out.line(f"\n[green]looked again: nothing is left of {plain(branch)}[/]")
    if left.stays:
        out.table(("", ""), [(plain(stay.what), plain(stay.why)) for stay in left.stays])
    for text in left.unseen:
        out.note(f"but this could not be looked for: {text}")
