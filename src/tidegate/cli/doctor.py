"""The command ``doctor``: is all well for a deployment?"""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.options import HERE, MAIN, In, Json, Profile, Region
from tidegate.cli.view import View, plain
from tidegate.deploy.doctor import Asked, Finding, examine
from tidegate.runtime.records import to_json

app = typer.Typer()

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "cyan"}


@app.command(epilog="Example: tidegate doctor main --profile field-station")
def doctor(
    branch: Annotated[str, typer.Argument(help="The branch that is, or will be, deployed.")] = MAIN,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Look whether all is well for a deployment: this machine, the config, the account."""
    out = View(as_json=as_json)
    found = examine(Asked(directory, branch, profile, region))
    problems = [finding for finding in found if finding.state == "problem"]
    if as_json:
        out.data({"ok": not problems, "findings": to_json(found)})
    else:
        for finding in found:
            _show(out, finding)
        count = len(problems)
        out.note(
            "no problem was found"
            if not count
            else f"{count} problem{'s' if count > 1 else ''}: a deployment would fail"
        )
    if problems:
        raise typer.Exit(1)


def _show(out: View, finding: Finding) -> None:
    """A finding with its remedy; in a pipe on one line."""
    if not out.out.is_terminal:
        cells = (finding.state, finding.about, finding.what, finding.next, finding.link)
        out.table((), [[plain(cell) for cell in cells]])
        return
    colour = _COLOURS[finding.state]
    out.line(
        f"[{colour}]{finding.state:<8}[/] [bold]{plain(finding.about)}[/]: {plain(finding.what)}"
    )
    if finding.next:
        out.line(f"         {plain(finding.next)}")
    if finding.link:
        out.line(f"         [blue]{plain(finding.link)}[/]")
