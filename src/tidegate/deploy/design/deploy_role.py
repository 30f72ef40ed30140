"""What CloudFormation may do for the pipelines stacks, and the boundary of their roles; pure.

CloudFormation alone makes the resources in these stacks. No role that it makes may do more than the
boundary allows. Otherwise, everybody who may push code could make themselves an administrator.
"""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.arn_patterns import (
    ANY_NAME,
    NO_RESOURCE,
    dashboard_arns,
    event_bus_arns,
    log_group_arns,
    queue_arns,
    resource_arns,
    role_arns,
    rule_arns,
)
from tidegate.deploy.design.roles import (
    Statement,
    alerts_statement,
    encryption_statements,
    ledger_statement,
    queues_statement,
)
from tidegate.targets.aws.names import Names


def deploy_statements(names: Names, place: Place, *, boundary: str) -> tuple[Statement, ...]:
    """What CloudFormation may do for the pipelines stacks; ``boundary`` is an ARN.

    AWS's schema of each resource type lists the actions that it needs, under ``handlers``. A test
    compares them with these.
    """
    functions = resource_arns(place, "lambda", "function:", names.all("function"))
    return (
        Statement("Functions", _FUNCTIONS, functions, why=ANY_NAME),
        *_mapping_statements(place, functions),
        Statement(
            "Images",
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy"),
            (place.arn("ecr", f"repository/{names.image_repository}"),),
        ),
        *_role_statements(names, place, boundary),
        Statement("Queues", _QUEUES, queue_arns(names, place), why=ANY_NAME),
        Statement("Rules", _RULES, rule_arns(names, place), why=ANY_NAME),
        Statement("EventBuses", _EVENT_BUSES, event_bus_arns(names, place), why=ANY_NAME),
        Statement(
            "Schedules",
            _SCHEDULES,
            (
                *resource_arns(place, "scheduler", "schedule-group/", names.all("schedule_group")),
                *(
                    place.arn("scheduler", f"schedule/{group}/*")
                    for group in names.all("schedule_group")
                ),
            ),
            why=ANY_NAME,
        ),
        Statement("Logs", _LOGS, log_group_arns(names, place), why=ANY_NAME),
        Statement(
            "Alarms",
            _ALARMS,
            resource_arns(place, "cloudwatch", "alarm:", names.all("alarm")),
            why=ANY_NAME,
        ),
        Statement("Dashboards", _DASHBOARDS, dashboard_arns(names, place), why=ANY_NAME),
        Statement(
            "Lists",
            ("cloudwatch:DescribeAlarms", "logs:DescribeLogGroups"),
            (place.arn("cloudwatch", "alarm:*"), place.arn("logs", "log-group:*")),
            why="These actions list resources.",
        ),
    )


def _mapping_statements(place: Place, functions: tuple[str, ...]) -> Iterable[Statement]:
    of_ours = {"ArnLike": {"lambda:FunctionArn": list(functions)}}
    yield Statement(
        "CreateMappings", ("lambda:CreateEventSourceMapping",), ("*",), of_ours, NO_RESOURCE
    )
    by_id = (place.arn("lambda", "event-source-mapping:*"),)
    yield Statement(
        "Mappings",
        (
            "lambda:DeleteEventSourceMapping",
            "lambda:GetEventSourceMapping",
            "lambda:UpdateEventSourceMapping",
        ),
        by_id,
        of_ours,
        "AWS knows them by an id; the condition limits them to the branch's functions.",
    )
    yield Statement(
        "MappingTags",
        ("lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"),
        by_id,
        why="AWS knows them by an id.",
    )


