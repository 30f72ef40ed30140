"""Topics of SNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    count_in_words,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class Topic(SearchableType):
    """The topic that alerts go to; its physical id is its ARN."""

    type = "AWS::SNS::Topic"
    label = "topic"
    name_property = "TopicName"
    arn_service = "sns"
    holds = "subscribers"

    def contents(self, aws: AwsContext, physical: str) -> str:
        """How many subscribers the topic has."""
        found = aws.list_all(
            "sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=physical
        )
        return count_in_words(sum(1 for _ in found), "subscriber")

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All topics with names that start with a prefix."""
        for topic in aws.list_all("sns", "list_topics", "Topics"):
            name = self.name_of(topic["TopicArn"])
            if name.startswith(prefix):
                yield FoundResource(self, name, topic["TopicArn"], "with its subscriptions")

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a topic."""
        answer = aws.clients.client("sns").list_tags_for_resource(ResourceArn=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a topic with its subscriptions."""
        aws.clients.client("sns").delete_topic(TopicArn=found.arn)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The topic of the branch."""
        return {names.alerts_topic: "alerts"}
