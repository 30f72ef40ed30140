"""What of a stack is really there, and what is in it: asked of the services themselves.

CloudFormation's own drift detection would do, but takes minutes for a full stack. One look at each
resource, several at a time, takes a second or two; only a plain "there is no such thing" counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from tidegate.deploy.resources.kinds import HOLDS, NOTHING
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing, code_of, explained

_AT_ONCE = 6
_GONE = {  # what services say of what is not there
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "QueueDoesNotExist",
    "RepositoryNotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
}
_TEXTS = 1000


@dataclass(frozen=True)
class Resource:
    """A resource of a stack, as CloudFormation knows it."""

    logical: str
    """Its id in the template."""
    type: str
    """Its type."""
    physical: str
    """What AWS identifies it by."""
    status: str = ""
    """What last happened to it."""
    reason: str = ""
    """AWS's remark."""

    @property
    def name(self) -> str:
        """The last part of what it is identified by."""
        return self.physical.rsplit("/", 1)[-1] if "://" in self.physical else self.physical

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Resource:
        """The resource that an entry of ``list_stack_resources`` tells of."""
        return cls(
            str(record["LogicalResourceId"]),
            str(record["ResourceType"]),
            str(record.get("PhysicalResourceId") or ""),
            str(record.get("ResourceStatus", "")),
            str(record.get("ResourceStatusReason") or ""),
        )


@dataclass(frozen=True)
class Looked:
    """What was found out."""

    gone: tuple[Resource, ...]
    """What is not there any more."""
    unseen: tuple[str, ...]
    """Types of resources that could not be looked for."""


def look(clients: Clients, resources: Iterable[Resource]) -> Looked:
    """Look which resources of a stack are there."""
    asked = [r for r in resources if r.type in _LOOKS and r.physical]
    with ThreadPoolExecutor(_AT_ONCE, "tidegate-look") as pool:
        found = list(pool.map(partial(_there, clients), asked))
    gone = tuple(resource for resource, there in zip(asked, found) if there is False)
    unseen = {resource.type for resource, there in zip(asked, found) if there is None}
    return Looked(gone, tuple(sorted(unseen)))


def contents(clients: Clients, resources: Iterable[Resource]) -> dict[str, str]:
    """What is in resources that hold something, in words, by logical id; where it is known."""
    asked = [r for r in resources if r.type in HOLDS and r.physical]
    with ThreadPoolExecutor(_AT_ONCE, "tidegate-look") as pool:
        found = list(pool.map(partial(_inside, clients), asked))
    return {resource.logical: told for resource, told in zip(asked, found) if told}


def _there(clients: Clients, resource: Resource) -> bool | None:
    """Whether a resource is there; None where that cannot be told."""
    try:
        with explained(f"look for {resource.name}"):
            return _LOOKS[resource.type](clients, resource.name)
    except Missing:
        return False
    except TidegateError as error:
        return False if code_of(error) in _GONE else None


def _inside(clients: Clients, resource: Resource) -> str:
    try:
        with explained(f"look into {resource.name}"):
            return _CONTENTS[resource.type](clients, resource.physical)
    except Missing:
        return NOTHING
    except TidegateError as error:
        return NOTHING if code_of(error) in _GONE else ""


def _alarm(clients: Clients, name: str) -> bool:
    return bool(clients.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"])


def _dashboard(clients: Clients, name: str) -> bool:
    return bool(clients.client("cloudwatch").get_dashboard(DashboardName=name))


def _function(clients: Clients, name: str) -> bool:
    return bool(clients.client("lambda").get_function_configuration(FunctionName=name))


def _mapping(clients: Clients, uuid: str) -> bool:
    return bool(clients.client("lambda").get_event_source_mapping(UUID=uuid))


def _queue(clients: Clients, name: str) -> bool:
    return bool(clients.sqs.get_queue_url(QueueName=name))


def _rule(clients: Clients, name: str) -> bool:
    return bool(clients.client("events").describe_rule(Name=name))


def _role(clients: Clients, name: str) -> bool:
    return bool(clients.client("iam").get_role(RoleName=name))


def _group(clients: Clients, name: str) -> bool:
    return bool(clients.client("scheduler").get_schedule_group(Name=name))


def _schedule(clients: Clients, name: str) -> bool:
    pages = clients.client("scheduler").get_paginator("list_schedules").paginate(NamePrefix=name)
    return any(one["Name"] == name for page in pages for one in page["Schedules"])


def _logs(clients: Clients, name: str) -> Mapping[str, Any] | None:
    pages = clients.client("logs").get_paginator("describe_log_groups")
    groups = (g for page in pages.paginate(logGroupNamePrefix=name) for g in page["logGroups"])
    return next((group for group in groups if group["logGroupName"] == name), None)


def _log_group(clients: Clients, name: str) -> bool:
    return _logs(clients, name) is not None


_LOOKS: Mapping[str, Callable[[Clients, str], bool]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::Dashboard": _dashboard,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Lambda::Function": _function,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::SQS::Queue": _queue,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::Scheduler::ScheduleGroup": _group,
}


def _messages(clients: Clients, url: str) -> str:
    kinds: Sequence[Any] = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    told = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(kinds))
    count = sum(int(value) for value in told.get("Attributes", {}).values())
    return _counted(count, "message")


def _log_bytes(clients: Clients, name: str) -> str:
    group = _logs(clients, name)
    stored = 0 if group is None else int(group.get("storedBytes", 0))
    # AWS counts some hours late: none counted does not mean that there are none.
    if not stored:
        return ""
    return f"{stored / 1e6:.1f} MB of logs" if stored >= 100_000 else "less than 0.1 MB of logs"


def _objects(clients: Clients, name: str) -> str:
    found = clients.s3.list_objects_v2(Bucket=name, MaxKeys=_TEXTS)
    count = int(found.get("KeyCount", 0))
    more = "more than " if found.get("IsTruncated") else ""
    return more + _counted(count, "object") if count else NOTHING


def _items(clients: Clients, name: str) -> str:
    found = clients.dynamodb.scan(TableName=name, Limit=1, Select="COUNT")
    return "all its items" if found["Count"] else NOTHING


def _images(clients: Clients, name: str) -> str:
    pages = clients.client("ecr").get_paginator("list_images").paginate(repositoryName=name)
    return _counted(sum(len(page["imageIds"]) for page in pages), "image")


def _subscribers(clients: Clients, arn: str) -> str:
    pages = clients.client("sns").get_paginator("list_subscriptions_by_topic")
    count = sum(len(page["Subscriptions"]) for page in pages.paginate(TopicArn=arn))
    return _counted(count, "subscriber")


def _counted(count: int, what: str) -> str:
    if not count:
        return NOTHING
    return f"{count:,} {what}{'' if count == 1 else 's'}"


_CONTENTS: Mapping[str, Callable[[Clients, str], str]] = {
    "AWS::DynamoDB::Table": _items,
    "AWS::ECR::Repository": _images,
    "AWS::Logs::LogGroup": _log_bytes,
    "AWS::S3::Bucket": _objects,
    "AWS::SNS::Topic": _subscribers,
    "AWS::SQS::Queue": _messages,
}
