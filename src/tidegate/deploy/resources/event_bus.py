"""Event buses of EventBridge, but for the default one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.deploy.resources.base import (
    ARRIVALS,
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    numbered_names,
    tag_mapping,
)
from tidegate.deploy.resources.event_rule import delete_rule
from tidegate.targets.aws.names import Names


class EventBus(SearchableType):
    """The event bus of a pipelines stack, on which the rules of its configs are."""

    type = "AWS::Events::EventBus"
    label = "event bus"
    name_property = "Name"
    arn_service = "events"
    arn_prefix = "event-bus/"
    existence_checked = True
    starts_runs = True

    @property
    def plural(self) -> str:
        """What a person calls several of them."""
        return "event buses"

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the event bus exists."""
        return bool(aws.clients.client("events").describe_event_bus(Name=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All event buses with names that start with a prefix, but for the default one."""
        client, more = aws.clients.client("events"), dict[str, Any]()
        while True:
            page = client.list_event_buses(NamePrefix=prefix, **more)
            for bus in page.get("EventBuses", ()):
                if bus["Name"] != "default":
                    yield FoundResource(self, bus["Name"], bus["Arn"], "with its rules")
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of an event bus."""
        answer = aws.clients.client("events").list_tags_for_resource(ResourceARN=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete an event bus with its rules."""
        rules = list(aws.list_all("events", "list_rules", "Rules", EventBusName=found.name))
        for rule in rules:
            delete_rule(aws, rule["Name"], found.name)
        aws.clients.client("events").delete_event_bus(Name=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """One event bus for each pipelines stack."""
        return numbered_names(names.event_bus, 256, MOST_STACKS, ARRIVALS)
