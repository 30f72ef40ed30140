"""Queues of SQS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    arrivals_names,
    count_in_words,
)
from tidegate.targets.aws.names import Names


class Queue(SearchableType):
    """A config's queue, or its dead-letter queue; its physical id is its URL."""

    type = "AWS::SQS::Queue"
    label = "queue"
    name_property = "QueueName"
    arn_service = "sqs"
    holds = "messages"
    existence_checked = True

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the queue exists."""
        return bool(aws.clients.sqs.get_queue_url(QueueName=name))

    def contents(self, aws: AwsContext, physical: str) -> str:
        """How many messages are in the queue, those being processed included."""
        kinds: Sequence[Any] = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        answer = aws.clients.sqs.get_queue_attributes(QueueUrl=physical, AttributeNames=list(kinds))
        count = sum(int(value) for value in answer.get("Attributes", {}).values())
        return count_in_words(count, "message")

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All queues with names that start with a prefix."""
        for url in aws.list_all("sqs", "list_queues", "QueueUrls", QueueNamePrefix=prefix):
            yield FoundResource(self, self.name_of(url), url)

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a queue."""
        answer = aws.clients.sqs.list_queue_tags(QueueUrl=found.arn)
        return {str(key): str(value) for key, value in answer.get("Tags", {}).items()}

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a queue with its messages."""
        aws.clients.sqs.delete_queue(QueueUrl=found.arn)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The two queues of each config, and that for events that could not be passed on."""
        found = arrivals_names(names, "dead_letter_queue")
        for pipeline, config in configs:
            found[names.queue(pipeline, config)] = f"{pipeline}/{config}"
            found[names.dead_letter_queue(pipeline, config)] = f"{pipeline}/{config}"
        return found
