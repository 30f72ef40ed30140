"""The mappings that feed functions from queues."""

from __future__ import annotations

from tidegate.deploy.resources.base import AwsContext, ResourceType


class EventSourceMapping(ResourceType):
    """What gives the messages of a queue to a function; its physical id is a UUID."""

    type = "AWS::Lambda::EventSourceMapping"
    label = "mapping from queue to function"
    named = False
    existence_checked = True
    useless_without = ("AWS::Lambda::Function", "AWS::SQS::Queue")

    @property
    def plural(self) -> str:
        """What a person calls several of them."""
        return "mappings from queue to function"

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the mapping exists; ``name`` is its UUID."""
        return bool(aws.clients.client("lambda").get_event_source_mapping(UUID=name))
