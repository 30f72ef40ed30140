"""Messages that no function reads: dead letters, and events that EventBridge could not deliver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tidegate.targets.aws.clients import Clients, explained

_AT_ONCE = 10
_POLL, _HIDDEN = 1, 120
"""How long to wait for messages, and for how long nobody else gets them, s."""


@dataclass(frozen=True)
class LeftMessage:
    """One message of a queue."""

    body: str
    """Its text."""
    sent: datetime
    """When it was sent."""
    why: str
    """What EventBridge says about an event that it could not deliver; "" for others."""
    receipt: str
    """What SQS needs to remove it."""


def left_messages(queue: str, most: int, clients: Clients) -> Iterator[LeftMessage]:
    """Up to ``most`` messages of a queue, which stay there until they are removed.

    Raises:
        StorageError: AWS does not answer, or denies it.
    """
    seen = 0
    while seen < most:
        with explained("fetch the messages of", queue):
            answer = clients.sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=min(_AT_ONCE, most - seen),
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=_POLL,
                VisibilityTimeout=_HIDDEN,
            )
        found = answer.get("Messages", [])
        if not found:
            return
        seen += len(found)
        for message in found:
            sent = int(message["Attributes"]["SentTimestamp"]) / 1000
            attributes: Mapping[str, Any] = message.get("MessageAttributes", {})
            why = attributes.get("ERROR_MESSAGE", {}).get("StringValue", "")
            yield LeftMessage(
                message["Body"],
                datetime.fromtimestamp(sent, timezone.utc),
                why,
                message["ReceiptHandle"],
            )


def remove(message: LeftMessage, queue: str, clients: Clients) -> None:
    """Remove a message from its queue; raises StorageError."""
    with explained("remove a message from", queue):
        clients.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message.receipt)
