"""The command ``destroy``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from tidegate.cli.options import HERE, BreakLock, In, Json, Profile, Region, Yes
from tidegate.cli.view import View, plain
from tidegate.deploy.cloudformation.states import Event
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.core.history import History
from tidegate.deploy.teardown import Callbacks, Step, Teardown, execute_teardown, plan_teardown
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity

app = typer.Typer()

_ROUNDS = 3


class StillThere(TidegateError):
    """Something of the branch could not be removed."""


class Interrupted(TidegateError):
    """Ctrl-C during a removal."""

    exit_code = 130


@app.command(epilog="Example: tidegate destroy dev --dry-run")
def destroy(
    branch: Annotated[str, typer.Argument(help="The branch to remove.")],
    delete_data: Annotated[
        list[str] | None,
        typer.Option(
            "--delete-data",
            metavar="NAME",
            help="Delete this bucket, or the ledger table, with all data in it; can be repeated.",
        ),
    ] = None,
    used_by: Annotated[
        list[str] | None,
        typer.Option(
            "--used-by",
            metavar="BRANCH",
            help="With --delete-data: delete the bucket although this branch uses it, too; can be"
            " repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Only show what would be deleted and kept."),
    ] = False,
    yes: Yes = False,
    break_lock: BreakLock = False,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Delete a deployed branch from AWS, but keep its data; show first what is deleted."""
    out = View(as_json=as_json)
    opened = open_branch(directory, branch, profile=profile, region=region)
    out.note(f"working as {opened.who}")
    teardown = plan_teardown(opened, delete_data=delete_data or (), used_by=used_by or ())
    if not as_json:
        _show(out, opened, teardown)
    if dry_run or not teardown.steps:
        if as_json:
            out.data({"removed": False, **_data(teardown)})
        elif not teardown.steps:
            out.note(f"{branch} is not deployed")
        return
    if not yes:
        _ask(out, branch)
    if break_lock and teardown.ledger:
        History(opened.names.ledger_table, opened.clients).break_lock()
    left = _remove(out, opened, teardown)
    if as_json:
        out.data({"removed": True, **_data(teardown), "left": [s.what for s in left.steps]})
    _report(out, branch, left, as_json)


def _remove(out: View, branch: Branch, teardown: Teardown) -> Teardown:
    """Delete, and look again, until nothing is left; returns what could not be deleted.

    More than one round is needed: functions that still ran may have written new log groups.
    """
    for _ in range(_ROUNDS):
        _carry_out(out, branch, teardown)
        teardown = plan_teardown(branch)
        if not teardown.steps:
            break
    return teardown


def _carry_out(out: View, branch: Branch, teardown: Teardown) -> None:
    """Carry out the steps once, with a progress bar."""
    with out.progress() as progress:
        task = progress.add_task("removing", total=len(teardown.steps))
        gone = 0

        def begins(step: Step) -> None:
            out.note(f"removing {step.what}")
            progress.update(task, advance=1, description="removing")

        def counted(number: int) -> None:
            nonlocal gone
            gone += number
            progress.update(task, description=f"deleted {quantity(gone, 'object')}")

        callbacks = Callbacks(begins, _event(out), counted, out.note)
        try:
            execute_teardown(branch, teardown, callbacks)
        except KeyboardInterrupt:
            raise Interrupted(
                f"the removal of {branch.name} was interrupted",
                why="what was removed until then stays removed",
                next=f"run `tidegate destroy {branch.name}` again to continue",
            ) from None
    if gone:
        out.note(f"deleted {quantity(gone, 'object')}, including old versions")


def _event(out: View) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        if event.ended or event.failed:
            out.note(f"  {event.text}")

    return tell


def _ask(out: View, branch: str) -> None:
    if not sys.stdin.isatty() or out.as_json:
        raise UsageError(
            "cannot ask for confirmation",
            why="standard input is not a terminal, or --json was used",
            next="check with --dry-run, then use --yes to confirm in advance",
        )
    with suppress(typer.Abort):
        said = typer.prompt(f"type the name of the branch ({branch}) to confirm", err=True)
        if said.strip() == branch:
            return
    raise UsageError("nothing was removed", why="the name was not that of the branch")


def _show(out: View, branch: Branch, teardown: Teardown) -> None:
    place = branch.place
    out.line(f"[bold]{plain(branch.names.base)}[/] in the account {place.account}, {place.region}")
    if teardown.steps:
        out.line("\n[bold]to delete[/]")
        out.table(("", ""), [_row(step) for step in teardown.steps])
    if teardown.kept:
        out.line("\n[bold]to keep[/]")
        out.table(("", ""), [(plain(stay.what), plain(stay.why)) for stay in teardown.kept])
    for text in teardown.unchecked:
        out.note(f"not checked: {text}")


def _row(step: Step) -> tuple[str, str]:
    what = f"[bold red]{plain(step.what)}[/]" if step.dangerous else plain(step.what)
    return what, plain(step.why)


def _data(teardown: Teardown) -> dict[str, object]:
    steps = [
        {"what": s.what, "act": s.act, "name": s.name, "why": s.why, "data": s.dangerous}
        for s in teardown.steps
    ]
    kept, unchecked = to_json(teardown.kept), list(teardown.unchecked)
    return {"delete": steps, "keep": kept, "unchecked": unchecked}


def _report(out: View, branch: str, left: Teardown, as_json: bool) -> None:
    """Say what is left after the removal."""
    if left.steps:
        raise StillThere(
            f"could not remove {quantity(len(left.steps), 'resource')} of {branch}",
            why="; ".join(step.what for step in left.steps[:5]),
            next=f"run `tidegate destroy {branch}` again to continue",
        )
    if as_json:
        return
    out.line(f"\n[green]checked again: nothing is left of {plain(branch)}[/]")
    if left.kept:
        out.table(("", ""), [(plain(stay.what), plain(stay.why)) for stay in left.kept])
    for text in left.unchecked:
        out.note(f"not checked: {text}")
