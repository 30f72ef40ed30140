"""The command line. ``runs`` has the commands about runs; ``main`` is the entry point."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from tidegate import __version__
from tidegate.cli import destroy, doctor, emulate, logs, new, release, runs, status, view
from tidegate.cli.view import View
from tidegate.errors import TidegateError

app = typer.Typer(
    name="tidegate",
    help="Run Tsdat pipelines on data as it arrives, on one machine or in AWS.",
    epilog="Try it without any setup: [bold]tidegate demo[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs.app)
app.add_typer(emulate.app)
app.add_typer(logs.app)
app.add_typer(release.app)
app.add_typer(doctor.app)
app.add_typer(status.app)
app.add_typer(destroy.app)
app.add_typer(new.app)

PANELS = {
    "Set up": ("check", "env", "demo", "new", "adopt"),
    "Runs": ("up", "run", "runs", "show", "products", "retry", "reprocess", "logs"),
    "Deployment to AWS": (
        *("emulate", "doctor", "bootstrap", "plan", "deploy", "status"),
        *("release", "releases", "rollback", "destroy"),
    ),
}
"""The headings in ``tidegate --help``, each with its commands."""


def _arrange() -> None:
    """Put each command below its heading."""
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


_arrange()


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="TIDEGATE_DEBUG", help="Show tracebacks.")
    ] = False,
) -> None:
    """Options of every command; `debug` is looked at where errors are shown."""
    if version:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``tidegate``: errors are told in words, with an exit code; never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("TIDEGATE_DEBUG", "") not in ("", "0")
    try:
        app(args=given, prog_name="tidegate")
    except TidegateError as error:
        if debug:
            traceback.print_exc()
        View().error(error)
        return error.exit_code
    except SystemExit as ended:
        view.end_output()
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BrokenPipeError:  # such as `tidegate runs | head`
        view.silence()
    return 0
