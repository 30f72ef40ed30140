"""The commands ``notify …``: messages to people."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

import typer

from tidegate.cli.options import HERE, Dir, Json
from tidegate.cli.view import View
from tidegate.errors import TidegateError, UsageError
from tidegate.notify.digest import compose
from tidegate.notify.notice import Notice
from tidegate.notify.notifier import settings_in_use
from tidegate.notify.sending import load_channels
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace

app = typer.Typer(
    name="notify", help="Messages about failures and stale data.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Messages about failures and stale data, by e-mail, chat or webhook."""


@app.command("test", epilog="Example: tidegate notify test my-workspace")
def send_test(
    directory: Dir = HERE,
    config: Annotated[
        str | None, typer.Option("--config", help="Only the recipients of this pipeline/config.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a test message to all recipients of the config's `notify:`; exit code 1 if one fails."""
    out = View(as_json=as_json)
    workspace = Workspace.at(directory)
    model = loading.read_config(workspace).require()
    in_use = settings_in_use(model)
    if config is not None and config not in in_use:
        known = ", ".join(in_use) or "none"
        raise UsageError(
            f"{config} has no `notify:`", next=f"configs that have one: {known} (docs/notify.md)"
        )
    if not in_use:
        raise UsageError(
            "the config has no `notify:`", next="write one as docs/notify.md shows, and test again"
        )
    sources: dict[str, bool] = {}
    for settings in in_use.values() if config is None else [in_use[config]]:
        channels = load_channels(settings.to, workspace.root)
        text = "this is a test: no run has failed (tidegate notify test)"
        notice = Notice("failure", "", text, datetime.now(timezone.utc))
        failed = channels.send(compose([notice], None, workspace.root.name))
        sources.update({source: source not in failed for source in channels.sources})
    if as_json:
        out.data({"sent": sources})
    for source, sent in sources.items():
        if not as_json:
            out.line(f"{source}: {'sent' if sent else 'not sent'}")
    if not all(sources.values()):
        raise TidegateError(
            "a test message was not taken",
            why="the server refused it, or cannot be reached from this machine",
            next="try the same address with `apprise -vv`, which shows what the server answers",
        )
