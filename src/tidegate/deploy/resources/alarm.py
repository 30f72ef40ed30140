"""Alarms of CloudWatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.design import metrics
from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class Alarm(SearchableType):
    """An alarm on the runs of a config."""

    type = "AWS::CloudWatch::Alarm"
    label = "alarm"
    name_property = "AlarmName"
    arn_service = "cloudwatch"
    arn_prefix = "alarm:"
    existence_checked = True

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the alarm exists."""
        answer = aws.clients.client("cloudwatch").describe_alarms(AlarmNames=[name])
        return bool(answer["MetricAlarms"])

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All alarms with names that start with a prefix."""
        for alarm in aws.list_all(
            "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix
        ):
            yield FoundResource(self, alarm["AlarmName"], alarm["AlarmArn"])

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of an alarm."""
        answer = aws.clients.client("cloudwatch").list_tags_for_resource(ResourceARN=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete an alarm."""
        aws.clients.client("cloudwatch").delete_alarms(AlarmNames=[found.name])

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The alarms of the branch, and of each config."""
        shared = {names.branch_alarm(about): "all functions" for about in metrics.BRANCH_ALARMS}
        sweeps = {
            names.branch_alarm("sweep", number): "the sweep" for number in range(1, MOST_STACKS + 1)
        }
        return (
            shared
            | sweeps
            | {
                names.alarm(pipeline, config, about): f"{pipeline}/{config}"
                for pipeline, config in configs
                for about in metrics.ALARM_KINDS
            }
        )
