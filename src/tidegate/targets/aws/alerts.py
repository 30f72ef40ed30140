"""The alerts topic of a branch: what is published goes to its subscribers, mostly by e-mail."""

from __future__ import annotations

from tidegate.runtime.notices.digest import Message
from tidegate.targets.aws.clients import Clients, explained

_LONGEST_SUBJECT = 99
_LONGEST_BODY = 200_000


def publish(topic: str, message: Message, clients: Clients) -> None:
    """Send a message to the subscribers of a topic, by its ARN.

    Raises:
        StorageError: AWS does not answer, or denies it.
    """
    with explained("send a message to the topic", topic):
        clients.client("sns").publish(
            TopicArn=topic, Subject=subject_of(message.title), Message=_body(message)
        )


def count_subscribers(topic: str, clients: Clients) -> tuple[int, int]:
    """How many subscriptions a topic has that are confirmed, and that wait for it.

    Raises:
        StorageError: there is no such topic, AWS does not answer, or denies it.
    """
    with explained("read the subscriptions of", topic):
        found = clients.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    return int(found["SubscriptionsConfirmed"]), int(found["SubscriptionsPending"])


def subject_of(title: str) -> str:
    """The subject of an e-mail as SNS takes it: one line of ASCII, up to a hundred characters.

    Source: SNS API Reference, "Publish", parameter "Subject".
    """
    line = " ".join(title.split()).encode("ascii", "replace").decode()
    return line if len(line) <= _LONGEST_SUBJECT else f"{line[: _LONGEST_SUBJECT - 3]}..."


def _body(message: Message) -> str:
    """The title, which the subject may have shortened, and the text: SNS takes 256 kB."""
    text = f"{message.title}\n\n{message.body}"
    while len(text.encode()) > _LONGEST_BODY:
        text = text[: len(text) * 3 // 4]
    return text
