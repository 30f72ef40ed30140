"""From the config to all resources of the pipelines stacks; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tidegate.config.models import AwsKeys
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import metrics, placement, sweep
from tidegate.deploy.design.arrivals import arrival_pattern, on_bus, plan_arrivals
from tidegate.deploy.design.metrics import MonitoredConfig
from tidegate.deploy.design.model import (
    Code,
    ConfigResources,
    Function,
    Image,
    Plan,
    Queue,
    Rule,
    Schedule,
    StackPlan,
    Zip,
)
from tidegate.deploy.design.roles import Role, function_statements, scheduler_statements
from tidegate.deploy.design.schedules import aws_expressions
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Architecture, Config, Manifest
from tidegate.runtime.records import dumps
from tidegate.targets.aws.messages import scheduled
from tidegate.targets.aws.names import Names, fit, numbered

LONGEST_TIMEOUT = 900
"""The longest timeout of a Lambda function, in s."""
OVERHEAD = 60
"""A function's time for starting, staging and publishing, beyond the run's ``timeout``, in s."""
VISIBILITY_FACTOR = 6
"""The visibility timeout is this many times the function's timeout, as AWS recommends."""
EXTRA_RECEIVES = 3
"""A message is received ``retries`` and this many times: the first time, and twice while another
invocation owns the run or too little time is left."""
KEEP_RUNS = 365
"""For how many days the ledger keeps records of runs, if the config does not say."""
ENVIRONMENT_LIMIT = 4096
"""The most bytes of all environment variables of a function."""
_RETENTION = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557)


@dataclass(frozen=True)
class Options:
    """What a deployment may choose in addition to the config."""

    code_version: str = ""
    """The deployed commit (``CODE_VERSION``), for images that do not name their own."""
    architecture: Architecture = "x86_64"
    """The processor of functions, if the config does not choose."""
    ephemeral_storage: int = 2048
    """The size of a function's ``/tmp`` in MB, if the config does not choose."""
    concurrency: int = 10
    """Runs of one config at the same time, if the config does not choose."""
    log_level: str = "INFO"
    """``LOG_LEVEL``."""
    log_retention: int = 90
    """For how many days CloudWatch keeps logs."""
    support: bool = False
    """For tests and emulators: the first stack makes the ledger's table and the alerts topic, and
    roles have no boundary. On AWS, ``bootstrap`` and the CodePipeline stack make these."""
    metric_math: bool = True
    """False for emulators without metric math: alarms use only their first metric."""


def plan_release(
    keys: AwsKeys,
    manifest: Manifest,
    branch: str,
    images: Mapping[str, Code],
    options: Options = Options(),
    *,
    present: Mapping[str, int] | None = None,
    indexes: Sequence[str] | None = None,
) -> Plan:
    """All resources of the pipelines stacks.

    ``images`` is by pipeline; ``present`` the number of the stack of each deployed config
    (``placement.read_stack_numbers``); ``indexes`` are the indexes of the ledger's table.

    Raises:
        ConfigurationError: AWS cannot run some config as it is.
    """
    if keys.account_id is None or keys.region is None or keys.pipelines_repo_name is None:
        raise ValueError("account_id, region and pipelines_repo_name are needed: see aws_problems")
    if options.log_retention not in _RETENTION:
        raise ConfigurationError(
            f"CloudWatch cannot keep logs for {options.log_retention} days",
            next=f"choose one of {', '.join(map(str, _RETENTION))}",
        )
    names = Names(keys.pipelines_repo_name, branch)
    planner = Planner(
        keys, manifest, images, options, names, Place(keys.account_id, keys.region),
        ledger_indexes() if indexes is None else tuple(indexes),
    )  # fmt: skip
    made = {config.id: planner.resources(config) for config in manifest.configs}
    where = placement.assign_stacks({id: found.count for id, found in made.items()}, present)
    alarms = planner.branch_alarms(made.values())
    stacks = tuple(
        _stack(
            number,
            [made[id] for id in made if where[id] == number],
            planner,
            alarms if number == 1 else (),
        )
        for number in sorted(set(where.values()))
    )
    if stacks and options.support:
        stacks = (replace(stacks[0], support=True), *stacks[1:])
    return Plan(
        place=planner.place,
        tags={"branch": tag_value(branch), "repository": tag_value(names.repository)},
        table=names.ledger_table,
        topic=names.alerts_topic,
        stacks=stacks,
        notes=tuple(note for config in manifest.configs for note in _notes(config)),
        backups=keys.ledger_backups is not False,
    )


def outline(keys: AwsKeys, manifest: Manifest, branch: str) -> Plan:
    """The plan without built images, for questions that the config alone answers.

    Raises:
        ConfigurationError: AWS cannot run some config as it is.
    """
    nothing = Image("sha256:" + "0" * 64)
    return plan_release(keys, manifest, branch, {c.pipeline: nothing for c in manifest.configs})


