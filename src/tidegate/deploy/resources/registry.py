"""All types of AWS resources that Tidegate knows.

A new type is one file with a class, and one line here: it then appears in plans and change sets,
in drift detection and repair, in the inventory, in ``destroy`` and in the search for leftovers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.deploy.resources.alarm import Alarm
from tidegate.deploy.resources.base import ResourceType, SearchableType
from tidegate.deploy.resources.build_project import BuildProject
from tidegate.deploy.resources.codepipeline_pipeline import CodePipelinePipeline
from tidegate.deploy.resources.dashboard import Dashboard
from tidegate.deploy.resources.data_types import (
    Bucket,
    BucketEmptier,
    BucketPolicy,
    GlobalTable,
    Table,
)
from tidegate.deploy.resources.event_bus import EventBus
from tidegate.deploy.resources.event_rule import EventRule
from tidegate.deploy.resources.event_source_mapping import EventSourceMapping
from tidegate.deploy.resources.function import Function
from tidegate.deploy.resources.image_repository import ImageRepository
from tidegate.deploy.resources.label_types import (
    InlinePolicy,
    NotificationRule,
    Permission,
    QueuePolicy,
    Subscription,
    TopicPolicy,
    WaitCondition,
)
from tidegate.deploy.resources.log_group import LogGroup
from tidegate.deploy.resources.managed_policy import ManagedPolicy
from tidegate.deploy.resources.queue import Queue
from tidegate.deploy.resources.role import Role
from tidegate.deploy.resources.schedule import Schedule
from tidegate.deploy.resources.schedule_group import ScheduleGroup
from tidegate.deploy.resources.topic import Topic

RULE = EventRule()
FUNCTION = Function()
LOG_GROUP = LogGroup()
BUILD_PROJECT = BuildProject()
IMAGE_REPOSITORY = ImageRepository()
BUCKET = Bucket()

SEARCHABLE_TYPES: tuple[SearchableType, ...] = (
    RULE,
    EventBus(),
    ScheduleGroup(),
    CodePipelinePipeline(),
    BUILD_PROJECT,
    FUNCTION,
    Alarm(),
    Dashboard(),
    Queue(),
    Role(),
    ManagedPolicy(),
    Topic(),
    IMAGE_REPOSITORY,
    LOG_GROUP,
)
"""The types that are looked for outside stacks, in the order of deletion: first what starts runs,
then what executes them, at last their logs."""

RESOURCE_TYPES: Mapping[str, ResourceType] = {
    one.type: one
    for one in (
        *SEARCHABLE_TYPES,
        Schedule(),
        EventSourceMapping(),
        BUCKET,
        Table(),
        GlobalTable(),
        BucketPolicy(),
        BucketEmptier(),
        WaitCondition(),
        NotificationRule(),
        InlinePolicy(),
        Permission(),
        Subscription(),
        TopicPolicy(),
        QueuePolicy(),
    )
}
"""All types, by CloudFormation's name."""


class _UnknownType(ResourceType):
    """A type that is not in the registry, such as one of a person's own stack."""

    name_property = "Name"

    def __init__(self, type: str) -> None:
        self.type = type
        self.label = type.removeprefix("AWS::")
        self.named = not type.endswith("Policy")


def resource_type(type: str) -> ResourceType:
    """The entry for a type of CloudFormation's; one with no more than a label if it is unknown."""
    return RESOURCE_TYPES.get(type) or _UnknownType(type)


def label_of(type: str) -> str:
    """What a person calls a resource of some type."""
    return resource_type(type).label


def template_name(resource: Mapping[str, Any]) -> str:
    """The name that a template gives a resource; "" if it gives none."""
    return resource_type(str(resource.get("Type", ""))).name_in(resource)


def shown_name(type: str, physical: str) -> str:
    """A name from a physical id; "" if that would mean nothing to a person."""
    found = resource_type(type)
    return found.name_of(physical) if found.named else ""


def identify_arn(arn: str) -> tuple[SearchableType, str] | None:
    """The type and name in an ARN, if it is of a type that is looked for outside stacks; pure."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    for one in SEARCHABLE_TYPES:
        if one.arn_service == parts[2] and parts[5].startswith(one.arn_prefix):
            name = parts[5][len(one.arn_prefix) :]
            return one, one.name_of(name.removesuffix(one.arn_suffix))
    return None
