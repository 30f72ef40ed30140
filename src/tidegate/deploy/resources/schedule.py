"""Schedules of EventBridge Scheduler, which always belong to a group of a stack."""

from __future__ import annotations

from tidegate.deploy.resources.base import AwsContext, ResourceType


class Schedule(ResourceType):
    """What starts a config's runs at its times."""

    type = "AWS::Scheduler::Schedule"
    label = "schedule"
    name_property = "Name"
    existence_checked = True
    useless_without = ("AWS::Scheduler::ScheduleGroup",)

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether a schedule of this name exists, in any group."""
        found = aws.list_all("scheduler", "list_schedules", "Schedules", NamePrefix=name)
        return any(schedule["Name"] == name for schedule in found)
