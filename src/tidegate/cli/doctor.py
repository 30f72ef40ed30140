"""The command ``doctor``."""

from __future__ import annotations

import typer

from tidegate.cli.options import HERE, MAIN, BranchName, In, Json, Profile, Region
from tidegate.cli.view import View, plain
from tidegate.deploy.doctor import DoctorOptions, Finding, examine
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity

app = typer.Typer()

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "cyan"}


@app.command(epilog="Example: tidegate doctor main --profile field-station")
def doctor(
    branch: BranchName = MAIN,
    directory: In = HERE,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Check whether a deployment can work: this machine, the config and the AWS account."""
    out = View(as_json=as_json)
    found = examine(DoctorOptions(directory, branch, profile, region))
    problems = [finding for finding in found if finding.state == "problem"]
    if as_json:
        out.data({"ok": not problems, "findings": to_json(found)})
    else:
        for finding in found:
            _show(out, finding)
        if problems:
            out.note(f"{quantity(len(problems), 'problem')}: a deployment would fail")
        else:
            out.note("no problems")
    if problems:
        raise typer.Exit(1)


def _show(out: View, finding: Finding) -> None:
    """Print a finding and what to do about it; in a pipe on one line."""
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
