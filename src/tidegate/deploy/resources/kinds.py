"""Kinds of resources: what a person calls them, what they are named by, what they hold; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {
    "AWS::CloudFormation::WaitCondition": "wait condition",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::CodeBuild::Project": "build project",
    "AWS::CodePipeline::Pipeline": "pipeline of CodePipeline",
    "AWS::CodeStarNotifications::NotificationRule": "notification rule",
    "AWS::DynamoDB::Table": "table",
    "AWS::ECR::Repository": "image repository",
    "AWS::Events::Rule": "rule",
    "AWS::IAM::Policy": "policy",
    "AWS::IAM::ManagedPolicy": "policy",
    "AWS::IAM::Role": "role",
    "AWS::Lambda::EventSourceMapping": "mapping from queue to function",
    "AWS::Lambda::Function": "function",
    "AWS::Lambda::Permission": "permission",
    "AWS::Logs::LogGroup": "log group",
    "AWS::S3::Bucket": "bucket",
    "AWS::S3::BucketPolicy": "bucket policy",
    "AWS::SNS::Subscription": "subscription",
    "AWS::SNS::Topic": "topic",
    "AWS::SNS::TopicPolicy": "topic policy",
    "AWS::SQS::Queue": "queue",
    "AWS::SQS::QueuePolicy": "queue policy",
    "AWS::Scheduler::Schedule": "schedule",
    "AWS::Scheduler::ScheduleGroup": "schedule group",
}
"""What a person calls a resource of each type."""
HOLDS = {
    "AWS::DynamoDB::Table": "items",
    "AWS::ECR::Repository": "images",
    "AWS::Logs::LogGroup": "logs",
    "AWS::S3::Bucket": "objects",
    "AWS::SNS::Topic": "subscribers",
    "AWS::SQS::Queue": "messages",
}
"""What is lost with a resource of each type that holds something."""
NAMES = (
    "AlarmName",
    "BucketName",
    "DashboardName",
    "FunctionName",
    "LogGroupName",
    "QueueName",
    "RepositoryName",
    "RoleName",
    "TableName",
    "TopicName",
    "Name",
)
"""The properties in which a template gives a resource its name."""
NOTHING = "nothing"
"""``Change.contents`` of a resource that is known to be empty."""
_UNNAMED = {"AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission"}


def word(type: str) -> str:
    """What a person calls a resource of some type."""
    return WORDS.get(type, type.removeprefix("AWS::"))


def own_name(resource: Mapping[str, Any]) -> str:
    """The name that a template gives a resource; "" for none."""
    properties = resource.get("Properties", {})
    if resource.get("Type") in _UNNAMED:
        return ""
    return next((v for key in NAMES if isinstance(v := properties.get(key), str)), "")


def name_from(type: str, physical: str) -> str:
    """A name out of what AWS identifies a resource by; "" where that means nothing to a person."""
    if type in _UNNAMED or type.endswith("Policy"):
        return ""
    if physical.startswith(("http://", "https://")):
        return physical.rsplit("/", 1)[-1]
    return physical.rsplit(":", 1)[-1] if physical.startswith("arn:") else physical


def tags_of(tags: Any) -> dict[str, Any]:
    """Tags as a template has them, of which there are two ways."""
    if isinstance(tags, Mapping):
        return dict(tags)
    return {tag["Key"]: tag.get("Value") for tag in tags or () if isinstance(tag, Mapping)}
