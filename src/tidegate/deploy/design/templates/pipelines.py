"""The templates of the pipelines stacks: the resources of each config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.deploy.design import placement
from tidegate.deploy.design.metrics import Alarm
from tidegate.deploy.design.model import (
    ConfigResources,
    Function,
    Plan,
    Schedule,
    StackPlan,
    Sweep,
    Zip,
)
from tidegate.deploy.design.templates.arrivals import arrivals, event_bus
from tidegate.deploy.design.templates.records import (
    Resource,
    Template,
    logical_id,
    make_template,
)
from tidegate.deploy.design.templates.shared import (
    alerts_topic,
    ledger_table,
    only_tls,
    policy_document,
    rules_may_send,
    service_role,
)


def pipelines_template(plan: Plan, stack: StackPlan) -> Template:
    """The template of one of the pipelines stacks."""
    ids = [config.id for config in stack.configs]
    return make_template(
        stack.name,
        f"Tidegate: pipelines of {plan.tags['repository']} {plan.tags['branch']}",
        plan.tags,
        _resources(plan, stack),
        {"Metadata": {placement.METADATA: placement.metadata(ids, stack.number)}},
    )


def _resources(plan: Plan, stack: StackPlan) -> Iterator[Resource]:
    if stack.support:
        yield ledger_table(plan.table, plan.tags)
        yield from alerts_topic(plan.topic, plan.place, plan.tags)
    name = {"Name": stack.schedule_group}
    group = Resource("Schedules", "AWS::Scheduler::ScheduleGroup", name, plan.tags)
    role = service_role("SchedulerRole", stack.scheduler, plan.tags)
    yield from (group, role)
    yield from _sweep(plan, stack.sweep, group, role)
    yield Resource(
        "Dashboard",
        "AWS::CloudWatch::Dashboard",
        {"DashboardName": stack.dashboard, "DashboardBody": stack.dashboard_body},
        plan.tags,
    )
    for alarm in stack.alarms:
        yield _shared_alarm(plan, alarm)
    bus = None
    if stack.arrivals is not None:
        bus = event_bus(stack.arrivals, plan.tags)
        yield bus
        yield from arrivals(stack.arrivals, bus, plan.tags)
    for config in stack.configs:
        yield from _ConfigTemplate(plan, config).resources(group, role, bus)


def _sweep(plan: Plan, planned: Sweep, group: Resource, scheduler: Resource) -> Iterator[Resource]:
    logs = Resource("SweepLogs", "AWS::Logs::LogGroup", _log_group(planned.function), plan.tags)
    role = service_role("SweepRole", planned.role, plan.tags)
    function = _function(
        "SweepFunction", planned.function, role, logs, planned.handler, {}, plan.tags
    )
    yield from (logs, role, function)
    target = {
        "Arn": function.arn,
        "RoleArn": scheduler.arn,
        "Input": planned.schedule.message,
        # The next sweep does what this one should have done.
        "RetryPolicy": {"MaximumRetryAttempts": 0},
    }
    yield _schedule("SweepSchedule", planned.schedule, "The sweep is due", group, target)
    yield _shared_alarm(plan, planned.alarm)


def _shared_alarm(plan: Plan, alarm: Alarm) -> Resource:
    id = "".join(word.capitalize() for word in alarm.about.split("-"))
    properties = _alarm_properties(alarm, plan.topic_arn)
    return Resource(f"{id}Alarm", "AWS::CloudWatch::Alarm", properties, plan.tags)


def _log_group(planned: Function) -> dict[str, Any]:
    return {"LogGroupName": planned.log_group, "RetentionInDays": planned.log_retention}


def _schedule(
    id: str, planned: Schedule, description: str, group: Resource, target: Mapping[str, Any]
) -> Resource:
    # CloudFormation takes no tags for a schedule: its group has them.
    return Resource(
        id,
        "AWS::Scheduler::Schedule",
        {
            "Name": planned.name,
            "Description": description,
            "GroupName": group.ref,
            "ScheduleExpression": planned.expression,
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": dict(target),
        },
    )


def _function(
    id: str,
    planned: Function,
    role: Resource,
    logs: Resource,
    handler: str,
    variables: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Resource:
    """A function; ``handler`` is its entry point, "" for that of its image."""
    code: dict[str, Any] = {"PackageType": "Image", "Code": {"ImageUri": planned.image}}
    if handler:
        code["ImageConfig"] = {"Command": [handler]}
    reasons = {}
    if isinstance(planned.code, Zip):
        code = {
            "Code": {"S3Bucket": planned.code.bucket, "S3Key": planned.code.key},
            "Handler": handler or planned.code.handler,
            "Runtime": planned.code.runtime,
        }
        why = "Zip files are for emulators, and have the runtime that they were made for."
        reasons = {"AwsSolutions-L1": why}
    return Resource(
        id,
        "AWS::Lambda::Function",
        {
            "FunctionName": planned.name,
            "Description": planned.description,
            "Role": role.arn,
            "Architectures": [planned.architecture],
            "MemorySize": planned.memory,
            "Timeout": planned.timeout,
            "ReservedConcurrentExecutions": planned.reserved,
            "EphemeralStorage": {"Size": planned.ephemeral_storage},
            "Environment": {"Variables": {**planned.environment, **variables}},
            # By reference, so that the log group exists first. Otherwise Lambda makes one that
            # no stack deletes.
            "LoggingConfig": {"LogGroup": logs.ref},
            # A run that fails because of its files is followed by runs of its parts, each queued by
            # the one before. Lambda would stop such a chain after about 16 turns. Source: Lambda
            # Developer Guide, "Use Lambda recursive loop detection to prevent infinite loops".
            "RecursiveLoop": None if handler else "Allow",
            **code,
        },
        tags,
        reasons=reasons,
    )


class _ConfigTemplate:
    """The resources of one config, in CloudFormation's terms."""

    def __init__(self, plan: Plan, config: ConfigResources) -> None:
        self.plan = plan
        self.config = config
        self.tags = {**plan.tags, **config.tags}

    def resources(
        self, group: Resource, scheduler: Resource, bus: Resource | None
    ) -> Iterator[Resource]:
        """All of them; ``group`` and ``scheduler`` are those of the stack's schedules.

        ``bus`` is the stack's event bus, if it has one.
        """
        config = self.config
        dead_letters, queue = self._queues()
        role = service_role(self._id("Role"), config.role, self.tags)
        logs = self._resource("Logs", "AWS::Logs::LogGroup", _log_group(config.function))
        function = self._function(role, queue, logs)
        yield from (dead_letters, queue)
        yield self._queue_policy("QueuePolicy", queue, config.queue.arn)
        yield self._queue_policy("DeadLettersPolicy", dead_letters, config.queue.dead_letters_arn)
        yield from (role, logs, function, self._mapping(function, queue))
        yield from self._rule(bus, queue, dead_letters)
        yield from self._schedules(group, scheduler, queue, dead_letters)
        for alarm in config.alarms:
            properties = _alarm_properties(alarm, self.plan.topic_arn)
            yield self._resource(f"Alarm-{alarm.about}", "AWS::CloudWatch::Alarm", properties)

    def _id(self, name: str) -> str:
        # The config's id is part of the path, so other configs of the stack never change it.
        return logical_id((self.config.id.replace("/", ":"), name))

    def _resource(self, name: str, type: str, properties: Mapping[str, Any]) -> Resource:
        return Resource(self._id(name), type, properties, self.tags)

    def _queues(self) -> tuple[Resource, Resource]:
        """The dead-letter queue and the queue."""
        planned = self.config.queue
        dead_letters = self._resource(
            "DeadLetters",
            "AWS::SQS::Queue",
            {
                "QueueName": planned.dead_letters,
                "MessageRetentionPeriod": planned.retention,
                "SqsManagedSseEnabled": True,
                "RedriveAllowPolicy": {
                    "redrivePermission": "byQueue",
                    "sourceQueueArns": [planned.arn],
                },
            },
        )
        queue = self._resource(
            "Queue",
            "AWS::SQS::Queue",
            {
                "QueueName": planned.name,
                "MessageRetentionPeriod": planned.retention,
                "VisibilityTimeout": planned.visibility,
                "SqsManagedSseEnabled": True,
                "RedrivePolicy": {
                    "deadLetterTargetArn": dead_letters.arn,
                    "maxReceiveCount": planned.receives,
                },
            },
        )
        return dead_letters, queue

    def _queue_policy(self, name: str, queue: Resource, arn: str) -> Resource:
        """Denies requests without TLS, and lets the config's rule send, if there is one."""
        statements = [only_tls(arn)]
        rule = self.config.rule
        if rule is not None:
            # Older versions of Tidegate had the rule on the default bus. It may send, too, because
            # an update removes it at the very end.
            older = self.plan.place.arn("events", f"rule/{rule.name}")
            statements.append(rules_may_send(arn, [rule.arn, older]))
        properties = {"Queues": [queue.ref], "PolicyDocument": policy_document(statements)}
        return Resource(self._id(name), "AWS::SQS::QueuePolicy", properties)

    def _function(self, role: Resource, queue: Resource, logs: Resource) -> Resource:
        variables = {"TIDEGATE_QUEUE_URL": queue.ref}
        planned = self.config.function
        return _function(self._id("Function"), planned, role, logs, "", variables, self.tags)

    def _mapping(self, function: Resource, queue: Resource) -> Resource:
        planned = self.config.queue
        return self._resource(
            "Mapping",
            "AWS::Lambda::EventSourceMapping",
            {
                "FunctionName": function.ref,
                "EventSourceArn": queue.arn,
                "BatchSize": planned.batch,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": planned.concurrency},
            },
        )

    def _rule(
        self, bus: Resource | None, queue: Resource, dead_letters: Resource
    ) -> Iterator[Resource]:
        planned = self.config.rule
        if planned is not None and bus is not None:
            target = {
                "Id": "queue",
                "Arn": queue.arn,
                "DeadLetterConfig": {"Arn": dead_letters.arn},
            }
            # Not "Rule": that was the one on the default bus. CloudFormation would move it, with an
            # interruption; like this, it creates the new one before it deletes the other.
            yield self._resource(
                "BusRule",
                "AWS::Events::Rule",
                {
                    "Name": planned.name,
                    "EventBusName": bus.ref,
                    "Description": f"Files for {self.config.id}",
                    "EventPattern": dict(planned.pattern),
                    "State": "ENABLED",
                    "Targets": [target],
                },
            )

    def _schedules(
        self, group: Resource, role: Resource, queue: Resource, dead_letters: Resource
    ) -> Iterator[Resource]:
        for number, planned in enumerate(self.config.schedules, 1):
            target = {
                "Arn": queue.arn,
                "RoleArn": role.arn,
                "Input": planned.message,
                "DeadLetterConfig": {"Arn": dead_letters.arn},
            }
            id = self._id("Schedule" if number == 1 else f"Schedule{number}")
            yield _schedule(id, planned, f"{self.config.id} is due", group, target)


