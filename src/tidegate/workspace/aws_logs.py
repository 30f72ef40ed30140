"""The logs of a branch's functions, from CloudWatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from tidegate.errors import StorageError, UsageError
from tidegate.runtime.log_line import LogLine
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import RunRecord
from tidegate.targets.aws import logs as cloudwatch
from tidegate.targets.aws.clients import explained
from tidegate.workspace.aws_session import AwsSession
from tidegate.workspace.logs import belongs_to_run

_IN_A_STACK = 32
"""Configs in one pipelines stack at most."""


def lines_of_run(session: AwsSession, record: RunRecord) -> Iterator[LogLine]:
    """What CloudWatch has of one run; nothing if its function has no log group."""
    # Not from the config file, which may not have this config any more.
    pipeline, _, name = record.run.config.partition("/")
    groups = {session.names.log_group(pipeline, name): record.run.config}
    if cloudwatch.missing(session.clients, groups):
        return
    found = cloudwatch.read(
        session.clients, groups, record.started, end=record.finished, term=record.key[:12]
    )
    yield from (line for line in found if belongs_to_run(line, record.key))


def lines_of_functions(
    session: AwsSession,
    configs: Iterable[Config],
    begin: datetime,
    *,
    follow: bool,
    say: Callable[[str], None],
) -> Iterator[LogLine]:
    """The log lines of these configs' functions from ``begin`` on; endless with ``follow``.

    If these are all configs, the lines of the functions that look after them are among them.

    Raises:
        UsageError: none of the functions has a log group.
        StorageError: a log group cannot be read.
    """
    groups = {session.names.log_group(c.pipeline, c.name): c.id for c in configs}
    every = {**groups, **(_sweeps(session) if len(groups) == len(session.manifest.configs) else {})}
    missing = cloudwatch.missing(session.clients, every)
    for name in missing & set(groups):
        say(_explain_missing(session, name, groups[name]))
    existing = {name: id for name, id in every.items() if name not in missing}
    if not set(existing) & set(groups):
        raise UsageError(
            f"there are no logs of the branch {session.target.branch} in {session.region}",
            why="none of its functions has a log group",
            next="deploy the branch, or check --branch, --region and --profile;"
            " `--target local` shows the logs of this machine",
        )
    read = cloudwatch.follow if follow else cloudwatch.read
    yield from read(session.clients, existing, begin)


def _sweeps(session: AwsSession) -> dict[str, str]:
    """The log groups of the sweeps of all stacks that the configs may need."""
    stacks = range(1, len(session.manifest.configs) // _IN_A_STACK + 2)
    return {f"/aws/lambda/{session.names.sweep('function', n)}": "sweep" for n in stacks}


def _explain_missing(session: AwsSession, group: str, config: str) -> str:
    name = group.removeprefix("/aws/lambda/")
    client = session.clients.client("lambda")
    try:
        with explained("look at the function", session.clients.arn("lambda", f"function:{name}")):
            client.get_function_configuration(FunctionName=name)
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, client.exceptions.ResourceNotFoundException):
            return f"{config} is not deployed: there is no function {name}"
        return f"{config} has no log group {group}; cannot check whether it is deployed: {error}"
    return (
        f"{config} is deployed, but its log group {group} was deleted;"
        " `tidegate release` creates it again"
    )