def tag_value(text: str) -> str:
    """``text`` without the characters that AWS does not take in a tag."""
    return re.sub(r"[^\w .:/=+@-]", "-", text)[:256]


def ledger_indexes() -> tuple[str, ...]:
    """The names of the indexes of the ledger's table."""
    from tidegate.targets.aws.ledger import table_definition

    return tuple(i["IndexName"] for i in table_definition().get("GlobalSecondaryIndexes", ()))


def _stack(
    number: int,
    configs: Sequence[ConfigResources],
    planner: Planner,
    alarms: tuple[metrics.Alarm, ...],
) -> StackPlan:
    names, place = planner.names, planner.place
    group = numbered(names.schedule_group, number)
    queues = [
        arn
        for config in configs
        if config.schedules
        for arn in (config.queue.arn, config.queue.dead_letters_arn)
    ]
    arrivals = plan_arrivals(planner, number, configs)
    swept = sweep.plan_sweep(planner, number, configs, arrivals)
    scheduler = Role(
        numbered(names.scheduler_role, number),
        "scheduler.amazonaws.com",
        scheduler_statements(queues, place.arn("lambda", f"function:{swept.function.name}")),
        {
            "StringEquals": {
                "aws:SourceAccount": place.account,
                "aws:SourceArn": place.arn("scheduler", f"schedule-group/{group}"),
            }
        },
        planner.boundary,
        names.role_path,
    )
    alarm_arns = {
        config.id: [place.arn("cloudwatch", f"alarm:{alarm.name}") for alarm in config.alarms]
        for config in configs
    }
    shared = [place.arn("cloudwatch", f"alarm:{alarm.name}") for alarm in (*alarms, swept.alarm)]
    alarm_arns[configs[0].id] = [*shared, *alarm_arns[configs[0].id]]
    body = metrics.dashboard(
        names.base, [config.monitored for config in configs], place.region, alarm_arns
    )
    return StackPlan(
        number=number,
        name=placement.stack_name(names, number),
        configs=tuple(on_bus(config, arrivals, place) for config in configs),
        dashboard=numbered(names.dashboard, number, 255),
        dashboard_body=body,
        schedule_group=group,
        scheduler=scheduler,
        sweep=swept,
        arrivals=arrivals,
        alarms=alarms,
    )


