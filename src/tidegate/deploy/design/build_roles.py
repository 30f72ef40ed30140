"""What CodePipeline and the builds of a branch may do, and nothing more; pure.

CodePipeline fetches the code and starts a build. The build makes images, and has CloudFormation
deploy the branch's stacks with a role of its own (``deploy_role``). Each role is limited to the
names of the branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.deploy.core.artifacts import TEMPLATES
from tidegate.deploy.core.history import PARTITIONS
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.arn_patterns import (
    ANY_NAME,
    NO_RESOURCE,
    dashboard_arns,
    event_bus_arns,
    missing_role_arns,
    queue_arns,
    resource_arns,
    role_arns,
    rule_arns,
)
from tidegate.deploy.design.roles import Statement
from tidegate.targets.aws.names import Names


def connection_service(connection: str) -> str:
    """The service in a connection's ARN, which its actions begin with too; there are two."""
    return connection.split(":")[2]


def codepipeline_statements(
    place: Place, *, artifacts: str, connection: str, repositories: Sequence[str], project: str
) -> tuple[Statement, ...]:
    """What CodePipeline may do: fetch the code and start the build. ``project`` is an ARN."""
    return (
        Statement(
            "Artifacts",
            ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"),
            (place.bucket(artifacts, "*"),),
            why="CodePipeline chooses the names of the objects that it passes on.",
        ),
        Statement(
            "ArtifactsBucket",
            ("s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"),
            (place.bucket(artifacts),),
        ),
        _use_connection(connection, repositories),
        Statement("Build", ("codebuild:BatchGetBuilds", "codebuild:StartBuild"), (project,)),
    )


def _use_connection(connection: str, repositories: Sequence[str]) -> Statement:
    """Use the connection to GitHub, for the named repositories only.

    Without the condition, it gives access to every repository of the organization. Source: Service
    Authorization Reference, "Actions, resources, and condition keys for AWS CodeConnections".
    """
    service = connection_service(connection)
    return Statement(
        "Connection",
        (f"{service}:UseConnection",),
        (connection,),
        {"StringEquals": {f"{service}:FullRepositoryId": list(repositories)}},
    )


def build_statements(
    names: Names,
    place: Place,
    *,
    artifacts: str,
    connection: str | None,
    repositories: Sequence[str] = (),
) -> tuple[Statement, ...]:
    """What a build may do: make images, and have CloudFormation deploy the branch's stacks."""
    statements = [
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            (place.arn("logs", f"log-group:{names.build_log_group}:*"),),
            why="CodeBuild chooses the names of the log streams.",
        ),
        Statement(
            "Source",
            ("s3:GetObject", "s3:GetObjectVersion"),
            (place.bucket(artifacts, "*"),),
            why="Source code is named by its content, or by CodePipeline.",
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
        statements.append(_use_connection(connection, repositories))
    return tuple(statements)


def _image_statements(names: Names, place: Place) -> Iterable[Statement]:
    yield Statement("SignIn", ("ecr:GetAuthorizationToken",), ("*",), why=NO_RESOURCE)
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
        why="AWS also knows change sets by an id of their own.",
    )
    yield Statement("ListStacks", ("cloudformation:ListStacks",), ("*",), why=NO_RESOURCE)
    yield Statement(
        "Deploy",
        ("iam:PassRole",),
        (place.role(names.deploy_role),),
        {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
    )


def _look_statements(names: Names, place: Place) -> Iterable[Statement]:
    """Before an update, a build looks for resources that someone deleted by hand."""
    yield Statement(
        "Look",
        (
            "cloudwatch:GetDashboard",
            "events:DescribeEventBus",
            "events:DescribeRule",
            "iam:GetRole",
            "lambda:GetFunctionConfiguration",
            "scheduler:GetScheduleGroup",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
        ),
        (
            *dashboard_arns(names, place),
            *event_bus_arns(names, place),
            *rule_arns(names, place),
            *role_arns(names, place),
            *missing_role_arns(names, place),
            *resource_arns(place, "lambda", "function:", names.all("function")),
            *resource_arns(place, "scheduler", "schedule-group/", names.all("schedule_group")),
            *queue_arns(names, place),
        ),
        why=ANY_NAME,
    )
    yield Statement(
        "LookAtLists",
        (
            "cloudwatch:DescribeAlarms",
            "lambda:GetEventSourceMapping",
            "logs:DescribeLogGroups",
            "scheduler:ListSchedules",
        ),
        _list_arns(place),
        why="These actions list resources, or know them by an id only.",
    )


def _list_arns(place: Place) -> tuple[str, ...]:
    return (
        place.arn("cloudwatch", "alarm:*"),
        place.arn("lambda", "event-source-mapping:*"),
        place.arn("logs", "log-group:*"),
        place.arn("scheduler", "schedule/*/*"),
    )
