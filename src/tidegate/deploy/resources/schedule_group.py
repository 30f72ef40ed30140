"""Schedule groups of EventBridge Scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    numbered_names,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class ScheduleGroup(SearchableType):
    """The schedules of one pipelines stack."""

    type = "AWS::Scheduler::ScheduleGroup"
    label = "schedule group"
    name_property = "Name"
    arn_service = "scheduler"
    arn_prefix = "schedule-group/"
    existence_checked = True
    starts_runs = True

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the group exists."""
        return bool(aws.clients.client("scheduler").get_schedule_group(Name=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All groups with names that start with a prefix, but for those being deleted."""
        for group in aws.list_all(
            "scheduler", "list_schedule_groups", "ScheduleGroups", NamePrefix=prefix
        ):
            if group.get("State", "ACTIVE") == "ACTIVE":
                yield FoundResource(self, group["Name"], group["Arn"], "with its schedules")

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a group."""
        answer = aws.clients.client("scheduler").list_tags_for_resource(ResourceArn=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a group with its schedules."""
        aws.clients.client("scheduler").delete_schedule_group(Name=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """One group for each pipelines stack."""
        return numbered_names(names.schedule_group, 64, MOST_STACKS)
