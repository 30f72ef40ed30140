"""The event bus of a pipelines stack, and the rule that passes events about new files on to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.design.model import TWO_WEEKS, Arrivals
from tidegate.deploy.design.templates.records import Resource
from tidegate.deploy.design.templates.shared import (
    only_tls,
    policy_document,
    rules_may_send,
    service_role,
)

_NO_DEAD_LETTERS = "The sweep takes messages out of it, and leaves those that it cannot read."


def event_bus(planned: Arrivals, tags: Mapping[str, str]) -> Resource:
    """The bus."""
    properties = {"Name": planned.bus, "Description": "Tidegate: new files, for rules of configs"}
    return Resource("EventBus", "AWS::Events::EventBus", properties, tags)


def arrivals(planned: Arrivals, bus: Resource, tags: Mapping[str, str]) -> Iterator[Resource]:
    """What passes events on to the ``bus``."""
    role = service_role("EventsRole", planned.role, tags)
    dead_letters = Resource(
        "ArrivalsDeadLetters",
        "AWS::SQS::Queue",
        {
            "QueueName": planned.dead_letters,
            "MessageRetentionPeriod": TWO_WEEKS,
            "SqsManagedSseEnabled": True,
        },
        tags,
        reasons={"AwsSolutions-SQS3": _NO_DEAD_LETTERS},
    )
    arn = planned.dead_letters_arn
    statements = [only_tls(arn), rules_may_send(arn, [planned.rule.arn])]
    policy = Resource(
        "ArrivalsDeadLettersPolicy",
        "AWS::SQS::QueuePolicy",
        {"Queues": [dead_letters.ref], "PolicyDocument": policy_document(statements)},
    )
    target = {
        "Id": "bus",
        "Arn": bus.arn,
        "RoleArn": role.arn,
        "DeadLetterConfig": {"Arn": dead_letters.arn},
    }
    rule = Resource(
        "ArrivalsRule",
        "AWS::Events::Rule",
        {
            "Name": planned.rule.name,
            "Description": f"New files, for {planned.bus}",
            "EventPattern": dict(planned.rule.pattern),
            "State": "ENABLED",
            "Targets": [target],
        },
        tags,
    )
    yield from (role, dead_letters, policy, rule)