def _role_statements(names: Names, place: Place, boundary: str) -> Iterable[Statement]:
    roles = role_arns(names, place)
    yield Statement(
        "BoundedRoles",
        (
            "iam:CreateRole",
            "iam:DeleteRolePolicy",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
        ),
        roles,
        {"StringEquals": {"iam:PermissionsBoundary": boundary}},
        ANY_NAME,
    )
    yield Statement(
        "Roles",
        (
            "iam:DeleteRole",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
            "iam:UpdateRoleDescription",
        ),
        roles,
        why=ANY_NAME,
    )
    services = ["events.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com"]
    yield Statement(
        "PassRoles",
        ("iam:PassRole",),
        roles,
        {"StringEquals": {"iam:PassedToService": services}},
        ANY_NAME,
    )


def boundary_statements(
    names: Names, place: Place, *, inputs: str | None, outputs: str | None, indexes: Iterable[str]
) -> tuple[Statement, ...]:
    """The most that roles of functions, schedules and event buses may do, whatever their policies
    allow.

    ``inputs`` and ``outputs`` are the buckets. Raw files may be read only, unless both are one.
    """
    return (
        *_bucket_statements(place, inputs, outputs),
        *encryption_statements(place, inputs, outputs),
        ledger_statement(place, names.ledger_table, indexes),
        queues_statement(names, place),
        Statement("Events", ("events:PutEvents",), event_bus_arns(names, place), why=ANY_NAME),
        alerts_statement(names, place),
        Statement(
            "Sweep",
            ("lambda:InvokeFunction",),
            resource_arns(place, "lambda", "function:", names.all("function")),
            why=ANY_NAME,
        ),
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            log_group_arns(names, place),
            why=ANY_NAME,
        ),
    )


def _bucket_statements(
    place: Place, inputs: str | None, outputs: str | None
) -> Iterable[Statement]:
    why = "The boundary is for all functions; each function's own policy names its prefix."
    buckets = [name for name in dict.fromkeys((inputs, outputs)) if name is not None]
    if buckets:
        arns = tuple(
            arn for name in buckets for arn in (place.bucket(name), place.bucket(name, "*"))
        )
        yield Statement("ReadData", ("s3:GetObject", "s3:ListBucket"), arns, why=why)
    if outputs is not None:
        yield Statement(
            "WriteProducts",
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"),
            (place.bucket(outputs, "*"),),
            why=why,
        )


_FUNCTIONS = (
    "lambda:CreateFunction",
    "lambda:DeleteFunction",
    "lambda:DeleteFunctionConcurrency",
    "lambda:GetFunction",
    "lambda:GetFunctionCodeSigningConfig",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionRecursionConfig",
    "lambda:GetFunctionScalingConfig",
    "lambda:GetRuntimeManagementConfig",
    "lambda:ListTags",
    "lambda:PutFunctionConcurrency",
    "lambda:PutFunctionRecursionConfig",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
)
_QUEUES = (
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListQueueTags",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
    "sqs:UntagQueue",
)
_RULES = (
    "events:DeleteRule",
    "events:DescribeRule",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:TagResource",
    "events:UntagResource",
)
_EVENT_BUSES = (
    "events:CreateEventBus",
    "events:DeleteEventBus",
    "events:DescribeEventBus",
    "events:ListTagsForResource",
    "events:TagResource",
    "events:UntagResource",
    "events:UpdateEventBus",
)
_SCHEDULES = (
    "scheduler:CreateSchedule",
    "scheduler:CreateScheduleGroup",
    "scheduler:DeleteSchedule",
    "scheduler:DeleteScheduleGroup",
    "scheduler:GetSchedule",
    "scheduler:GetScheduleGroup",
    "scheduler:ListTagsForResource",
    "scheduler:TagResource",
    "scheduler:UntagResource",
    "scheduler:UpdateSchedule",
)
_LOGS = (
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DeleteRetentionPolicy",
    "logs:DescribeIndexPolicies",
    "logs:GetDataProtectionPolicy",
    "logs:ListTagsForResource",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
    "logs:UntagResource",
)
_ALARMS = (
    "cloudwatch:DeleteAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
)
_DASHBOARDS = (
    "cloudwatch:DeleteDashboards",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutDashboard",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
)
