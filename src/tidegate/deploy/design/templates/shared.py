"""Resources that several stacks have: roles, the ledger's table, the topic for alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.roles import Role, Statement
from tidegate.deploy.design.templates.records import Resource

ONLY_TLS = {"Bool": {"aws:SecureTransport": "false"}}
"""The condition of a statement that denies requests without TLS."""


def only_tls(queue: str) -> dict[str, Any]:
    """The statement of a queue's policy that denies requests without TLS; ``queue`` is an ARN."""
    return {
        "Sid": "OnlyTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": queue,
        "Condition": ONLY_TLS,
    }


def rules_may_send(queue: str, rules: Sequence[str]) -> dict[str, Any]:
    """The statement of a queue's policy that lets rules of EventBridge send; all are ARNs."""
    return {
        "Sid": "Rule",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": list(rules)}},
    }


def service_role(id: str, planned: Role, tags: Mapping[str, str]) -> Resource:
    """A role of an AWS service, or of an identity provider's users, with its permissions."""
    trust: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": planned.service},
        "Action": "sts:AssumeRole",
    }
    if planned.provider:
        trust |= {
            "Principal": {"Federated": planned.provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
        }
    if planned.trust:
        trust["Condition"] = dict(planned.trust)
    return Resource(
        id,
        "AWS::IAM::Role",
        {
            "RoleName": planned.name,
            "Path": planned.path if planned.path != "/" else None,
            "AssumeRolePolicyDocument": policy_document([trust]),
            "PermissionsBoundary": planned.boundary or None,
            "Policies": [
                {
                    "PolicyName": "tidegate",
                    "PolicyDocument": policy_document(s.document() for s in planned.statements),
                }
            ],
        },
        tags,
        reasons=wildcard_reasons(planned.statements),
    )


def policy_document(statements: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": [dict(one) for one in statements]}


def wildcard_reasons(statements: Iterable[Statement]) -> dict[str, str]:
    """Why a policy has resources with a ``*`` in them, for cdk-nag."""
    return {
        f"AwsSolutions-IAM5[Resource::{resource}]": statement.why
        for statement in statements
        for resource in statement.resources
        if statement.why and "*" in resource
    }


def ledger_table(name: str, tags: Mapping[str, str]) -> Resource:
    """The ledger's table: with backups, kept when its stack is deleted, and hard to delete."""
    from tidegate.targets.aws.ledger import TIME_TO_LIVE, table_definition

    definition = table_definition()
    indexes = definition.get("GlobalSecondaryIndexes", ())
    return Resource(
        "Ledger",
        "AWS::DynamoDB::Table",
        {
            "TableName": name,
            "BillingMode": definition["BillingMode"],
            "AttributeDefinitions": definition["AttributeDefinitions"],
            "KeySchema": definition["KeySchema"],
            "GlobalSecondaryIndexes": list(indexes) or None,
            "TimeToLiveSpecification": {"AttributeName": TIME_TO_LIVE, "Enabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "DeletionProtectionEnabled": True,
        },
        tags,
        retain=True,
    )


def alerts_topic(
    name: str, place: Place, tags: Mapping[str, str], *, eventbridge: bool = False
) -> tuple[Resource, Resource]:
    """The topic for alarms, and for messages of rules of ``eventbridge``, and its policy."""
    topic = Resource("Alerts", "AWS::SNS::Topic", {"TopicName": name}, tags)
    arn = place.arn("sns", name)

    def allow(sid: str, service: str) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sns:Publish",
            "Resource": arn,
        }

    deny = {
        "Sid": "OnlyTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": arn,
        "Condition": ONLY_TLS,
    }
    own_account = {"StringEquals": {"aws:SourceAccount": place.account}}
    statements = [deny, {**allow("Alarms", "cloudwatch.amazonaws.com"), "Condition": own_account}]
    if eventbridge:
        # EventBridge does not support conditions in the policies of topics: with one, it drops
        # messages silently. Source: EventBridge, "Using resource-based policies for Amazon
        # EventBridge", section "Amazon SNS permissions".
        statements.append(allow("Builds", "events.amazonaws.com"))
    policy = Resource(
        "AlertsPolicy",
        "AWS::SNS::TopicPolicy",
        {"Topics": [topic.ref], "PolicyDocument": policy_document(statements)},
    )
    return topic, policy
