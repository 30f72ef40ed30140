"""Rules of EventBridge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    arrivals_names,
    function_names,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class EventRule(SearchableType):
    """A rule that starts something when an event arrives, or on a schedule."""

    type = "AWS::Events::Rule"
    label = "rule"
    name_property = "Name"
    arn_service = "events"
    arn_prefix = "rule/"
    existence_checked = True
    starts_runs = True
    older_pattern = ("{base}-lambda-", r".+-.+-cron-rule")

    def name_of(self, physical: str) -> str:
        """The name without its bus: in a physical id ``bus|rule``, in an ARN ``rule/bus/rule``."""
        return re.split("[|/]", super().name_of(physical))[-1]

    def arn(self, place: Place, name: str, properties: Mapping[str, Any] = {}) -> str:
        """Its ARN, which has the name of its bus, if it is not the default one.

        "" if a template gives this name by a reference.
        """
        bus = properties.get("EventBusName", "")
        if not isinstance(bus, str):
            return ""
        return super().arn(place, f"{bus}/{name}" if bus else name)

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the rule exists on the default bus."""
        return self.exists_by_id(aws, name)

    def exists_by_id(self, aws: AwsContext, physical: str) -> bool:
        """Whether the rule exists, on the bus in its physical id or on the default one."""
        bus, _, name = physical.rpartition("|")
        on_bus = {"EventBusName": bus} if bus else {}
        return bool(aws.clients.client("events").describe_rule(Name=name, **on_bus))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All rules on the default bus with names that start with a prefix."""
        for rule in aws.list_all("events", "list_rules", "Rules", NamePrefix=prefix):
            schedule = rule.get("ScheduleExpression", "")
            yield FoundResource(self, rule["Name"], rule["Arn"], schedule)

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a rule."""
        answer = aws.clients.client("events").list_tags_for_resource(ResourceARN=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a rule and its targets."""
        delete_rule(aws, found.name, "default")

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The rules of the builds, and of each config."""
        found = {
            names.build_rule: "builds",
            names.codepipeline_rule: "builds",
            names.recovery_rule: "alarms",
            **arrivals_names(names, "rule"),
        }
        for pipeline, config in configs:
            about = f"{pipeline}/{config}"
            found[names.rule(pipeline, config)] = about
            for function in function_names(names, pipeline, config):
                found[f"{function}-cron-rule"] = about
        return found


def delete_rule(aws: AwsContext, name: str, bus: str) -> None:
    """Delete a rule of an event bus, and its targets."""
    client = aws.clients.client("events")
    where = {"Rule": name, "EventBusName": bus}
    targets = aws.list_all("events", "list_targets_by_rule", "Targets", **where)
    ids = [target["Id"] for target in targets]
    for n in range(0, len(ids), 100):
        client.remove_targets(**where, Ids=ids[n : n + 100])
    client.delete_rule(Name=name, EventBusName=bus)
