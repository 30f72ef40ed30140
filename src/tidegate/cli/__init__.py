"""The command line: each module has one or more commands; ``main`` is the entry point."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from tidegate import __version__
from tidegate.cli import options, view
from tidegate.cli.view import View
from tidegate.errors import TidegateError

_MODULES = {
    "setup": ("check", "env"),
    "demo": ("demo",),
    "adopt": ("adopt",),
    "verify": ("verify",),
    "compare": ("compare",),
    "new": ("new",),
    "try_command": ("try",),
    "test_command": ("test",),
    "up": ("up",),
    "runs": ("run", "runs", "show", "products", "retry"),
    "reprocess": ("reprocess",),
    "jobs": ("jobs",),
    "availability": ("availability",),
    "web": ("web",),
    "logs": ("logs",),
    "emulate": ("emulate",),
    "doctor": ("doctor",),
    "deploy": ("bootstrap", "plan", "deploy"),
    "release": ("release", "releases", "rollback"),
    "status": ("status",),
    "destroy": ("destroy",),
    "service": ("service",),
    "notify": ("notify",),
}
"""The modules here with their commands. If only its own module is imported, a command starts in two
thirds of the time."""

PANELS = {
    "Set up": ("check", "env", "demo", "new", "adopt"),
    "Develop pipelines": ("try", "test"),
    "Runs": (
        "up",
        "run",
        "runs",
        "show",
        "products",
        "availability",
        "compare",
        "verify",
        "retry",
        "reprocess",
        "jobs",
        "web",
        "logs",
        "service",
        "notify",
    ),
    "Deployment to AWS": (
        *("emulate", "doctor", "bootstrap", "plan", "deploy", "status"),
        *("release", "releases", "rollback", "destroy"),
    ),
}
"""The headings in ``tidegate --help``, and the commands below them."""


def make_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command line with all commands, or only with the one that the arguments name."""
    app = typer.Typer(
        name="tidegate",
        help="Run Tsdat pipelines on data as it arrives, on one machine or in AWS.",
        epilog="Try it without any setup: [bold]tidegate demo[/bold]",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(root)
    command = next((word for word in arguments if not word.startswith("-")), None)
    named = [module for module, commands in _MODULES.items() if command in commands]
    for module in named or _MODULES:
        app.add_typer(importlib.import_module(f"tidegate.cli.{module}").app)
    _set_headings(app)
    return app


def _set_headings(app: typer.Typer) -> None:
    """Set the heading of each command."""
    panels = {name: panel for panel, names in PANELS.items() for name in names}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        name = group.typer_instance.info.name
        if isinstance(name, str):  # a group of commands, such as `new`
            group.rich_help_panel = panels.get(name)
            continue
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            command.rich_help_panel = panels.get(command.name or command.callback.__name__)


def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="TIDEGATE_DEBUG", help="Show tracebacks.")
    ] = False,
) -> None:
    """Options of every command; `main` handles `debug`."""
    if version:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Prints errors without a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("TIDEGATE_DEBUG", "") not in ("", "0")
    options.restore_signals()
    try:
        make_app(given)(args=given, prog_name="tidegate")
    except TidegateError as error:
        if debug:
            traceback.print_exc()
        View().error(error)
        return error.exit_code
    except SystemExit as ended:
        view.end_output()
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BrokenPipeError:  # such as `tidegate runs | head`
        view.discard_output()
    return 0
