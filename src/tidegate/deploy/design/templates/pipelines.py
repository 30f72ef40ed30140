"""The pipelines stacks: what each config is on AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidegate.deploy.design import placement
from tidegate.deploy.design.model import ConfigResources, Plan, StackPlan, Zip
from tidegate.deploy.design.templates.shared import (
    ONLY_TLS,
    alerts_topic,
    cdk,
    ledger_table,
    new_stack,
    service_role,
    tag,
)

if TYPE_CHECKING:
    import aws_cdk
    from aws_cdk import aws_cloudwatch, aws_iam, aws_lambda, aws_sqs


def add(app: aws_cdk.App, plan: Plan, planned: StackPlan) -> None:
    """Add one of the pipelines stacks to an app."""
    about = f"Tidegate: pipelines of {plan.tags['repository']} {plan.tags['branch']}"
    stack = new_stack(app, planned.name, about, plan.place, plan.tags)
    ids = [config.id for config in planned.configs]
    stack.add_metadata(placement.METADATA, placement.metadata(ids, planned.number))
    if planned.support:
        ledger_table(stack, plan.table)
        alerts_topic(stack, plan.topic, plan.place)
    group = role = None
    if planned.scheduler is not None:
        from aws_cdk import aws_scheduler

        group = aws_scheduler.CfnScheduleGroup(stack, "Schedules", name=planned.schedule_group)
        role = service_role(stack, "SchedulerRole", planned.scheduler)
    from aws_cdk import aws_cloudwatch

    aws_cloudwatch.CfnDashboard(
        stack,
        "Dashboard",
        dashboard_name=planned.dashboard,
        dashboard_body=planned.dashboard_body,
    )
    for config in planned.configs:
        _Config(stack, plan, config).add(group, role)


class _Config:
    """The resources of one config, in a scope of their own."""

    def __init__(self, stack: aws_cdk.Stack, plan: Plan, config: ConfigResources) -> None:
        from constructs import Construct

        # The scope's name is in all logical ids: they stay, whatever else is in the stack.
        self.scope = Construct(stack, config.id.replace("/", ":"))
        self.plan = plan
        self.config = config
        tag(self.scope, config.tags)

    def add(self, group: Any, scheduler: aws_iam.CfnRole | None) -> None:
        """Add them all."""
        queue, dead_letters = self._queues()
        role = service_role(self.scope, "Role", self.config.role)
        function = self._function(role, queue)
        self._mapping(function, queue)
        self._rule(queue, dead_letters)
        if group is not None and scheduler is not None:
            self._schedules(group, scheduler, queue, dead_letters)
        for planned in self.config.alarms:
            self._alarm(planned)

    def _queues(self) -> tuple[aws_sqs.CfnQueue, aws_sqs.CfnQueue]:
        from aws_cdk import aws_sqs

        planned, rule = self.config.queue, self.config.rule
        dead_letters = aws_sqs.CfnQueue(
            self.scope,
            "DeadLetters",
            queue_name=planned.dead_letters,
            message_retention_period=planned.retention,
            sqs_managed_sse_enabled=True,
            redrive_allow_policy={
                "redrivePermission": "byQueue",
                "sourceQueueArns": [planned.arn],
            },
        )
        queue = aws_sqs.CfnQueue(
            self.scope,
            "Queue",
            queue_name=planned.name,
            message_retention_period=planned.retention,
            visibility_timeout=planned.visibility,
            sqs_managed_sse_enabled=True,
            redrive_policy={
                "deadLetterTargetArn": dead_letters.attr_arn,
                "maxReceiveCount": planned.receives,
            },
        )
        for name, made, arn in (
            ("QueuePolicy", queue, planned.arn),
            ("DeadLettersPolicy", dead_letters, planned.dead_letters_arn),
        ):
            document = _queue_policy(arn, rule.arn if rule else None)
            aws_sqs.CfnQueuePolicy(self.scope, name, queues=[made.ref], policy_document=document)
        return queue, dead_letters

    def _function(self, role: aws_iam.CfnRole, queue: aws_sqs.CfnQueue) -> aws_lambda.CfnFunction:
        from aws_cdk import aws_lambda, aws_logs

        planned = self.config.function
        logs = aws_logs.CfnLogGroup(
            self.scope,
            "Logs",
            log_group_name=planned.log_group,
            retention_in_days=planned.log_retention,
        )
        code: dict[str, Any] = {
            "package_type": "Image",
            "code": aws_lambda.CfnFunction.CodeProperty(image_uri=planned.image),
        }
        if isinstance(planned.code, Zip):
            code = {
                "code": aws_lambda.CfnFunction.CodeProperty(
                    s3_bucket=planned.code.bucket, s3_key=planned.code.key
                ),
                "handler": planned.code.handler,
                "runtime": planned.code.runtime,
            }
        function = aws_lambda.CfnFunction(
            self.scope,
            "Function",
            function_name=planned.name,
            description=planned.description,
            role=role.attr_arn,
            architectures=[planned.architecture],
            memory_size=planned.memory,
            timeout=planned.timeout,
            reserved_concurrent_executions=planned.reserved,
            ephemeral_storage=aws_lambda.CfnFunction.EphemeralStorageProperty(
                size=planned.ephemeral_storage
            ),
            environment=aws_lambda.CfnFunction.EnvironmentProperty(
                variables={**planned.environment, "TIDEGATE_QUEUE_URL": queue.ref}
            ),
            # By reference, so that the group is there first: else Lambda makes one that lasts.
            logging_config=aws_lambda.CfnFunction.LoggingConfigProperty(log_group=logs.ref),
            **code,
        )
        if isinstance(planned.code, Zip):
            acknowledgment = cdk().Acknowledgment(
                id="AwsSolutions-L1",
                reason="Zip files are for emulators, and have the runtime that they were made for.",
            )
            cdk().Validations.of(function).acknowledge(acknowledgment)
        return function

    def _mapping(self, function: aws_lambda.CfnFunction, queue: aws_sqs.CfnQueue) -> None:
        from aws_cdk import aws_lambda

        planned = self.config.queue
        aws_lambda.CfnEventSourceMapping(
            self.scope,
            "Mapping",
            function_name=function.ref,
            event_source_arn=queue.attr_arn,
            batch_size=planned.batch,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=aws_lambda.CfnEventSourceMapping.ScalingConfigProperty(
                maximum_concurrency=planned.concurrency
            ),
        )

    def _rule(self, queue: aws_sqs.CfnQueue, dead_letters: aws_sqs.CfnQueue) -> None:
        from aws_cdk import aws_events

        planned = self.config.rule
        if planned is None:
            return
        aws_events.CfnRule(
            self.scope,
            "Rule",
            name=planned.name,
            description=f"Files for {self.config.id}",
            event_pattern=planned.pattern,
            state="ENABLED",
            targets=[
                aws_events.CfnRule.TargetProperty(
                    id="queue",
                    arn=queue.attr_arn,
                    dead_letter_config=aws_events.CfnRule.DeadLetterConfigProperty(
                        arn=dead_letters.attr_arn
                    ),
                )
            ],
        )

    def _schedules(
        self,
        group: Any,
        role: aws_iam.CfnRole,
        queue: aws_sqs.CfnQueue,
        dead_letters: aws_sqs.CfnQueue,
    ) -> None:
        from aws_cdk import aws_scheduler

        for number, planned in enumerate(self.config.schedules, 1):
            aws_scheduler.CfnSchedule(
                self.scope,
                "Schedule" if number == 1 else f"Schedule{number}",
                name=planned.name,
                description=f"{self.config.id} is due",
                group_name=group.ref,
                schedule_expression=planned.expression,
                schedule_expression_timezone="UTC",
                flexible_time_window=aws_scheduler.CfnSchedule.FlexibleTimeWindowProperty(
                    mode="OFF"
                ),
                state="ENABLED",
                target=aws_scheduler.CfnSchedule.TargetProperty(
                    arn=queue.attr_arn,
                    role_arn=role.attr_arn,
                    input=planned.message,
                    dead_letter_config=aws_scheduler.CfnSchedule.DeadLetterConfigProperty(
                        arn=dead_letters.attr_arn
                    ),
                ),
            )

    def _alarm(self, planned: Any) -> None:
        from aws_cdk import aws_cloudwatch

        plain = planned.metrics[0]
        goes_by: dict[str, Any] = {
            "namespace": plain.namespace,
            "metric_name": plain.name,
            "dimensions": _dimensions(plain.dimensions),
            "statistic": plain.statistic,
            "period": planned.period,
        }
        if planned.expression:
            goes_by = {"metrics": _math(planned)}
        operator = "LessThanThreshold" if planned.below else "GreaterThanThreshold"
        aws_cloudwatch.CfnAlarm(
            self.scope,
            f"Alarm-{planned.about}",
            alarm_name=planned.name,
            alarm_description=planned.description,
            comparison_operator=operator,
            threshold=planned.threshold,
            evaluation_periods=planned.periods,
            datapoints_to_alarm=planned.periods,
            treat_missing_data=planned.missing,
            alarm_actions=[self.plan.topic_arn],
            ok_actions=[self.plan.topic_arn],
            **goes_by,
        )


def _dimensions(
    dimensions: Mapping[str, str],
) -> list[aws_cloudwatch.CfnAlarm.DimensionProperty]:
    from aws_cdk import aws_cloudwatch

    return [
        aws_cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
        for name, value in sorted(dimensions.items())
    ]


def _math(planned: Any) -> Sequence[aws_cloudwatch.CfnAlarm.MetricDataQueryProperty]:
    """The metrics m0, m1, … of an alarm, and the expression over them."""
    from aws_cdk import aws_cloudwatch

    alarm = aws_cloudwatch.CfnAlarm
    queries = [
        alarm.MetricDataQueryProperty(
            id=f"m{number}",
            return_data=False,
            metric_stat=alarm.MetricStatProperty(
                metric=alarm.MetricProperty(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=_dimensions(metric.dimensions),
                ),
                period=planned.period,
                stat=metric.statistic,
            ),
        )
        for number, metric in enumerate(planned.metrics)
    ]
    result = alarm.MetricDataQueryProperty(
        id="result", expression=planned.expression, label=planned.about, return_data=True
    )
    return [*queries, result]


def _queue_policy(queue: str, rule: str | None) -> dict[str, Any]:
    """Nobody without TLS; and the rule may send, if there is one."""
    statements: list[dict[str, Any]] = [
        {
            "Sid": "OnlyTLS",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": queue,
            "Condition": ONLY_TLS,
        }
    ]
    if rule is not None:
        statements.append(
            {
                "Sid": "Rule",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}
