"""The command ``web``."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from tidegate.cli.view import View, plain
from tidegate.errors import UsageError
from tidegate.runtime.wording import quantity
from tidegate.web.options import WebOptions, read_token
from tidegate.workspace.session import TargetOptions

app = typer.Typer()

PORT = 8321
"""The dashboard's usual port."""
DAYS = 31
"""How many days an export goes back by default."""


Earlier = Annotated[
    Path | None,
    typer.Option(
        "--earlier",
        help="A copy of output/ from before a change: products can be compared with it.",
    ),
]


@app.command(
    epilog="Examples: tidegate web my-workspace --open   ·   tidegate web --target aws"
    "   ·   tidegate web --host 0.0.0.0 --token-file web-token"
    "   ·   tidegate web --export public --days 90"
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
        typer.Option("--name", help="Another name of this server, for example behind a proxy."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="No buttons: nothing can be run from the pages.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the pages as files into this folder, and stop."),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, help="How many days an export goes back.")
    ] = DAYS,
    earlier: Earlier = None,
    python: Python = None,
    workers: Workers = CPUS,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
) -> None:
    """Show runs, products and their quality in a browser, until Ctrl-C."""
    out = View()
    where = TargetOptions(directory, target, branch, profile, region)
    if export is not None:
        _export(out, where, export, days)
        return
    options = WebOptions(host, port, read_token(token_file), read_only, tuple(name or ()))
    options = replace(options, earlier=_copy(earlier))
    from tidegate.web.serving import WebServer  # 0.3 s that other commands need not wait

    with (
        WebServer(where, options, python=python, workers=workers) as server,
        stopping(server.stop, out, at_work=lambda: server.at_work),
    ):
        out.line(f"the dashboard is at {server.url}")
        out.note("press Ctrl-C to stop")
        if open_it:
            webbrowser.open(server.url)
        server.wait()


def _copy(folder: Path | None) -> Path | None:
    """The copy of the products, which must be there."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", next="name a copy of output/")
    return folder


def _export(out: View, where: TargetOptions, folder: Path, days: int) -> None:
    """Write a static copy."""
    from tidegate.web.export import export_site
    from tidegate.web.site import Site

    site = Site(where, read_only=True, wait_for_all=True)
    try:
        with out.progress() as progress:
            task = progress.add_task("pages", total=None)
            pages = export_site(
                site, folder, days=days, progress=lambda done: progress.update(task, completed=done)
            )
    finally:
        site.close()
    out.line(f"{quantity(pages, 'page')} of {days} days in {plain(folder)}")


@contextmanager
def dashboard(
    directory: Path, port: int, out: View, *, python: str | None, workers: int
) -> Iterator[None]:
    """A dashboard of a workspace beside its service, for ``tidegate up --web``."""
    from tidegate.web.serving import WebServer

    options = WebOptions(port=port)
    with WebServer(TargetOptions(directory), options, python=python, workers=workers) as server:
        out.note(f"the dashboard is at {server.url}")
        yield
