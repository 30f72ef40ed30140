"""The command ``emulate``: a deployment on an emulator of AWS on this machine."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli import view
from tidegate.cli.options import HERE, MAIN, Branch, Dir, Json, Python, stopping
from tidegate.cli.view import View, plain
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.workspace.code_watch import CodeWatch
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import load_workspace, short_path
from tidegate.workspace.serving import difference

if TYPE_CHECKING:
    from tidegate.deploy.emulator.deployment import EmulatedDeployment, OnEnd

app = typer.Typer()
_EVERY = 2.0
_NEEDED = ("boto3",)


@app.command(
    epilog="Examples: tidegate emulate demo   ·   tidegate emulate demo --once",
)
def emulate(
    directory: Dir = HERE,
    once: Annotated[
        bool,
        typer.Option("--once", help="Run everything once, then stop; exit code 1 if a run failed."),
    ] = False,
    branch: Branch = MAIN,
    python: Python = None,
    as_json: Json = False,
) -> None:
    """Deploy a workspace to an emulator of AWS on this machine: no account, no cost.

    New files in input/ are uploaded and processed, and schedules run when they are due. When the
    command ends, everything in the emulator is deleted.
    """
    _check_installed()
    from tidegate.deploy.emulator.deployment import EmulatedDeployment, emulator_keys
    from tidegate.deploy.emulator.server import connect, run_emulator

    out = View(as_json=as_json)
    opened = load_workspace(Workspace.at(directory), python=python, say=out.note)
    keys = emulator_keys(opened, branch)
    folder = opened.workspace.state / "emulator"
    assert keys.account_id is not None
    assert keys.region is not None
    out.note("starting an emulator of AWS")
    with run_emulator(
        opened.python, folder, account=keys.account_id, region=keys.region, say=out.note
    ) as running:
        deployed = EmulatedDeployment(opened, keys, branch, connect(running), folder)
        plan = deployed.deploy()
        count = sum(stack.count for stack in plan.stacks)
        out.note(
            f"deployed {quantity(len(opened.manifest.configs), 'config')},"
            f" {quantity(count, 'resource')}"
        )
        records: list[RunRecord] = []
        ended = threading.Event()

        def tell(record: RunRecord) -> None:
            records.append(record)
            if not as_json:
                out.line(view.record_line(record))

        with stopping(ended.set, out):
            if once:
                _run_once(deployed, out, tell, ended)
            else:
                _explain(out, opened.workspace, running.environment)
                _run_on(deployed, out, tell, ended)
    if as_json:
        out.data([view.run_data(record) for record in records])
    if once and any(record.state == "failed" for record in records):
        raise typer.Exit(1)


def _explain(out: View, workspace: Workspace, environment: Mapping[str, str]) -> None:
    """Print how other commands can use the emulator."""
    for name, value in environment.items():
        out.line(f"export {name}={plain(value)}")
    out.note(
        "run these lines in another shell to use the emulator there, for example with"
        f" `tidegate runs -w {short_path(workspace.root)} --target aws`."
        f"\nNew files in {short_path(workspace.input)} are uploaded; press Ctrl-C to stop"
    )


def _run_once(deployed: EmulatedDeployment, out: View, tell: OnEnd, ended: threading.Event) -> None:
    out.note(f"uploaded {quantity(deployed.upload(), 'raw file')}")
    deployed.wait_until_idle(tell, ended.is_set)
    if deployed.run_schedules():
        out.note("running all schedules once")
        deployed.wait_until_idle(tell, ended.is_set)


def _run_on(deployed: EmulatedDeployment, out: View, tell: OnEnd, ended: threading.Event) -> None:
    watch = deployed.opened.code
    while not ended.wait(_EVERY):
        if watch is not None and (changed := watch.settled()):
            watch = _take_over(deployed, out, changed)
        deployed.upload()
        for record in deployed.ended_runs():
            tell(record)


def _take_over(deployed: EmulatedDeployment, out: View, changed: str) -> CodeWatch:
    """Deploy what was changed; returns what detects the next change."""
    before = deployed.opened
    watch = before.watch()  # from before reading, so that no change is missed
    try:
        now = before.again(out.note)
        deployed.take_over(now)
    except TidegateError as error:
        out.note(f"{changed} changed, and cannot be deployed: {error}")
        return watch
    out.note(f"{changed} changed: {difference(before, now)}")
    return now.code or watch


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            "`tidegate emulate` needs more packages",
            why=f"not installed: {', '.join(missing)}",
            next="install Tidegate with them: `uv tool install 'tidegate[deploy]'`",
        )
