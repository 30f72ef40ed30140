"""The command ``logs``."""

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
from tidegate.errors import TidegateError
from tidegate.runtime.log_line import LogLine
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import FINISHED, RunRecord
from tidegate.workspace import logs as log_lines
from tidegate.workspace import rerun, session
from tidegate.workspace.session import Session, TargetOptions

app = typer.Typer()

_PAUSE = 1.0
"""Seconds between two looks at the ledger with --follow."""
_COLOURS = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow", "DEBUG": "bright_black"}


@app.command(
    epilog="Examples: tidegate logs lidar/humboldt --follow   ·   tidegate logs --run 3f9a"
)
def logs(
    config: Annotated[
        str | None,
        typer.Argument(metavar="PIPELINE/CONFIG", help="Only this config; default: all."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new lines, until Ctrl-C.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Only this run: the first digits of its key.")
    ] = None,
    since: Annotated[
        str,
        typer.Option("--since", help="Start this long ago (30m, 1h, 2d), or at this time."),
    ] = "1h",
    directory: In = HERE,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show the logs of runs on this machine, or of functions on AWS."""
    out = View(as_json=as_json)
    begin = log_lines.parse_since(since, datetime.now(timezone.utc))
    opened = session.open_for_reading(TargetOptions(directory, target, branch, profile, region))
    chosen = [rerun.named_config(opened.manifest, config)] if config else opened.manifest.configs
    try:
        if run is not None:
            _show_run(out, opened, run, follow=follow)
            return
        if target == "aws":
            found = _lines_of_functions(out, opened, chosen, begin, follow=follow)
        else:
            found = _lines_of_runs(out, opened, config, begin, follow=follow)
        if not _show(out, found):
            out.note(f"no log lines since {view.moment(begin)}; use --since to look further back")
    except KeyboardInterrupt:  # the normal end of --follow
        out.note("")


def _show(out: View, found: Iterable[LogLine]) -> int:
    """Print lines as they come; returns how many."""
    count = 0
    for line in found:
        if out.as_json:
            sys.stdout.write(json.dumps(log_lines.line_data(line)) + "\n")
            count += 1
        elif readable := log_lines.readable_line(line):
            out.line(_format(readable))
            count += 1
        sys.stdout.flush()
    return count


def _format(line: log_lines.ReadableLine) -> str:
    colour = _COLOURS.get(line.level, "white")
    parts = [
        view.moment(line.when),
        f"[{colour}]{plain(line.level or '-'):<7}[/]",
        f"[bold]{plain(line.config)}[/]",
        f"[cyan]{plain(line.run or '-'):<10}[/]",
    ]
    if line.action:
        parts.append(f"[bright_black]{plain(line.action)}[/]")
    message = "\n             ".join(plain(text) for text in line.message.splitlines())
    return " ".join([*parts, message])


def _show_run(out: View, opened: Session, key: str, *, follow: bool) -> None:
    """The stored log of a run; until it is stored, what CloudWatch has of it."""
    with opened.ledger() as ledger:
        record = rerun.find_record(ledger, key)
        if not _show(out, log_lines.lines_of_run(opened, record)):
            _show_unstored(out, opened, record)
        while follow and record.state not in FINISHED:
            time.sleep(_PAUSE)
            latest = rerun.find_record(ledger, record.key)
            if (latest.attempt, latest.state) != (record.attempt, record.state):
                _show(out, log_lines.lines_of_run(opened, latest))
            record = latest


def _show_unstored(out: View, opened: Session, record: RunRecord) -> None:
    from tidegate.workspace import aws_logs
    from tidegate.workspace.aws_session import AwsSession

    if isinstance(opened, AwsSession) and _show(out, aws_logs.lines_of_run(opened, record)):
        return
    key = record.key[:10]
    if record.state in FINISHED:
        out.note(f"the log of the run {key} was deleted")
    else:
        out.note(f"the run {key} is {record.state}; its log is stored when it ends")


def _lines_of_functions(
    out: View, opened: Session, configs: Iterable[Config], begin: datetime, *, follow: bool
) -> Iterator[LogLine]:
    from tidegate.workspace import aws_logs
    from tidegate.workspace.aws_session import AwsSession

    assert isinstance(opened, AwsSession)
    return aws_logs.lines_of_functions(opened, configs, begin, follow=follow, say=out.note)


def _lines_of_runs(
    out: View, opened: Session, config: str | None, begin: datetime, *, follow: bool
) -> Iterator[LogLine]:
    """The stored logs of runs in the order of their ends; with ``follow``, also of new runs."""
    seen: set[tuple[str, int]] = set()
    while True:
        try:
            with opened.ledger() as ledger:
                for record, found in log_lines.lines_of_runs(opened, ledger, config, begin):
                    if (record.key, record.attempt) not in seen:
                        seen.add((record.key, record.attempt))
                        yield from found
        except TidegateError as error:
            if not follow:
                raise
            out.error(error)  # probably temporary: try again
        if not follow:
            return
        time.sleep(_PAUSE)
