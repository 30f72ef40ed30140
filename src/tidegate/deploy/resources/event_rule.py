"""Rules of EventBridge's default bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
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
        """A physical id may have the bus before the name: ``bus|rule``."""
        return super().name_of(physical).rsplit("|", 1)[-1]

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the rule exists."""
        return bool(aws.clients.client("events").describe_rule(Name=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All rules with names that start with a prefix."""
        for rule in aws.list_all("events", "list_rules", "Rules", NamePrefix=prefix):
            schedule = rule.get("ScheduleExpression", "")
            yield FoundResource(self, rule["Name"], rule["Arn"], schedule)

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a rule."""
        answer = aws.clients.client("events").list_tags_for_resource(ResourceARN=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a rule and its targets."""
        client = aws.clients.client("events")
        ids = [
            target["Id"]
            for target in aws.list_all("events", "list_targets_by_rule", "Targets", Rule=found.name)
        ]
        for n in range(0, len(ids), 100):
            client.remove_targets(Rule=found.name, Ids=ids[n : n + 100])
        client.delete_rule(Name=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The rules of the builds, and of each config."""
        found = {
            names.build_rule: "builds",
            names.codepipeline_rule: "builds",
            names.recovery_rule: "alarms",
        }
        for pipeline, config in configs:
            about = f"{pipeline}/{config}"
            found[names.rule(pipeline, config)] = about
            for function in function_names(names, pipeline, config):
                found[f"{function}-cron-rule"] = about
        return found
