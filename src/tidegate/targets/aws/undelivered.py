"""Events about new files that EventBridge could not pass on to the event bus of their stack.

EventBridge tries for a day, then it puts the event into a queue of the stack. The sweep sends it to
the queues of the configs that wait for the file, as the rules on the bus would have done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.runtime.events import FileArrived
from tidegate.targets.aws import messages
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.left_messages import LeftMessage, left_messages, remove
from tidegate.targets.aws.messages import FunctionScope, UnreadableMessage
from tidegate.targets.aws.requests import count_messages


def deliver(
    undelivered: str, scopes: Mapping[str, FunctionScope], clients: Clients, log: Any
) -> int:
    """Send events to the queues of their configs, and delete them; returns how many there were.

    ``undelivered`` is the queue with the events; ``scopes`` has, by queue, the config.
    An event may be sent twice, which does no harm.

    Raises:
        StorageError: AWS does not answer, or denies it.
    """
    there = count_messages(undelivered, clients)[0]
    for message in left_messages(undelivered, there, clients):
        _deliver_one(message, undelivered, scopes, clients, log)
    return there


def _deliver_one(
    message: LeftMessage,
    undelivered: str,
    scopes: Mapping[str, FunctionScope],
    clients: Clients,
    log: Any,
) -> None:
    body = message.body
    try:
        queues = [queue for queue, scope in scopes.items() if _waits_for(scope, message)]
    except UnreadableMessage:
        log.error(
            "an undelivered event of EventBridge is not about a file, and stays in its queue",
            extra={"action": "undelivered", "body": body[:2000]},
        )
        return
    for queue in queues:
        with explained("send an event to", queue):
            clients.sqs.send_message(QueueUrl=queue, MessageBody=body)
    remove(message, undelivered, clients)
    log.error(
        "EventBridge could not deliver an event; the sweep has",
        extra={"action": "undelivered", "why": message.why, "queues": queues, "body": body[:2000]},
    )


def _waits_for(scope: FunctionScope, message: LeftMessage) -> bool:
    contents = messages.read(message.body, message.sent, scope)
    return any(isinstance(content, FileArrived) for content in contents)
