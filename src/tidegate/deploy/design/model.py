"""What a branch is on AWS: every resource of the pipelines stacks, as plain records.

``plan`` makes them, ``describe`` prints them, ``stacks`` turns them into CloudFormation. All names
and ARNs are written out, so that a plan can be read, compared and tested without the CDK.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.metrics import Alarm, Watched
from tidegate.deploy.design.roles import Role, Statement

TWO_WEEKS = 14 * 86_400
"""As long as SQS keeps a message, s."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """A pipeline's image in ECR, by what it is and not by what it is called."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    repository: str = ""
    """The ECR repository in the same account and region; the branch's own by default."""
    commit: str = ""
    """The commit that first gave it (``CODE_VERSION``); the release's own by default."""

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"not the digest of an image: {self.digest!r}")


@dataclass(frozen=True)
class Zip:
    """A function's code as a zip file in S3, for emulators: the caller puts it there first."""

    bucket: str
    """The bucket that it lies in."""
    key: str
    """Its key; one that names the content, or an update would not be noticed."""
    handler: str = "tidegate.targets.aws.lambda_handler.handler"
    """The entry point."""
    runtime: str = "python3.12"
    """Lambda's name for the version of Python."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that an image would bring along, such as PYTHONPATH."""


Code = Image | Zip


@dataclass(frozen=True)
class Function:
    """A Lambda function and its log group."""

    name: str
    """Its name."""
    description: str
    """What it is for."""
    code: Code
    """What it runs."""
    architecture: str
    """Its processor."""
    memory: int
    """Its memory, MB."""
    timeout: int
    """The time of one invocation, s."""
    ephemeral_storage: int
    """Its ``/tmp``, MB."""
    environment: Mapping[str, str]
    """Its variables; the queue's URL is added when it is known."""
    log_group: str
    """Where it logs to."""
    log_retention: int
    """For how many days."""
    reserved: int | None = None
    """It never runs more often than this at a time."""
    image: str = ""
    """The full name of its image, by digest."""


@dataclass(frozen=True)
class Queue:
    """The queue of one config, its dead-letter queue, and how it feeds the function."""

    name: str
    """Its name."""
    arn: str
    """Its ARN."""
    dead_letters: str
    """The name of its dead-letter queue."""
    dead_letters_arn: str
    """The ARN of that."""
    visibility: int
    """For how long a message that is being handled is hidden, s."""
    receives: int
    """After so many receives a message goes to the dead-letter queue."""
    concurrency: int
    """Messages that are handled at a time; SQS takes no fewer than 2."""
    retention: int = TWO_WEEKS
    """For how long both queues keep a message, s."""
    batch: int = 1
    """Messages in one invocation: one, so that each run has the function's whole time."""


@dataclass(frozen=True)
class Rule:
    """What arrives below a prefix of the input bucket."""

    name: str
    """Its name."""
    arn: str
    """Its ARN."""
    pattern: Mapping[str, Any]
    """The events that it matches."""


@dataclass(frozen=True)
class Schedule:
    """A schedule in UTC."""

    name: str
    """Its name."""
    expression: str
    """A ``cron(…)`` of AWS's."""
    message: str
    """What it sends to the queue."""


@dataclass(frozen=True)
class ConfigResources:
    """All that one config is on AWS."""

    id: str
    """The config's id."""
    tags: Mapping[str, str]
    """``pipeline`` and ``config``."""
    function: Function
    """What runs it."""
    role: Role
    """What that may do."""
    queue: Queue
    """What it is to do."""
    rule: Rule | None
    """What sets it off, for the S3 trigger."""
    schedules: tuple[Schedule, ...]
    """What sets it off, for the Cron trigger; together they are the cron expression."""
    alarms: tuple[Alarm, ...]
    """What a person is told of."""
    watched: Watched
    """What the dashboard shows."""

    @property
    def count(self) -> int:
        """Resources in its stack: the fixed ones are function, log group, role, two queues with
        a policy each, and the mapping."""
        return 8 + (self.rule is not None) + len(self.schedules) + len(self.alarms)


