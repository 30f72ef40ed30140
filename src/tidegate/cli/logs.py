"""The command ``logs``: what functions and runs have logged."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Annotated

import typer

from tidegate.cli import view
from tidegate.cli.options import HERE, MAIN, Branch, In, Json, Profile, Region, Target
from tidegate.cli.view import View, plain
from tidegate.errors import StorageError, TidegateError, UsageError
from tidegate.runtime.log_line import LogLine
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import FINISHED, RunRecord
from tidegate.workspace import logs as lines
from tidegate.workspace import rerun, session
from tidegate.workspace.session import Session, Where

app = typer.Typer()

_LOOK = 1.0
_COLOURS = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow", "DEBUG": "bright_black"}


@app.command(
    epilog="Examples: tidegate logs lidar/humboldt --follow   ·   tidegate logs --run 3f9a"
)
def logs(
    config: Annotated[
        str | None,
        typer.Argument(metavar="[PIPELINE/CONFIG]", help="Only of this config; else of all."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Only of this run: the first digits of its key.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", help="From when on: so long ago (30m, 1h, 2d), or a time.")
    ] = "1h",
    directory: In = HERE,
    target: Target = "aws",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show what functions and runs have logged, as lines that people can read."""
    out = View(as_json=as_json)
    begin = lines.parse_since(since, datetime.now(timezone.utc))
    opened = session.glance(Where(directory, target, branch, profile, region))
    chosen = [rerun.named_config(opened.manifest, config)] if config else opened.manifest.configs
    try:
        if run is not None:
            _run(out, opened, run, follow)
        elif target == "aws":
            _functions(out, opened, list(chosen), begin, follow)
        else:
            _kept(out, opened, config, begin, follow)
    except KeyboardInterrupt:  # that is how one ends --follow
        out.note("")


def _show(out: View, found: Iterable[LogLine]) -> int:
    """Print lines as they come; how many there were."""
    count = 0
    for line in found:
        if out.as_json:
            sys.stdout.write(json.dumps(lines.line_data(line)) + "\n")
            count += 1
        elif shown := lines.readable_line(line):
            out.line(_readable(shown))
            count += 1
        sys.stdout.flush()
    return count


def _readable(told: lines.ReadableLine) -> str:
    colour = _COLOURS.get(told.level, "white")
    parts = [
        view.moment(told.when),
        f"[{colour}]{plain(told.level or '-'):<7}[/]",
        f"[bold]{plain(told.config)}[/]",
        f"[cyan]{plain(told.run or '-'):<10}[/]",
    ]
    if told.action:
        parts.append(f"[bright_black]{plain(told.action)}[/]")
    message = "\n             ".join(plain(text) for text in told.message.splitlines())
    return " ".join([*parts, message])


# One run.


def _run(out: View, opened: Session, key: str, follow: bool) -> None:
    """The log that was kept with a run; of one that is going on, what CloudWatch has of it."""
    with opened.ledger() as ledger:
        record = rerun.find_record(ledger, key)
        count = _show(out, lines.lines_of_run(opened, record))
        if not count:
            _unkept(out, opened, record)
        while follow and record.state not in FINISHED:
            time.sleep(_LOOK)
            found = rerun.find_record(ledger, record.key)
            if (found.attempt, found.state) != (record.attempt, record.state):
                _show(out, lines.lines_of_run(opened, found))
            record = found


def _unkept(out: View, opened: Session, record: RunRecord) -> None:
    """A run whose log is not kept (yet)."""
    from tidegate.workspace import aws_session

    if isinstance(opened, aws_session.AwsSession):
        from tidegate.targets.aws import logs as cloudwatch

        # The config file may not have it any more.
        pipeline, _, name = record.run.config.partition("/")
        groups = {opened.names.log_group(pipeline, name): record.run.config}
        if not cloudwatch.missing(opened.clients, groups):
            found = cloudwatch.read(
                opened.clients, groups, record.started, end=record.finished, term=record.key[:12]
            )
            if _show(out, (line for line in found if lines.belongs_to_run(line, record.key))):
                return
    if record.state in FINISHED:
        out.note(f"the log of the run {record.key[:10]} is not kept any more")
    else:
        out.note(f"the run {record.key[:10]} is {record.state}: its log is kept when it has ended")


# Functions.


def _functions(
    out: View, opened: Session, configs: list[Config], begin: datetime, follow: bool
) -> None:
    """What the functions of these configs have logged."""
    from tidegate.targets.aws import logs as cloudwatch
    from tidegate.workspace import aws_session

    assert isinstance(opened, aws_session.AwsSession)
    groups = {opened.names.log_group(c.pipeline, c.name): c.id for c in configs}
    gone = cloudwatch.missing(opened.clients, groups)
    for name in gone:
        out.note(_without(opened, name, groups[name]))
    there = {name: id for name, id in groups.items() if name not in gone}
    if not there:
        raise UsageError(
            f"there are no logs of the branch {opened.where.branch} in {opened.region}",
            why="none of its functions has a log group",
            next="deploy it, or say where it is with --branch, --region and --profile;"
            " `--target local` shows the runs of this machine",
        )
    if follow:
        _show(out, cloudwatch.follow(opened.clients, there, begin))
    elif not _show(out, cloudwatch.read(opened.clients, there, begin)):
        out.note(f"nothing was logged since {view.moment(begin)}: look further back with --since")


def _without(opened: Session, group: str, config: str) -> str:
    """Why a config has no log group."""
    from tidegate.targets.aws.clients import explained
    from tidegate.workspace import aws_session

    assert isinstance(opened, aws_session.AwsSession)
    name = group.removeprefix("/aws/lambda/")
    client = opened.clients.client("lambda")
    try:
        with explained("look at the function", f"arn:aws:lambda:*:*:function:{name}"):
            client.get_function_configuration(FunctionName=name)
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, client.exceptions.ResourceNotFoundException):
            return f"{config} is not deployed: there is no function {name}"
        return f"{config} has no log group {group}; whether it is deployed is not known: {error}"
    return f"{config} is deployed, but the log group {group} is gone: release again to have it made"


# This machine.


def _kept(out: View, opened: Session, config: str | None, begin: datetime, follow: bool) -> None:
    """The logs of the runs on this machine, as they ended."""
    seen: set[tuple[str, int]] = set()

    def news() -> Iterator[LogLine]:
        with opened.ledger() as ledger:
            for record, found in lines.lines_of_runs(opened, ledger, config, begin):
                if (record.key, record.attempt) not in seen:
                    seen.add((record.key, record.attempt))
                    yield from found

    count = _show(out, news())
    if not count and not follow:
        out.note(f"no run has ended since {view.moment(begin)}: look further back with --since")
    while follow:
        time.sleep(_LOOK)
        try:
            _show(out, news())
        except TidegateError as error:  # a moment's trouble does not end the following
            out.error(error)