@dataclass(frozen=True)
class Planner:
    """Plans the resources of each config."""

    keys: AwsKeys
    manifest: Manifest
    images: Mapping[str, Code]
    options: Options
    names: Names
    place: Place
    indexes: tuple[str, ...]

    @property
    def boundary(self) -> str:
        """The ARN of the permissions boundary, a policy in the CodePipeline stack; or empty."""
        return "" if self.options.support else self.place.policy(self.names.boundary)

    def branch_alarms(self, configs: Iterable[ConfigResources]) -> tuple[metrics.Alarm, ...]:
        """The alarms that the branch has once."""
        monitored = [config.monitored for config in configs]
        found = metrics.throttles(self.names.branch_alarm("throttles"), monitored)
        return metrics.simplified([found] if found else [], self.options.metric_math)

    def resources(self, config: Config) -> ConfigResources:
        """The resources of one config."""
        queue = self._queue(config)
        function = self._function(config)
        monitored = self._monitored(config, function, queue)
        return ConfigResources(
            id=config.id,
            tags={"config": tag_value(config.name), "pipeline": tag_value(config.pipeline)},
            function=function,
            role=self._role(config, function, queue),
            queue=queue,
            rule=self._rule(config),
            schedules=self._schedules(config),
            alarms=metrics.alarms(monitored, math=self.options.metric_math),
            monitored=monitored,
        )

    def _time(self, config: Config) -> int:
        return min(LONGEST_TIMEOUT, config.timeout + OVERHEAD)

    def _function(self, config: Config) -> Function:
        code = self.images.get(config.pipeline)
        if code is None:
            raise ConfigurationError(
                f"there is no image of the pipeline {config.pipeline}",
                next="build it first: `tidegate release` does",
            )
        return Function(
            name=self.names.function(config.pipeline, config.name),
            description=f"Tidegate: {config.kind} {config.id} of {self.names.base}"[:256],
            code=code,
            image=self.image_uri(code),
            architecture=config.architecture or self.options.architecture,
            memory=config.memory,
            timeout=self._time(config),
            ephemeral_storage=config.ephemeral_storage or self.options.ephemeral_storage,
            environment=self._environment(config, code),
            log_group=self.names.log_group(config.pipeline, config.name),
            log_retention=self.options.log_retention,
            # SQS invokes at least two at the same time: for one, Lambda has to limit it.
            reserved=1 if config.concurrency == 1 else None,
        )

    def image_uri(self, code: Code) -> str:
        """The URI of an image, with its digest; "" for a zip file."""
        if not isinstance(code, Image):
            return ""
        host = f"{self.place.account}.dkr.ecr.{self.place.region}.{self.place.domain}"
        repository = code.repository or self.names.image_repository
        return f"{host}/{repository}@{code.digest}"

    def _environment(self, config: Config, code: Code) -> dict[str, str]:
        release = self.manifest.release(config)
        manifest = Manifest((config,), {config.pipeline: release} if release else {})
        found = {
            "BRANCH": self.names.branch,
            "CONFIG_ID": config.name,
            "LOG_LEVEL": self.options.log_level,
            "PIPELINE_NAME": config.pipeline,
            "RETAIN_INPUT_FILES": "true",
            "TIDEGATE_KEEP_RUNS": str(self.keys.keep_runs or KEEP_RUNS),
            "TSDAT_S3_BUCKET_NAME": self.keys.output_bucket_name or "",
            "TIDEGATE_MANIFEST": dumps(manifest),
            "TIDEGATE_TABLE": self.names.ledger_table,
            metrics.SERVICE: self.names.base,
        }
        if config.kind == "Ingest":
            found["TIDEGATE_INPUT_BUCKET"] = self.keys.input_bucket_name or ""
        # The image's own commit: a push that does not change the image must not change functions.
        version = code.commit if isinstance(code, Image) else ""
        if version := version or self.options.code_version:
            found["CODE_VERSION"] = version  # there is no git in an image
        if isinstance(code, Zip):
            found |= code.environment
        size = sum(len(name) + len(value.encode()) for name, value in found.items())
        if size > ENVIRONMENT_LIMIT - 200:  # the queue's URL is added
            raise ConfigurationError(
                f"the settings of {config.id} are too long for a Lambda function's environment",
                why=f"they take {size} bytes of at most {ENVIRONMENT_LIMIT - 200}",
                next="shorten its `environment:` or `inputs:`",
            )
        return dict(sorted(found.items()))

    def _queue(self, config: Config) -> Queue:
        name = self.names.queue(config.pipeline, config.name)
        dead = self.names.dead_letter_queue(config.pipeline, config.name)
        return Queue(
            name=name,
            arn=self.place.arn("sqs", name),
            dead_letters=dead,
            dead_letters_arn=self.place.arn("sqs", dead),
            visibility=VISIBILITY_FACTOR * self._time(config),
            receives=config.retries + EXTRA_RECEIVES,
            concurrency=max(2, config.concurrency or self.options.concurrency),
        )

    def _role(self, config: Config, function: Function, queue: Queue) -> Role:
        statements = function_statements(
            config,
            self.place,
            input_bucket=self.keys.input_bucket_name or "",
            output_bucket=self.keys.output_bucket_name or "",
            table=self.names.ledger_table,
            indexes=self.indexes,
            queue=queue.arn,
            log_group=self.place.arn("logs", f"log-group:{function.log_group}"),
        )
        name = self.names.role(config.pipeline, config.name)
        return Role(
            name,
            "lambda.amazonaws.com",
            statements,
            boundary=self.boundary,
            path=self.names.role_path,
        )

    def _rule(self, config: Config) -> Rule | None:
        if config.trigger != "S3":
            return None
        name = self.names.rule(config.pipeline, config.name)
        pattern = arrival_pattern(self.keys.input_bucket_name or "", [config.input_path or ""])
        return Rule(name, self.place.arn("events", f"rule/{name}"), pattern)

    def _schedules(self, config: Config) -> tuple[Schedule, ...]:
        if config.trigger != "Cron" or config.schedule is None:
            return ()
        name = self.names.schedule(config.pipeline, config.name)
        message = json.dumps(scheduled(config.id), separators=(",", ":"))
        return tuple(
            # No config has a dot in its name, so no other schedule has this name.
            Schedule(name if n == 1 else _fit(f"{name}.{n}"), expression, message)
            for n, expression in enumerate(aws_expressions(config.schedule), 1)
        )

    def _monitored(self, config: Config, function: Function, queue: Queue) -> MonitoredConfig:
        return MonitoredConfig(
            id=config.id,
            service=self.names.base,
            function=function.name,
            queue=queue.name,
            memory=function.memory,
            one_at_a_time=function.reserved is not None,
            alarm_names={
                about: self.names.alarm(config.pipeline, config.name, about)
                for about in metrics.ALARM_KINDS
            },
        )


def _fit(name: str) -> str:
    return fit(name, limit=64, allowed="A-Za-z0-9_.-")


def _notes(config: Config) -> Iterator[str]:
    if config.concurrency == 1:
        yield (
            f"{config.id}: `concurrency: 1` reserves one of the account's concurrent executions."
            " Lambda keeps 100 unreserved, and new accounts have only 10: ask AWS for more"
        )
