"""Requests for runs, as messages to the config's own queue.

Requests go through the queue like all other runs: so they are retried, and counted, and become
dead letters if they fail too often.

``redrive`` puts dead letters back into the queue. Those whose runs are recorded as done or failed
do nothing then; runs that no function could record are carried out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from tidegate.errors import StorageError
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Run
from tidegate.targets.aws import messages
from tidegate.targets.aws.backlog_work import parts_of
from tidegate.targets.aws.clients import Clients, code_of, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.left_messages import left_messages, remove

LONGEST_MESSAGE = 200_000
"""A run whose message would be longer than this, in bytes, is stored in the ledger meanwhile."""

NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
"""The codes of AWS's errors for a queue that does not exist."""

MOST_MESSAGES = 200
"""More runs of a config than this are not sent as messages: they wait in the ledger."""

_AT_ONCE = 10
_LONGEST_DELAY = 900
"""SQS delays a message by 15 minutes at most, s."""
_STORED_FOR = timedelta(days=15)


def queue_url(name: str, clients: Clients) -> str:
    """The address of a queue; raises StorageError when there is none."""
    with explained("find the queue", name):
        return str(clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def count_messages(url: str, clients: Clients) -> tuple[int, int]:
    """How many messages of a queue could be delivered now, and how many later, roughly."""
    with explained("count the messages of", url):
        found = clients.sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
    now = int(found.pop("ApproximateNumberOfMessages"))
    return now, sum(map(int, found.values()))


def count_waiting(name: str, clients: Clients) -> int:
    """How many messages wait in a queue, as SQS estimates; none if there is no such queue."""
    try:
        url = queue_url(name, clients)
    except StorageError as error:
        if code_of(error) not in NO_QUEUE:
            raise
        return 0
    return count_messages(url, clients)[0]


def send(runs: Sequence[Run], queue: str, ledger: DynamoLedger, clients: Clients) -> None:
    """Request runs of one config, each with a message of its own.

    If they are many, they wait in the ledger's backlog, and one message says so.

    Raises:
        StorageError: not all could be sent; sending them again does no harm.
    """
    bodies = [_body(run, ledger) for run in runs]
    if len(bodies) > MOST_MESSAGES:
        ledger.backlog.add(runs[0].config, parts_of([json.loads(body) for body in bodies]))
        bodies = [dumps(messages.work_waits(runs[0].config))]
    _send_bodies(bodies, queue, clients)


def send_again(
    body: Mapping[str, Any], queue: str, clients: Clients, wait: timedelta = timedelta(0)
) -> None:
    """Send a message, to be delivered after ``wait``; raises StorageError."""
    delay = min(max(int(wait.total_seconds()), 0), _LONGEST_DELAY)
    with explained("send a request to", queue):
        clients.sqs.send_message(QueueUrl=queue, MessageBody=dumps(body), DelaySeconds=delay)


def announce_work(config: str, count: int, queue: str, clients: Clients, delay: int = 0) -> None:
    """Have so many functions work off a config's backlog, in ``delay`` seconds."""
    _send_bodies([dumps(messages.work_waits(config))] * count, queue, clients, delay)


def _send_bodies(bodies: Sequence[str], queue: str, clients: Clients, delay: int = 0) -> None:
    for batch in _batches(bodies):
        with explained("send a request to", queue):
            answer = clients.sqs.send_message_batch(
                QueueUrl=queue,
                Entries=[
                    {"Id": str(n), "MessageBody": body, "DelaySeconds": delay}
                    for n, body in enumerate(batch)
                ],
            )
        if answer.get("Failed"):
            raise StorageError(
                f"{len(answer['Failed'])} requests could not be queued",
                why=str(answer["Failed"][0].get("Message", "")),
                next="try again: at worst, a run that was requested twice is carried out twice",
            )


def redrive(dead_letters: str, queue: str, clients: Clients) -> int:
    """Move the messages of a dead-letter queue back into its queue; returns how many.

    Raises:
        StorageError: not all could be moved; one of the others may be in both queues.
    """
    done = 0
    present = count_messages(dead_letters, clients)[0]  # those that come later have failed again
    for message in left_messages(dead_letters, present, clients):
        # One by one: together they may be too long for SQS.
        with explained("send a request to", queue):
            clients.sqs.send_message(QueueUrl=queue, MessageBody=message.body)
        remove(message, dead_letters, clients)
        done += 1
    return done


def _body(run: Run, ledger: DynamoLedger) -> str:
    body = dumps(messages.request([run], run.arrived or datetime.now(timezone.utc)))
    if len(body) <= LONGEST_MESSAGE:
        return body
    name = f"queued/{run.key}"
    ledger.set_state(name, dumps(run), keep=_STORED_FOR)
    return dumps(messages.stored(name))


def _batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    """Bodies in batches that SQS accepts: at most ten, and not too long together."""
    batch: list[str] = []
    for body in bodies:
        if batch and (len(batch) == _AT_ONCE or sum(map(len, batch)) + len(body) > LONGEST_MESSAGE):
            yield batch
            batch = []
        batch.append(body)
    if batch:
        yield batch
