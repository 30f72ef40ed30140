"""Types that only occur inside stacks, where CloudFormation does all the work with them."""

from __future__ import annotations

from tidegate.deploy.resources.base import ResourceType


class WaitCondition(ResourceType):
    """Keeps a place in a template that has no other resource."""

    type = "AWS::CloudFormation::WaitCondition"
    label = "wait condition"


class NotificationRule(ResourceType):
    """Sends the state of the pipeline to the alerts topic."""

    type = "AWS::CodeStarNotifications::NotificationRule"
    label = "notification rule"
    name_property = "Name"


class InlinePolicy(ResourceType):
    """A policy of a role in a resource of its own."""

    type = "AWS::IAM::Policy"
    label = "policy"
    named = False
    useless_without = ("AWS::IAM::Role",)


class Permission(ResourceType):
    """Who may call a function."""

    type = "AWS::Lambda::Permission"
    label = "permission"
    named = False
    useless_without = ("AWS::Lambda::Function",)


class Subscription(ResourceType):
    """Who receives the messages of a topic."""

    type = "AWS::SNS::Subscription"
    label = "subscription"
    named = False
    useless_without = ("AWS::SNS::Topic",)


class TopicPolicy(ResourceType):
    """Who may publish to a topic."""

    type = "AWS::SNS::TopicPolicy"
    label = "topic policy"
    named = False
    useless_without = ("AWS::SNS::Topic",)


class QueuePolicy(ResourceType):
    """Who may send to a queue."""

    type = "AWS::SQS::QueuePolicy"
    label = "queue policy"
    named = False
    useless_without = ("AWS::SQS::Queue",)
