"""The pipelines stacks of a branch, as plain records.

``plan`` makes them, and ``templates`` writes them as CloudFormation templates. All names and ARNs
are complete, so a plan can be read, compared and tested by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.metrics import Alarm, MonitoredConfig
from tidegate.deploy.design.roles import Role

TWO_WEEKS = 14 * 86_400
"""The longest time that SQS keeps a message, in s."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """A pipeline's image in ECR, by its content."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    repository: str = ""
    """The ECR repository in the same account and region; the branch's own by default."""
    commit: str = ""
    """The commit that it was first built from (``CODE_VERSION``); the release's by default."""

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"not the digest of an image: {self.digest!r}")


@dataclass(frozen=True)
class Zip:
    """A function's code as a zip file in S3, for emulators. The caller uploads it first."""

    bucket: str
    """Its bucket."""
    key: str
    """Its key. CloudFormation updates a function only if this changes."""
    handler: str = "tidegate.targets.aws.lambda_handler.handler"
    """The function's entry point."""
    runtime: str = "python3.12"
    """Lambda's name for the version of Python."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that an image would set, such as PYTHONPATH."""


Code = Image | Zip


@dataclass(frozen=True)
class Function:
    """A Lambda function and its log group."""

    name: str
    """Its name."""
    description: str
    """Its description, for people."""
    code: Code
    """Its image or zip file."""
    architecture: str
    """Its processor, ``x86_64`` or ``arm64``."""
    memory: int
    """Its memory, in MB."""
    timeout: int
    """The limit of one invocation, in s."""
    ephemeral_storage: int
    """The size of its ``/tmp``, in MB."""
    environment: Mapping[str, str]
    """Its environment variables. The template adds the queue's URL."""
    log_group: str
    """Its log group."""
    log_retention: int
    """For how many days CloudWatch keeps the logs."""
    reserved: int | None = None
    """The most invocations at the same time; None for no limit of its own."""
    image: str = ""
    """The URI of its image, with the digest; empty for a zip file."""


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
    """The ARN of its dead-letter queue."""
    visibility: int
    """SQS's visibility timeout: a message that is being handled is hidden this long, in s."""
    receives: int
    """After this many receives, SQS moves a message to the dead-letter queue."""
    concurrency: int
    """How many messages are handled at the same time; SQS needs at least 2."""
    retention: int = TWO_WEEKS
    """How long both queues keep a message, in s."""
    batch: int = 1
    """Messages in one invocation. With one, each run has the whole time of an invocation."""


@dataclass(frozen=True)
class Rule:
    """An EventBridge rule for files that arrive below prefixes of the input bucket."""

    name: str
    """Its name."""
    arn: str
    """Its ARN."""
    pattern: Mapping[str, Any]
    """The events that it matches."""
    bus: str = ""
    """The name of its event bus; "" for the default one."""


@dataclass(frozen=True)
class Arrivals:
    """How S3's events about new files come to the rules of a stack's configs.

    S3 sends events to the account's default bus. There, one rule of the stack passes those of its
    configs on to a bus of the stack, on which each config has a rule of its own.
    """

    bus: str
    """The name of the stack's event bus."""
    bus_arn: str
    """Its ARN."""
    rule: Rule
    """The rule on the default bus."""
    role: Role
    """The role with which the rule passes events on."""
    dead_letters: str
    """The name of the queue for events that could not be passed on."""
    dead_letters_arn: str
    """Its ARN."""


@dataclass(frozen=True)
class Schedule:
    """A schedule in UTC."""

    name: str
    """Its name."""
    expression: str
    """When it is due: a ``cron(…)`` of EventBridge Scheduler."""
    message: str
    """The message that it sends to the queue."""


@dataclass(frozen=True)
class ConfigResources:
    """The resources of one config."""

    id: str
    """The config's id."""
    tags: Mapping[str, str]
    """``pipeline`` and ``config``."""
    function: Function
    """The function that runs it."""
    role: Role
    """The role of the function."""
    queue: Queue
    """The queue that feeds the function."""
    rule: Rule | None
    """For the S3 trigger: sends arrived files to the queue."""
    schedules: tuple[Schedule, ...]
    """For the Cron trigger: together they are due when the cron expression is."""
    alarms: tuple[Alarm, ...]
    """Its alarms."""
    monitored: MonitoredConfig
    """What alarms and the dashboard need to know about it."""

    @property
    def count(self) -> int:
        """The number of resources.

        Always there: function, log group, role, two queues with a policy each, event source
        mapping.
        """
        return 8 + (self.rule is not None) + len(self.schedules) + len(self.alarms)


@dataclass(frozen=True)
class Sweep:
    """The function that looks after the configs of a stack at regular times."""

    function: Function
    """The function; it has the image of one of the stack's pipelines."""
    handler: str
    """The function's entry point."""
    role: Role
    """The role of the function."""
    schedule: Schedule
    """When it runs, and with which event."""
    alarm: Alarm
    """The alarm that fires when it fails."""


@dataclass(frozen=True)
class StackPlan:
    """One of a branch's pipelines stacks."""

    number: int
    """From 1."""
    name: str
    """Its name."""
    configs: tuple[ConfigResources, ...]
    """Its configs."""
    dashboard: str
    """The name of its dashboard."""
    dashboard_body: str
    """The body of the dashboard, JSON."""
    schedule_group: str
    """The name of the group of its schedules."""
    scheduler: Role
    """The role of its schedules."""
    sweep: Sweep
    """What looks after its configs."""
    arrivals: Arrivals | None
    """How files arrive; None if no config waits for files."""
    alarms: tuple[Alarm, ...] = ()
    """The alarms that the branch has once."""
    support: bool = False
    """Whether it makes the ledger's table and the alerts topic."""

    @property
    def count(self) -> int:
        """The number of resources."""
        # The dashboard, the group and role of schedules; the sweep with log group, role, schedule
        # and alarm; the bus with rule, role, and dead-letter queue with a policy.
        shared = 3 + 5 + 5 * (self.arrivals is not None) + 3 * self.support + len(self.alarms)
        return shared + sum(config.count for config in self.configs)


@dataclass(frozen=True)
class Plan:
    """The pipelines stacks of a branch, for one release."""

    place: Place
    """Where."""
    tags: Mapping[str, str]
    """The tags of all resources: ``repository`` and ``branch``."""
    table: str
    """The name of the ledger's table."""
    topic: str
    """The name of the topic for alarms."""
    stacks: tuple[StackPlan, ...]
    """The stacks in the order of deployment. Other pipelines stacks of the branch are deleted."""
    notes: tuple[str, ...] = ()
    """Notes for people: where AWS cannot do what the config says."""
    backups: bool = True
    """Whether the ledger can be restored to any second (``ledger_backups``)."""

    @property
    def configs(self) -> tuple[ConfigResources, ...]:
        """The configs of all stacks."""
        return tuple(config for stack in self.stacks for config in stack.configs)

    @property
    def topic_arn(self) -> str:
        """The ARN of the topic for alarms."""
        return self.place.arn("sns", self.topic)
