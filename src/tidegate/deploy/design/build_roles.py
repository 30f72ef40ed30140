"""What builds and deployments of a branch may do, and nothing beyond it; pure.

CodePipeline fetches the code and starts the build; the build makes images and asks CloudFormation
for the branch's stacks; CloudFormation alone makes what is in these. Each is limited to the names
of the branch (``Names.all``). And no role that CloudFormation makes may do more than the boundary:
else whoever may push code could make themselves an administrator.
"""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.deploy.core.artifacts import TEMPLATES
from tidegate.deploy.core.history import PARTITIONS
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.roles import Statement
from tidegate.targets.aws.names import Names

_ANY_NAME = "Configs come and go with pushes: the names of their resources begin alike."
_NO_RESOURCE = "AWS takes no resource for this."


def connection_service(connection: str) -> str:
    """The prefix of the actions for a connection: that of its ARN, which may be the older one."""
    return connection.split(":")[2]


def codepipeline_statements(
    place: Place, *, artifacts: str, connection: str, project: str
) -> tuple[Statement, ...]:
    """What CodePipeline may do: fetch the code, and start the build. ``project`` is an ARN."""
    return (
        Statement(
            "Artifacts",
            ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"),
            (place.bucket(artifacts, "*"),),
            why="CodePipeline names the objects that it hands on.",
        ),
        Statement(
            "ArtifactsBucket",
            ("s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"),
            (place.bucket(artifacts),),
        ),
        Statement("Connection", _use(connection), (connection,)),
        Statement("Build", ("codebuild:BatchGetBuilds", "codebuild:StartBuild"), (project,)),
    )


def _use(connection: str) -> tuple[str, ...]:
    return (f"{connection_service(connection)}:UseConnection",)


def build_statements(
    names: Names, place: Place, *, artifacts: str, connection: str | None
) -> tuple[Statement, ...]:
    """What a build may do: make images, and ask CloudFormation for the branch's stacks."""
    statements = [
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            (place.arn("logs", f"log-group:{names.build_log_group}:*"),),
            why="CodeBuild names the streams of the log group.",
        ),
        Statement(
            "Source",
            ("s3:GetObject", "s3:GetObjectVersion"),
            (place.bucket(artifacts, "*"),),
            why="Source code lies under its content, or where CodePipeline has put it.",
        ),
        Statement(
            "SourceBucket",
            ("s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"),
            (place.bucket(artifacts),),
        ),
        Statement(
            "Templates",
            ("s3:PutObject",),
            (place.bucket(artifacts, f"{TEMPLATES}*"),),
            why="Templates are named by their content.",
        ),
        *_image_statements(names, place),
        *_stack_statements(names, place),
        Statement(
            "Releases",
            ("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
            (place.arn("dynamodb", f"table/{names.ledger_table}"),),
            {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": list(PARTITIONS)}},
        ),
        *_look_statements(names, place),
    ]
    if connection is not None:
        statements.append(Statement("Connection", _use(connection), (connection,)))
    return tuple(statements)


def _image_statements(names: Names, place: Place) -> Iterable[Statement]:
    yield Statement("SignIn", ("ecr:GetAuthorizationToken",), ("*",), why=_NO_RESOURCE)
    yield Statement(
        "Images",
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:DescribeImages",
            "ecr:DescribeRepositories",
            "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload",
            "ecr:ListImages",
            "ecr:PutImage",
            "ecr:PutLifecyclePolicy",
            "ecr:UploadLayerPart",
        ),
        (place.arn("ecr", f"repository/{names.image_repository}"),),
    )


