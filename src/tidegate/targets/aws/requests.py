"""Requests for runs: sent to the config's own queue, as the function reads them.

A request on AWS goes through the queue, not around it: there it is retried, counted and, at last,
put with the dead letters like anything else that is to be done.

Dead letters go back the same way. What came of their runs is on record: those that were done, or
have failed for good, come to nothing. What no function could even put on record is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from tidegate.errors import StorageError
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Run
from tidegate.targets.aws import messages
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.ledger import DynamoLedger

LONGEST_MESSAGE = 200_000
"""Runs that take more than this to write down, in bytes, are kept in the ledger meanwhile."""

_AT_ONCE = 10
_LOOKS_FOR, _HELD_FOR = 1, 60
"""How long to wait for dead letters, and in what time they must be back in their queue, s."""
_KEPT_FOR = timedelta(days=15)


def queue_url(name: str, clients: Clients) -> str:
    """The address of a queue; raises StorageError when there is none."""
    with explained("find the queue", name):
        return str(clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def send(runs: Sequence[Run], queue: str, ledger: DynamoLedger, clients: Clients) -> None:
    """Ask for runs of one config, each with a message of its own.

    Raises:
        StorageError: not all could be sent; to send them again does no harm.
    """
    for batch in _batches([_body(run, ledger) for run in runs]):
        with explained("send a request to", queue):
            answer = clients.sqs.send_message_batch(
                QueueUrl=queue,
                Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(batch)],
            )
        if answer.get("Failed"):
            raise StorageError(
                f"{len(answer['Failed'])} requests could not be queued",
                why=str(answer["Failed"][0].get("Message", "")),
                next="ask again: a run that was asked for twice is carried out once more, at worst",
            )


def redeliver(dead_letters: str, queue: str, clients: Clients) -> int:
    """Put what lies in a dead-letter queue now back into its queue; returns how many messages.

    Raises:
        StorageError: not all could be put back; those lie where they lay, or in both.
    """
    with explained("look at the dead letters", dead_letters):
        told = clients.sqs.get_queue_attributes(
            QueueUrl=dead_letters, AttributeNames=["ApproximateNumberOfMessages"]
        )
    present, done = int(told["Attributes"]["ApproximateNumberOfMessages"]), 0
    while done < present:  # those that come meanwhile have failed once more
        with explained("fetch the dead letters", dead_letters):
            answer = clients.sqs.receive_message(
                QueueUrl=dead_letters,
                MaxNumberOfMessages=min(_AT_ONCE, present - done),
                WaitTimeSeconds=_LOOKS_FOR,
                VisibilityTimeout=_HELD_FOR,
            )
        if not (found := answer.get("Messages", [])):
            break
        for message in found:  # by itself: together they may be longer than SQS takes
            with explained("send a request to", queue):
                clients.sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            with explained("take out of the dead letters", dead_letters):
                clients.sqs.delete_message(
                    QueueUrl=dead_letters, ReceiptHandle=message["ReceiptHandle"]
                )
        done += len(found)
    return done


def _body(run: Run, ledger: DynamoLedger) -> str:
    body = dumps(messages.asked([run], run.arrived or datetime.now(timezone.utc)))
    if len(body) <= LONGEST_MESSAGE:
        return body
    name = f"queued/{run.key}"
    ledger.set_state(name, dumps(run), keep=_KEPT_FOR)
    return dumps(messages.kept(name))


def _batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    """Bodies in batches that SQS takes: at most ten, and not too long together."""
    batch: list[str] = []
    for body in bodies:
        if batch and (len(batch) == _AT_ONCE or sum(map(len, batch)) + len(body) > LONGEST_MESSAGE):
            yield batch
            batch = []
        batch.append(body)
    if batch:
        yield batch
