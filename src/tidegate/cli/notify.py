"""The commands ``notify …``: messages to people."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.options import HERE, MAIN, Dir, Json, Profile, Region, Target
from tidegate.cli.options import Branch as BranchOption
from tidegate.cli.view import View
from tidegate.config.notices import settings_in_use
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.errors import TidegateError, UsageError
from tidegate.notify.sending import load_channels
from tidegate.runtime.notices.digest import Message
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.alerts import count_subscribers, publish
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace

app = typer.Typer(
    name="notify", help="Messages about failures and stale data.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Messages about failures and stale data, by e-mail, chat or webhook."""


@app.command(
    "test",
    epilog="Examples: tidegate notify test my-workspace"
    "   ·   tidegate notify test --target aws --branch main",
)
def send_test(
    directory: Dir = HERE,
    config: Annotated[
        str | None, typer.Option("--config", help="Only the recipients of this pipeline/config.")
    ] = None,
    target: Target = "local",
    branch: BranchOption = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Send a test message to all recipients of the config's `notify:`; exit code 1 if one fails.

    On AWS, it goes to the subscribers of the branch's alerts topic, with your own permissions.
    """
    out = View(as_json=as_json)
    if target == "aws":
        if config is not None:
            raise UsageError(
                "--config has no meaning on AWS",
                why="messages about all configs go to the branch's alerts topic",
                next="leave it out",
            )
        _test_topic(out, open_branch(directory, branch, profile=profile, region=region))
    else:
        _test_addresses(out, Workspace.at(directory), config)


def _test_topic(out: View, branch: Branch) -> None:
    topic = branch.place.arn("sns", branch.names.alerts_topic)
    confirmed, pending = count_subscribers(topic, branch.clients)
    publish(topic, _message(branch.names.base), branch.clients)
    if out.as_json:
        out.data({"topic": topic, "subscribers": confirmed, "unconfirmed": pending})
    else:
        out.line(f"{topic}: sent to {quantity(confirmed, 'subscriber')}")
    if not confirmed:
        raise TidegateError(
            "nobody gets the messages",
            why=f"{quantity(pending, 'subscription')} to the topic still must be confirmed"
            if pending
            else "the topic has no subscribers",
            next="follow the link in the mail from AWS Notifications, and test again"
            if pending
            else "aws sns subscribe --protocol email --notification-endpoint YOU@EXAMPLE.ORG"
            f" --topic-arn {topic}",
        )


def _test_addresses(out: View, workspace: Workspace, config: str | None) -> None:
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
        failed = channels.send(_message(workspace.root.name))
        sources.update({source: source not in failed for source in channels.sources})
    if out.as_json:
        out.data({"sent": sources})
    for source, sent in sources.items():
        if not out.as_json:
            out.line(f"{source}: {'sent' if sent else 'not sent'}")
    if not all(sources.values()):
        raise TidegateError(
            "a test message was not taken",
            why="the server refused it, or cannot be reached from this machine",
            next="try the same address with `apprise -vv`, which shows what the server answers",
        )


def _message(place: str) -> Message:
    return Message(
        f"Tidegate, {place}: a test",
        "This is a test: no run has failed (tidegate notify test).",
    )