def _alarm_properties(planned: Alarm, topic: str) -> dict[str, Any]:
    """No ``OKActions``: these would also send a message when a new alarm is first evaluated.

    A rule of the CodePipeline stack reports alarms that are over. Source: CloudWatch User Guide,
    "Alarm events and EventBridge".
    """
    return {
        "AlarmName": planned.name,
        "AlarmDescription": planned.description,
        "ComparisonOperator": "LessThanThreshold" if planned.below else "GreaterThanThreshold",
        "Threshold": planned.threshold,
        "EvaluationPeriods": planned.periods,
        "DatapointsToAlarm": planned.periods,
        "TreatMissingData": planned.missing,
        "AlarmActions": [topic],
        "InsufficientDataActions": [topic] if planned.missing == "missing" else None,
        **(_metric_math(planned) if planned.expression else _one_metric(planned)),
    }


def _one_metric(alarm: Alarm) -> dict[str, Any]:
    metric = alarm.metrics[0]
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": _dimensions(metric.dimensions) or None,
        "Statistic": metric.statistic,
        "Period": alarm.period,
    }


def _metric_math(alarm: Alarm) -> dict[str, Any]:
    """The metrics m0, m1, … of an alarm, and the expression over them."""
    queries: list[dict[str, Any]] = [
        {
            "Id": f"m{number}",
            "ReturnData": False,
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    **({"Dimensions": found} if (found := _dimensions(metric.dimensions)) else {}),
                },
                "Period": alarm.period,
                "Stat": metric.statistic,
            },
        }
        for number, metric in enumerate(alarm.metrics)
    ]
    result = {
        "Id": "result",
        "Expression": alarm.expression,
        "Label": alarm.about,
        "ReturnData": True,
    }
    return {"Metrics": [*queries, result]}


def _dimensions(dimensions: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(dimensions.items())]
