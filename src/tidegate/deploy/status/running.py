"""Functions, queues, schedules, alarms, and the runs in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import islice

from tidegate import config as configuration
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.console import Console
from tidegate.deploy.design import metrics
from tidegate.deploy.resources.base import is_gone
from tidegate.deploy.status.attempts import list_all, or_unknown
from tidegate.deploy.status.model import Config, Function, Run, Unknown, Waiting
from tidegate.errors import StorageError
from tidegate.runtime.manifest import Config as Wanted
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.open_failures import open_failures
from tidegate.runtime.runs import SETTLED, RunRecord
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.names import Names

MOST_FAILURES = 50
"""Failed runs are counted up to this number."""
_ALARMS_AT_ONCE = 100


def config(
    branch: Branch,
    wanted: Wanted,
    rows: Mapping[str, configuration.Row],
    schedules: Mapping[str, tuple[str, str]] | Unknown,
    firing: Iterable[str],
    bus: str = "",
) -> Config:
    """The status of one config.

    ``firing`` are the names of alarms that are firing; ``bus`` is the event bus, if it is known.
    """
    names, clients, ledger = branch.names, branch.clients, ledger_of(branch)
    row, pipeline, name = rows[wanted.id], wanted.pipeline, wanted.name
    own = {names.alarm(pipeline, name, about): about for about in metrics.ALARM_KINDS}
    state, group = "", names.schedule_group
    if wanted.trigger == "Cron":
        state = "unknown"
        if not isinstance(schedules, Unknown):
            group, state = schedules.get(names.schedule(pipeline, name), (group, "missing"))
    return Config(
        id=wanted.id,
        when=row.when,
        function=or_unknown(partial(function, clients, names.function(pipeline, name))),
        last=or_unknown(partial(last_run, ledger, wanted.id)),
        failed=or_unknown(partial(failures, ledger, wanted.id)),
        queues=or_unknown(partial(waiting, clients, names, wanted)),
        schedule=state,
        next=row.next if state != "missing" else None,
        alarms=tuple(own[alarm] for alarm in firing if alarm in own),
        urls=urls(branch, wanted, group, bus),
    )


def ledger_of(branch: Branch) -> DynamoLedger:
    """The branch's ledger."""
    return DynamoLedger(branch.names.ledger_table, branch.clients)


def function(clients: Clients, name: str) -> Function:
    """A function as it is deployed; with empty fields if it does not exist."""
    try:
        with explained("read the state of the function", name):
            answer = clients.client("lambda").get_function(FunctionName=name)
    except Exception as error:
        if is_gone(error):
            return Function("", "", "", "")
        raise
    found, code = answer["Configuration"], answer.get("Code", {})
    image = str(code.get("ResolvedImageUri") or code.get("ImageUri") or "")
    settings = found.get("Environment", {}).get("Variables", {})
    state = str(found.get("State") or "Active")
    if found.get("LastUpdateStatus") in ("Failed", "InProgress"):
        state = f"{state}, update {found['LastUpdateStatus']}"
    return Function(
        state=state,
        image=image.partition("@")[2] or image,
        commit=str(settings.get("CODE_VERSION", "")),
        changed=str(found.get("LastModified", "")),
    )


def last_run(ledger: DynamoLedger, id: str) -> Run | None:
    """The last run of a config."""
    return next((_run(record) for record in ledger.records(config=id, limit=1)), None)


def _run(record: RunRecord) -> Run:
    arrived, lag = record.run.arrived, None
    if record.state in SETTLED and record.finished and arrived and not record.run.again:
        lag = max((record.finished - arrived).total_seconds(), 0.0)
    return Run(
        key=record.key,
        about=record.run.title,
        outcome=record.outcome,
        started=record.started,
        finished=record.finished,
        lag=lag,
        why=record.failure.message if record.failure else "",
    )


def failures(ledger: DynamoLedger, id: str) -> int:
    """How many runs have failed and not succeeded since, up to ``MOST_FAILURES``."""
    return sum(1 for _ in islice(open_failures(ledger, id), MOST_FAILURES))


def waiting(clients: Clients, names: Names, wanted: Wanted) -> Waiting | None:
    """How many messages are in a config's queues; None if they do not exist."""
    try:
        queue = _depth(clients, names.queue(wanted.pipeline, wanted.name))
        dead = _depth(clients, names.dead_letter_queue(wanted.pipeline, wanted.name))
    except Exception as error:
        if is_gone(error):
            return None
        raise
    return Waiting(queue[0], queue[1], sum(dead))


def _depth(clients: Clients, name: str) -> tuple[int, int]:
    with explained("count the messages of the queue", name):
        url = clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = clients.sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesDelayed",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
    rest = int(found.get("ApproximateNumberOfMessagesDelayed", 0))
    return (
        int(found.get("ApproximateNumberOfMessages", 0)) + rest,
        int(found.get("ApproximateNumberOfMessagesNotVisible", 0)),
    )


def schedules(clients: Clients, groups: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Group and state of each schedule in these groups, by the name of the schedule."""
    found: dict[str, tuple[str, str]] = {}
    for group in groups:
        try:
            with explained("list the schedules of", group, lasting=StorageError):
                for one in list_all(
                    clients, "scheduler", "list_schedules", "Schedules", GroupName=group
                ):
                    found[one["Name"]] = group, str(one.get("State", "ENABLED"))
        except Exception as error:
            if not is_gone(error):
                raise
    return found


def firing_alarms(clients: Clients, names: Names, manifest: Manifest) -> tuple[str, ...]:
    """The names of the branch's alarms that are firing."""
    wanted = [names.branch_alarm(about) for about in metrics.BRANCH_ALARMS] + [
        names.alarm(config.pipeline, config.name, about)
        for config in manifest.configs
        for about in metrics.ALARM_KINDS
    ]
    found: list[str] = []
    for n in range(0, len(wanted), _ALARMS_AT_ONCE):
        with explained("read the state of the alarms"):
            answer = clients.client("cloudwatch").describe_alarms(
                AlarmNames=wanted[n : n + _ALARMS_AT_ONCE], MaxRecords=_ALARMS_AT_ONCE
            )
        found += [a["AlarmName"] for a in answer["MetricAlarms"] if a["StateValue"] == "ALARM"]
    return tuple(found)


def urls(branch: Branch, wanted: Wanted, group: str, bus: str) -> dict[str, str]:
    """The console pages of one config: ``group`` has its schedule, and ``bus`` its rule."""
    console, names, keys = Console(branch.place), branch.names, branch.keys
    pipeline, name = wanted.pipeline, wanted.name
    found = {
        "function": console.function(names.function(pipeline, name)),
        "log": console.log_group(names.log_group(pipeline, name)),
        "queue": console.queue(names.queue(pipeline, name)),
        "dead letters": console.queue(names.dead_letter_queue(pipeline, name)),
    }
    if wanted.input_path and keys.input_bucket_name:
        found["input"] = console.bucket(keys.input_bucket_name, wanted.input_path)
    if wanted.trigger == "S3":
        rule = names.rule(pipeline, name)
        found["rule"] = console.rule(bus, rule) if bus else console.event_buses()
    else:
        found["schedule"] = console.schedule(group, names.schedule(pipeline, name))
    return found


def as_time(value: object) -> datetime | None:
    """A time from boto3; None for anything else."""
    return value if isinstance(value, datetime) else None
