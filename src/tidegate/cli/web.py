"""The command ``web``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.options import (
    CPUS,
    HERE,
    MAIN,
    Branch,
    Dir,
    Profile,
    Python,
    Region,
    Target,
    Workers,
    stopping,
)
from tidegate.cli.view import View
from tidegate.web.options import WebOptions, read_token
from tidegate.workspace.session import TargetOptions

app = typer.Typer()

PORT = 8321
"""The dashboard's usual port."""


@app.command(
    epilog="Examples: tidegate web my-workspace --open   ·   tidegate web --target aws"
    "   ·   tidegate web --host 0.0.0.0 --token-file web-token"
)
def web(
    directory: Dir = HERE,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0: any that is free.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="The address to listen on; 0.0.0.0: other machines too, with a token."
        ),
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="Readers need the token in this file; or set TIDEGATE_WEB_TOKEN.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A name under which readers reach it, behind a proxy say."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="No buttons: nothing can be run from the pages.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    python: Python = None,
    workers: Workers = CPUS,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
) -> None:
    """Show runs, products and their quality in a browser, until Ctrl-C."""
    from tidegate.web.serving import WebServer  # 0.3 s that other commands need not wait

    out = View()
    where = TargetOptions(directory, target, branch, profile, region)
    options = WebOptions(host, port, read_token(token_file), read_only, tuple(name or ()))
    with (
        WebServer(where, options, python=python, workers=workers) as server,
        stopping(server.stop, out),
    ):
        out.line(f"the dashboard is at {server.url}")
        out.note("press Ctrl-C to stop")
        if open_it:
            webbrowser.open(server.url)
        server.wait()
