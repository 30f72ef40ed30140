"""The queue of one config in SQS.

SQS hands messages to the Lambda function, in batches, and asks afterwards which of them failed.
So a message that was delivered stays in the queue until the function has said that it is done, and
a run that a message names is taken from the queue, and put back, with that message.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tidegate.runtime.protocols import QueuedRun
from tidegate.runtime.runs import Run
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.requests import count_messages, send

logger = logging.getLogger(__name__)

_LONGEST_WAIT = timedelta(hours=11)
"""SQS hides a message for 12 hours at most."""

_MESSAGES_AT_ONCE = 10


@dataclass
class Delivery:
    """One message that was delivered to the function, and what is to become of it."""

    body: str | Mapping[str, Any]
    """The message."""
    sent: datetime
    """When it was sent."""
    receives: int = 1
    """How often it was delivered, this time included."""
    id: str = ""
    """SQS's name for the message; "" for an event that was sent to the function itself."""
    receipt: str = ""
    """SQS's name for this delivery."""
    retry_at: datetime | None = None
    """When it must be delivered again; None: it is done."""
    state: list[tuple[str, str]] = field(default_factory=list)
    """What to keep in the ledger once it is done."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Delivery:
        """The delivery that a record of a Lambda event describes."""
        attributes = record.get("attributes", {})
        sent = attributes.get("SentTimestamp")
        moment = datetime.fromtimestamp(int(sent) / 1000, timezone.utc) if sent else None
        return cls(
            body=record["body"],
            sent=moment or datetime.now(timezone.utc),
            receives=int(attributes.get("ApproximateReceiveCount") or 1),
            id=record["messageId"],
            receipt=record["receiptHandle"],
        )


class SqsQueue:
    """See ``runtime.protocols.Queue``. ``url`` is "" where events are only sent directly."""

    def __init__(self, url: str, ledger: DynamoLedger, clients: Clients) -> None:
        self.url = url
        self._ledger = ledger
        self._clients = clients
        self._current: Delivery | None = None
        self._keeps_run = False
        self._waiting: deque[tuple[Run, Delivery]] = deque()
        self._taken: list[tuple[Run, Delivery]] = []

    @contextmanager
    def reading(self, delivery: Delivery, *, names_run: bool) -> Iterator[None]:
        """What is put inside the block comes from that message.

        If the message ``names_run``, and it is the only one, the message itself is its place in
        the queue. The message of a schedule does not name its run: so it could not be tried again,
        nor given up, and is sent as a message of its own. So are several runs.
        """
        self._current, self._keeps_run = delivery, names_run
        try:
            yield
        finally:
            self._current = None

    def put(
        self,
        runs: Sequence[Run],
        now: datetime,
        *,
        priority: int = 0,
        state: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Send each run as a message, then keep ``state``; SQS has no priorities.

        Raises:
            StorageError: not all could be sent; to send the others twice does no harm.
        """
        delivery = self._current
        if delivery is None and not self.url and self._taken:
            delivery = self._taken[-1][1]  # a run that follows the one that is carried out now
        if delivery is not None and runs and self._stays_with_message(len(runs)):
            self._waiting.extend((run, delivery) for run in runs)
            delivery.state.extend(state)
            return len(runs)
        if runs:
            send(runs, self.url, self._ledger, self._clients)
            logger.info("%d runs are queued", len(runs), extra={"action": "queued"})
        self._keep(state)
        return len(runs)

    def _stays_with_message(self, count: int) -> bool:
        return not self.url or (count == 1 and self._keeps_run)

    def take(self, now: datetime) -> QueuedRun | None:
        """The next run of the messages that were delivered."""
        if not self._waiting:
            return None
        run, delivery = self._waiting.popleft()
        self._taken.append((run, delivery))
        return QueuedRun(run, delivery.receives)

    def postpone(self, run: Run, until: datetime, now: datetime) -> None:
        """Have the run's message delivered again at ``until``."""
        if (delivery := self._return(run)) is not None:
            self.deliver_again(delivery, until, now)

    def drop(self, run: Run, *, given_up: bool = False) -> None:
        """The run's message is done. If ``given_up``, SQS moves it to the dead letters.

        SQS does that after a number of failed deliveries, so the message is made to fail at once.
        """
        delivery = self._return(run)
        if given_up and delivery is not None:
            now = datetime.now(timezone.utc)
            self.deliver_again(delivery, now, now)

    def count(self) -> int:
        """How many messages there are, roughly; those that were delivered are included."""
        return sum(count_messages(self.url, self._clients))

    def has_visible(self) -> bool:
        """Whether messages wait to be delivered."""
        return bool(self.url) and count_messages(self.url, self._clients)[0] > 0

    def deliver_again(self, delivery: Delivery, at: datetime, now: datetime) -> None:
        """A message is not done. With several runs, the latest time counts."""
        if delivery.retry_at is not None and at <= delivery.retry_at:
            return
        delivery.retry_at = at
        if not delivery.receipt or not self.url:
            return
        wait = min(max(at - now, timedelta(0)), _LONGEST_WAIT)
        try:
            with explained("postpone a message of", self.url):
                self._clients.sqs.change_message_visibility(
                    QueueUrl=self.url,
                    ReceiptHandle=delivery.receipt,
                    VisibilityTimeout=int(wait.total_seconds()),
                )
        except Exception as error:  # then it comes when its present visibility timeout ends
            logger.warning("%s", error, extra={"action": "postpone"})

    def limit_wait(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Have messages delivered again after ``seconds`` if nothing is said about them before.

        Otherwise, messages of a function that dies would wait for the queue's visibility timeout,
        which has to be several times the function's (Lambda Developer Guide, "Using Lambda with
        Amazon SQS"). SQS takes ten messages in a request.
        """
        entries = [
            {
                "Id": str(n),
                "ReceiptHandle": delivery.receipt,
                "VisibilityTimeout": int(seconds),
            }
            for n, delivery in enumerate(deliveries)
            if delivery.receipt
        ]
        if not self.url:
            return
        for n in range(0, len(entries), _MESSAGES_AT_ONCE):
            batch: Any = entries[n : n + _MESSAGES_AT_ONCE]
            try:
                with explained("postpone messages of", self.url):
                    self._clients.sqs.change_message_visibility_batch(
                        QueueUrl=self.url, Entries=batch
                    )
            except Exception as error:  # they have the queue's visibility timeout then
                logger.warning("%s", error, extra={"action": "postpone"})

    def close(self, delivery: Delivery, *, failed: bool = False) -> bool:
        """End with a message. Returns whether it is done; then its state is kept."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not delivery)
        self._taken = [entry for entry in self._taken if entry[1] is not delivery]
        done = delivery.retry_at is None and not failed
        if done:
            self._keep(delivery.state)
        return done

    def _keep(self, state: Sequence[tuple[str, str]]) -> None:
        for name, value in state:
            self._ledger.set_state(name, value)

    def _return(self, run: Run) -> Delivery | None:
        """The message of a taken run, which is no longer taken."""
        for entry in self._taken:
            if entry[0].key == run.key:
                self._taken.remove(entry)
                return entry[1]
        return None
