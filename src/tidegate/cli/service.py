"""The commands ``service …``: the service of a workspace, started by the operating system."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.options import CPUS, HERE, Dir, Json, Workers
from tidegate.cli.view import View, plain
from tidegate.cli.web import PORT
from tidegate.errors import UsageError
from tidegate.runtime.records import to_json
from tidegate.workspace.folder import Workspace
from tidegate.workspace.system_service import ServiceUnit, manager_of_this_system

app = typer.Typer(
    name="service",
    help="Run `tidegate up` at boot, and restart it after a crash (systemd; launchd on macOS).",
    no_args_is_help=True,
)

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")


@app.command(epilog="Example: tidegate service install my-workspace --workers 4 --web")
def install(
    directory: Dir = HERE,
    workers: Workers = CPUS,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look for files by polling (network file systems).")
    ] = False,
    with_web: Annotated[
        bool, typer.Option("--web", help="Show the dashboard too, for this machine.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The dashboard's port.")
    ] = PORT,
    show: Annotated[
        bool, typer.Option("--print", help="Print the service's file; install nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the workspace's service now and at each boot; run it again to change its options."""
    out = View(as_json=as_json)
    options = ("--workers", str(workers), *(("--poll",) if poll else ()))
    if with_web:
        options += ("--web", "--port", str(port))
    unit = _unit(directory, options)
    if show:
        out.out.print(
            unit.systemd() if sys.platform != "darwin" else unit.launchd().decode(),
            markup=False,
            highlight=False,
            soft_wrap=True,
            end="",
        )
        return
    manager = manager_of_this_system()
    busy = Workspace.at(directory).busy() and not manager.state(unit).installed
    if busy:
        raise UsageError(
            f"`tidegate up` runs in {unit.workspace} already, started by hand",
            next="stop it (Ctrl-C in its terminal), then install again",
        )
    left = manager.install(unit)
    state = manager.state(unit)
    if as_json:
        out.data({**_data(state), "to_do": left})
        return
    out.line(f"{plain(state.name)} is installed: {plain(state.file)}")
    if with_web:
        out.note(f"the dashboard is at http://127.0.0.1:{port}/ as long as it runs")
    for text in left:
        out.note(text)
    out.note(f"what it prints: {state.log_command}")


@app.command(epilog="Example: tidegate service status my-workspace")
def status(directory: Dir = HERE, as_json: Json = False) -> None:
    """How the workspace's service stands; exit code 1 when it does not run."""
    out = View(as_json=as_json)
    state = manager_of_this_system().state(_unit(directory, ()))
    if as_json:
        out.data(_data(state))
    else:
        out.line(f"{plain(state.name)}: {plain(state.state)}")
        if state.installed:
            out.line(f"starts at boot: {'yes' if state.at_boot else 'no'}")
            out.note(f"what it prints: {state.log_command}")
        else:
            out.note("install it with `tidegate service install`")
    if state.state not in ("active", "running"):
        raise typer.Exit(1)


@app.command(epilog="Example: tidegate service remove my-workspace")
def remove(directory: Dir = HERE, as_json: Json = False) -> None:
    """Stop the workspace's service, and do not start it at boot any more; all data stays."""
    out = View(as_json=as_json)
    unit = _unit(directory, ())
    removed = manager_of_this_system().remove(unit)
    if as_json:
        out.data({"name": unit.name, "removed": removed})
    elif removed:
        out.line(f"{plain(unit.name)} is removed; the workspace and its data stay")
    else:
        out.note(f"there is no service for {unit.workspace}")


def _unit(directory: Path, options: tuple[str, ...]) -> ServiceUnit:
    workspace = Workspace.at(directory)
    command = (*_tidegate(), "up", str(workspace.root), *options)
    kept = tuple((name, os.environ[name]) for name in _KEPT if os.environ.get(name))
    return ServiceUnit(workspace.root, command, workspace.state / "service.log", kept)


def _tidegate() -> tuple[str, ...]:
    """The command that runs this very Tidegate, by absolute path."""
    beside = Path(sys.executable).with_name("tidegate")
    found = str(beside) if beside.exists() else shutil.which("tidegate")
    return (found,) if found else (sys.executable, "-m", "tidegate")


def _data(state: object) -> dict[str, object]:
    data = to_json(state)
    assert isinstance(data, dict)
    return data