def _stack_statements(names: Names, place: Place) -> Iterable[Statement]:
    yield Statement(
        "Stacks",
        (
            "cloudformation:ContinueUpdateRollback",
            "cloudformation:CreateChangeSet",
            "cloudformation:DeleteChangeSet",
            "cloudformation:DeleteStack",
            "cloudformation:DescribeChangeSet",
            "cloudformation:DescribeEvents",
            "cloudformation:DescribeStackEvents",
            "cloudformation:DescribeStackResources",
            "cloudformation:DescribeStacks",
            "cloudformation:ExecuteChangeSet",
            "cloudformation:GetTemplate",
            "cloudformation:ListChangeSets",
            "cloudformation:ListStackResources",
            "cloudformation:RollbackStack",
        ),
        tuple(
            place.arn("cloudformation", f"stack/{name}/*") for name in names.all("pipelines_stack")
        ),
        why="Many configs need several stacks, and AWS adds an id to each stack's name.",
    )
    yield Statement(
        "ChangeSets",
        (
            "cloudformation:DeleteChangeSet",
            "cloudformation:DescribeChangeSet",
            "cloudformation:ExecuteChangeSet",
        ),
        (place.arn("cloudformation", "changeSet/tidegate-*/*"),),
        why="AWS knows change sets by an id of their own, too.",
    )
    yield Statement("ListStacks", ("cloudformation:ListStacks",), ("*",), why=_NO_RESOURCE)
    yield Statement(
        "Deploy",
        ("iam:PassRole",),
        (place.role(names.deploy_role),),
        {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
    )


def _look_statements(names: Names, place: Place) -> Iterable[Statement]:
    """What has been deleted by hand is found by looking for it."""
    yield Statement(
        "Look",
        (
            "cloudwatch:GetDashboard",
            "events:DescribeRule",
            "iam:GetRole",
            "lambda:GetFunctionConfiguration",
            "scheduler:GetScheduleGroup",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
        ),
        (
            *_dashboards(names, place),
            *_of(place, "events", "rule/", names.all("rule")),
            *_roles(names, place),
            *_of(place, "lambda", "function:", names.all("function")),
            *_of(place, "scheduler", "schedule-group/", names.all("schedule_group")),
            *_queues(names, place),
        ),
        why=_ANY_NAME,
    )
    yield Statement(
        "LookAtLists",
        (
            "cloudwatch:DescribeAlarms",
            "lambda:GetEventSourceMapping",
            "logs:DescribeLogGroups",
            "scheduler:ListSchedules",
        ),
        _lists(place),
        why="These are lists, or known by an id only.",
    )


def deploy_statements(names: Names, place: Place, *, boundary: str) -> tuple[Statement, ...]:
    """What CloudFormation may do for the pipelines stacks; ``boundary`` is an ARN.

    Which actions each type of resource takes is said by its schema, under ``handlers``: a test
    compares them.
    """
    functions = _of(place, "lambda", "function:", names.all("function"))
    return (
        Statement("Functions", _FUNCTIONS, functions, why=_ANY_NAME),
        *_mapping_statements(place, functions),
        Statement(
            "Images",
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy"),
            (place.arn("ecr", f"repository/{names.image_repository}"),),
        ),
        *_role_statements(names, place, boundary),
        Statement("Queues", _QUEUES, _queues(names, place), why=_ANY_NAME),
        Statement("Rules", _RULES, _of(place, "events", "rule/", names.all("rule")), why=_ANY_NAME),
        Statement(
            "Schedules",
            _SCHEDULES,
            (
                *_of(place, "scheduler", "schedule-group/", names.all("schedule_group")),
                *(
                    place.arn("scheduler", f"schedule/{group}/*")
                    for group in names.all("schedule_group")
                ),
            ),
            why=_ANY_NAME,
        ),
        Statement("Logs", _LOGS, _log_groups(names, place), why=_ANY_NAME),
        Statement(
            "Alarms", _ALARMS, _of(place, "cloudwatch", "alarm:", names.all("alarm")), why=_ANY_NAME
        ),
        Statement(
            "Dashboards",
            (
                "cloudwatch:DeleteDashboards",
                "cloudwatch:GetDashboard",
                "cloudwatch:ListTagsForResource",
                "cloudwatch:PutDashboard",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
            ),
            _dashboards(names, place),
            why=_ANY_NAME,
        ),
        Statement(
            "Lists",
            ("cloudwatch:DescribeAlarms", "logs:DescribeLogGroups"),
            (place.arn("cloudwatch", "alarm:*"), place.arn("logs", "log-group:*")),
            why="These are lists.",
        ),
    )


def _mapping_statements(place: Place, functions: tuple[str, ...]) -> Iterable[Statement]:
    of_ours = {"ArnLike": {"lambda:FunctionArn": list(functions)}}
    yield Statement(
        "CreateMappings", ("lambda:CreateEventSourceMapping",), ("*",), of_ours, _NO_RESOURCE
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
        "AWS knows them by an id; the condition says whose they are.",
    )
    yield Statement(
        "MappingTags",
        ("lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"),
        by_id,
        why="AWS knows them by an id.",
    )


def _role_statements(names: Names, place: Place, boundary: str) -> Iterable[Statement]:
    roles = _roles(names, place)
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
        _ANY_NAME,
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
        why=_ANY_NAME,
    )
    # A long name may be shortened to what the patterns take in.
    yield Statement(
        "OwnRoles",
        (
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:PassRole",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
        ),
        tuple(
            place.role(name)
            for name in (names.build_role, names.codepipeline_role, names.deploy_role)
        ),
        effect="Deny",
    )
    services = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]
    yield Statement(
        "PassRoles",
        ("iam:PassRole",),
        roles,
        {"StringEquals": {"iam:PassedToService": services}},
        _ANY_NAME,
    )