@dataclass(frozen=True)
class StackPlan:
    """One of a branch's pipelines stacks."""

    number: int
    """From 1."""
    name: str
    """Its name."""
    configs: tuple[ConfigResources, ...]
    """What lies in it."""
    dashboard: str
    """The name of its dashboard."""
    dashboard_body: str
    """The dashboard itself, JSON."""
    schedule_group: str
    """The group of its schedules."""
    scheduler: Role | None
    """The role of its schedules, if it has any."""
    support: bool = False
    """Whether it makes the ledger's table and the alerts topic."""

    @property
    def count(self) -> int:
        """How many resources it has."""
        shared = 1 + 2 * (self.scheduler is not None) + 3 * self.support
        return shared + sum(config.count for config in self.configs)


@dataclass(frozen=True)
class Plan:
    """A branch on AWS, as one release wants it."""

    place: Place
    """Where."""
    tags: Mapping[str, str]
    """``repository`` and ``branch``, on everything."""
    table: str
    """The name of the ledger's table."""
    topic: str
    """The name of the topic for alarms."""
    stacks: tuple[StackPlan, ...]
    """In the order in which they are deployed; a stack of the branch beyond these is to go."""
    notes: tuple[str, ...] = ()
    """What a person should know: where AWS cannot do what the config says."""

    @property
    def topic_arn(self) -> str:
        """The ARN of the topic for alarms."""
        return self.place.arn("sns", self.topic)


def describe(plan: Plan) -> str:
    """The plan for a person's eyes, and for tests to compare."""
    lines = [f"{key}: {value}" for key, value in sorted(plan.tags.items())]
    lines += [f"ledger {plan.table}, alerts {plan.topic}"]
    for stack in plan.stacks:
        lines += ["", f"stack {stack.name} ({stack.count} resources)"]
        lines += [f"  dashboard {stack.dashboard}"]
        if stack.support:
            lines.append(f"  table {plan.table}, topic {plan.topic}")
        if stack.scheduler is not None:
            lines.append(f"  schedule group {stack.schedule_group}")
            lines += described_role(stack.scheduler, "  ")
        for config in stack.configs:
            lines += ["", f"  {config.id}", *(f"    {line}" for line in _described(config))]
    return "\n".join([*lines, *([""] if plan.notes else []), *plan.notes]) + "\n"


def _described(config: ConfigResources) -> Iterator[str]:
    function, queue = config.function, config.queue
    yield f"function {function.name}"
    yield (
        f"  {function.architecture}, {function.memory} MB, {function.timeout} s, /tmp"
        f" {function.ephemeral_storage} MB"
        + (f", at most {function.reserved} at a time" if function.reserved else "")
    )
    code = function.code
    yield f"  s3://{code.bucket}/{code.key}" if isinstance(code, Zip) else f"  {function.image}"
    yield from (f"  {name}={value}" for name, value in function.environment.items())
    yield f"log group {function.log_group}, {function.log_retention} days"
    yield f"queue {queue.name}, hidden {queue.visibility} s, {queue.concurrency} at a time"
    yield f"  after {queue.receives} receives to {queue.dead_letters}, kept {queue.retention} s"
    if config.rule is not None:
        yield f"rule {config.rule.name}"
        yield f"  {json.dumps(config.rule.pattern)}"
    for schedule in config.schedules:
        yield f"schedule {schedule.name} {schedule.expression}"
        yield f"  {schedule.message}"
    yield from described_role(config.role, "")
    for alarm in config.alarms:
        yield f"alarm {alarm.name}"
        what = alarm.expression or alarm.metrics[0].name
        yield (
            f"  {what} {'<' if alarm.below else '>'} {alarm.threshold:g}, {alarm.periods} x"
            f" {alarm.period} s, missing is {alarm.missing}"
        )


def described_role(role: Role, indent: str) -> Iterator[str]:
    """A role in words, as part of a plan."""
    yield f"{indent}role {role.name} of {role.service}"
    if role.boundary:
        yield f"{indent}  at most as {role.boundary}"
    yield from described_statements(role.statements, indent)


def described_statements(statements: Iterable[Statement], indent: str) -> Iterator[str]:
    """Permissions in words, as part of a plan."""
    for statement in statements:
        never = "never " if statement.effect == "Deny" else ""
        yield f"{indent}  {statement.sid}: {never}{', '.join(statement.actions)}"
        yield from (f"{indent}    on {resource}" for resource in statement.resources)
        if statement.condition:
            yield f"{indent}    if {json.dumps(statement.condition)}"
