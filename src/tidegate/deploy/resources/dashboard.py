"""Dashboards of CloudWatch, which have no tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    numbered_names,
)
from tidegate.targets.aws.names import Names


class Dashboard(SearchableType):
    """The dashboard of one pipelines stack."""

    type = "AWS::CloudWatch::Dashboard"
    label = "dashboard"
    name_property = "DashboardName"
    existence_checked = True

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the dashboard exists."""
        return bool(aws.clients.client("cloudwatch").get_dashboard(DashboardName=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All dashboards with names that start with a prefix."""
        for entry in aws.list_all(
            "cloudwatch", "list_dashboards", "DashboardEntries", DashboardNamePrefix=prefix
        ):
            yield FoundResource(
                self, entry["DashboardName"], entry.get("DashboardArn", ""), tags={}
            )

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """Dashboards have no tags."""
        return {}

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a dashboard."""
        aws.clients.client("cloudwatch").delete_dashboards(DashboardNames=[found.name])

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """One dashboard for each pipelines stack."""
        return numbered_names(names.dashboard, 255, MOST_STACKS)