def boundary_statements(
    names: Names, place: Place, *, buckets: Iterable[str], indexes: Iterable[str]
) -> tuple[Statement, ...]:
    """The most that the roles of functions and schedules may do, whatever their policies say."""
    table = f"table/{names.ledger_table}"
    return (
        Statement(
            "Data",
            (
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
            ),
            tuple(arn for name in buckets for arn in (place.bucket(name), place.bucket(name, "*"))),
            why="A boundary is for all functions; each has its own prefix in its own policy.",
        ),
        Statement(
            "Ledger",
            (
                "dynamodb:BatchGetItem",
                "dynamodb:ConditionCheckItem",
                "dynamodb:DeleteItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:UpdateItem",
            ),
            (
                place.arn("dynamodb", table),
                *(place.arn("dynamodb", f"{table}/index/{index}") for index in indexes),
            ),
        ),
        Statement(
            "Queues",
            (
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ),
            _queues(names, place),
            why=_ANY_NAME,
        ),
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            _log_groups(names, place),
            why=_ANY_NAME,
        ),
    )


def _of(place: Place, service: str, kind: str, patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(place.arn(service, f"{kind}{pattern}") for pattern in patterns)


def _queues(names: Names, place: Place) -> tuple[str, ...]:
    patterns = dict.fromkeys((*names.all("queue"), *names.all("dead_letter_queue")))
    return _of(place, "sqs", "", patterns)


def _roles(names: Names, place: Place) -> tuple[str, ...]:
    patterns = dict.fromkeys((*names.all("role"), *names.all("scheduler_role")))
    return tuple(place.role(pattern) for pattern in patterns)


def _log_groups(names: Names, place: Place) -> tuple[str, ...]:
    """With what comes after the name: streams, or nothing."""
    groups = _of(place, "logs", "log-group:", names.all("log_group"))
    return tuple(arn for group in groups for arn in _ended(group))


def _ended(group: str) -> tuple[str, ...]:
    return (group,) if group.endswith("*") else (group, f"{group}:*")


def _dashboards(names: Names, place: Place) -> tuple[str, ...]:
    # Dashboards are in no region.
    begin = f"arn:{place.partition}:cloudwatch::{place.account}:dashboard/"
    return tuple(f"{begin}{pattern}" for pattern in names.all("dashboard"))


def _lists(place: Place) -> tuple[str, ...]:
    return (
        place.arn("cloudwatch", "alarm:*"),
        place.arn("lambda", "event-source-mapping:*"),
        place.arn("logs", "log-group:*"),
        place.arn("scheduler", "schedule/*/*"),
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
