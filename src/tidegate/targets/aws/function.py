"""The Lambda function: translates messages into events, and hands them to the dispatcher.

User code never runs in the function's own process, but in one worker process beside it: a hang, a
crash or a leak ends a run, not the function. What became of a run is in the ledger; the answer to
SQS only says whether a message must be delivered again:

    done                                             no
    failed for good (bad input, timeout, …)          no: it is recorded; `tidegate retry` runs it
    failed for a reason that may pass                yes, after a pause; at last as the next line
    failed so more often than `retries` allows       yes, at once, until it is a dead letter
    another function is at work on it                yes, when that one's lease has ended
    the message cannot be read                       yes, until it is a dead letter
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.context import Context
from tidegate.runtime.dispatch import Dispatcher, gave_up
from tidegate.runtime.events import Event, FileArrived, Requested, ScheduleDue
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Target
from tidegate.runtime.records import loads
from tidegate.runtime.related_files import (
    has_related,
    is_companion,
    related_prefix,
    waits_until,
)
from tidegate.runtime.release_notes import note_releases
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.scheduled_files import room_on
from tidegate.runtime.select import arrival_runs, takes
from tidegate.targets.aws import messages
from tidegate.targets.aws.backlog_work import BacklogWork
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.messages import (
    LOGS,
    SUCCEEDED,
    FunctionScope,
    Ignored,
    StoredRun,
    UnreadableMessage,
    WorkWaits,
)
from tidegate.targets.aws.queue import Delivery, SqsQueue
from tidegate.targets.aws.reporting import Reporting
from tidegate.targets.aws.requests import send_again
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs
from tidegate.targets.aws.settings import Settings
from tidegate.targets.aws.worker import FunctionExecutor

Answer = dict[str, Any]
_AFTER_THE_END = 60.0
"""If a function dies, its messages are delivered again this long after its time was over, s."""
_SHORTEST = 30.0
"""The backlog is not worked on in the last seconds of an invocation."""
_PAUSE = (30.0, 120.0)
"""After an error outside of a run, the message is delivered again so much later, s."""


class NotDone(Exception):
    """An event that was sent to the function itself must be tried again."""


class Function:
    """One config's function, for as long as its environment lives."""

    def __init__(
        self,
        settings: Settings,
        worker: WorkerProcess,
        clients: Clients | None = None,
        *,
        packages: Sequence[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        config = settings.config
        clients = clients or Clients()
        self.settings = settings
        self._now = now
        self._inputs = S3Inputs(settings.input_bucket, clients)
        self._outputs = S3Outputs(settings.output_bucket, clients)
        self._ledger = DynamoLedger(settings.table, clients, keep_runs=settings.keep_runs)
        self._scope = FunctionScope(config, settings.input_bucket, settings.output_bucket)
        self._queue = SqsQueue(settings.queue, self._ledger, clients)
        self._executor = FunctionExecutor(worker, settings.memory, config.memory)
        self._reporting = Reporting(config, settings.log_level)
        self._log = self._reporting.log
        self._longest = 0.0
        self._backlog = BacklogWork(config, self._inputs, self._ledger)
        self._clients = clients
        self._packages = packages
        self._noted = False
        settings.work.mkdir(parents=True, exist_ok=True)
        self.context = Context(
            manifest=settings.manifest,
            target=Target(self._inputs, self._outputs, self._ledger),
            executor=self._executor,
            owner=f"lambda-{uuid.uuid4().hex}",
            work=settings.work,
            keep_log=self._keep_log,
            now=now,
        )
        self._dispatcher = Dispatcher(
            self.context,
            self._queue,
            self._ended,
            self._log.warning,
            room=lambda: room_on(settings.work),
        )
        if not settings.keep_inputs:
            self._log.warning(
                "RETAIN_INPUT_FILES is false, but raw files are kept: Tidegate deletes no data",
                extra={"action": "inputs_kept"},
            )

    def answer(self, event: Mapping[str, Any], context: Any) -> Answer:
        """Handle one invocation: a batch of messages from SQS, or an event that was sent directly.

        Returns which messages of the batch must be delivered again.

        Raises:
            NotDone: an event that was sent directly must be sent again.
        """
        self._executor.begin_invocation(context.get_remaining_time_in_millis() / 1000)
        self._longest = 0.0
        self._note_release()
        try:
            if _is_batch(event):
                deliveries = [Delivery.of(record) for record in event["Records"]]
                left = context.get_remaining_time_in_millis() / 1000
                self._queue.limit_wait(deliveries, left + _AFTER_THE_END)
                # Each message on its own: one that fails does not affect the others.
                failed = [delivery.id for delivery in deliveries if not self._message(delivery)]
                return {"batchItemFailures": [{"itemIdentifier": id} for id in failed]}
            if not self._carry_out(Delivery(event, self._now())):
                raise NotDone("the event is not done and must be tried again")
            return {}
        finally:
            self._executor.start()  # a new worker imports Tsdat before it is needed
            self._reporting.flush()

    def _note_release(self) -> None:
        """Note once what this environment of the function runs with; no run fails because of it."""
        if self._noted:
            return
        try:
            note_releases(self._ledger, self.settings.manifest, self._packages, self._now())
            self._noted = True
        except (LedgerError, StorageError) as error:
            self._log.warning(f"the packages were not noted: {error}", extra={"action": "release"})

    def close(self) -> None:
        """End the worker."""
        self._executor.close()

    # Messages.

    def _message(self, delivery: Delivery) -> bool:
        """Handle one message of a batch; False if it must be delivered again. Never raises."""
        about = {"message_id": delivery.id}
        try:
            if self._longest and self._executor.time_left() < self._longest * 1.5:
                reason = "there is too little time left in this invocation"
                self._queue.deliver_again(delivery, self._now(), self._now())
            else:
                reason = "it is not done"
                if self._carry_out(delivery):
                    return True
            self._log.info(
                f"the message is delivered again: {reason}", extra={"action": "not_done", **about}
            )
        except UnreadableMessage as error:
            body = str(delivery.body)[:2000]
            self._log.error(str(error), extra={"action": "unreadable", "body": body, **about})
        except Exception:
            self._log.exception(
                "a message could not be handled", extra={"action": "failed_message", **about}
            )
            # Such as a throttled ledger. Without this, it would wait until the invocation's end.
            now = self._now()
            pause = timedelta(seconds=random.uniform(*_PAUSE))
            self._queue.deliver_again(delivery, now + pause, now)
        return False

    def _carry_out(self, delivery: Delivery) -> bool:
        """Do everything that a message calls for; False if it must be delivered again.

        Raises:
            UnreadableMessage: nobody here can have meant it.
        """
        try:
            for content in messages.read(delivery.body, delivery.sent, self._scope):
                if isinstance(content, WorkWaits):
                    self._work_off()
                    continue
                event = self._complete(content)
                if isinstance(event, datetime):
                    self._queue.deliver_again(delivery, event, self._now())
                elif isinstance(event, Ignored):
                    self._log.info(event.reason, extra={"action": "ignored"})
                elif self._gave_up_before(event, delivery):
                    self._queue.deliver_again(delivery, self._now(), self._now())
                else:
                    names_run = not isinstance(event, ScheduleDue)
                    with self._queue.reading(delivery, names_run=names_run):
                        self._dispatcher.submit(event)
                    self._work()
        except BaseException:
            self._queue.close(delivery, failed=True)
            raise
        return self._queue.close(delivery)

    def _work(self) -> None:
        """Carry out the runs that the message names."""
        while (queued := self._queue.take(self._now())) is not None:
            self._log.append_keys(run=queued.run.key[:12])
            began = time.monotonic()
            try:
                self._dispatcher.work(queued)
            finally:
                self._log.remove_keys(["run"])
                self._longest = max(self._longest, time.monotonic() - began)

    def _work_off(self) -> None:
        """Do what waits in the ledger, as long as there is time."""
        left = self._executor.time_left()
        self._backlog.work(
            self._carry_out_waiting, self._has_time, self._now, left + _AFTER_THE_END
        )

    def _has_time(self) -> bool:
        """Whether there is time for another run of the backlog, and no message waits for it.

        With ``concurrency: 1``, messages can only be handled when this invocation has ended.
        """
        if self._executor.time_left() < max(1.5 * self._longest, _SHORTEST):
            return False
        return self.settings.config.concurrency != 1 or not self._queue.has_visible()

    def _carry_out_waiting(self, body: Mapping[str, Any]) -> None:
        """Carry out a run of the backlog; what is not done becomes a message of its own."""
        delivery = Delivery(body, self._now())
        wait = timedelta(seconds=random.uniform(*_PAUSE))
        try:
            if self._carry_out(delivery):
                return
            wait = (delivery.retry_at or self._now()) - self._now()
        except Exception:
            self._log.exception(
                "a run of the backlog could not be handled", extra={"action": "failed_message"}
            )
        if self._queue.url:
            send_again(body, self._queue.url, self._clients, wait)

    def _complete(self, content: messages.Message) -> Event | Ignored | datetime:
        """The event of a message, with what only S3 or the ledger can add to it.

        A time is that until which a file waits for its companions.
        """
        if isinstance(content, StoredRun):
            text = self._ledger.state(content.name)
            if text is None:
                raise UnreadableMessage(f"the ledger has nothing under {content.name}")
            return Requested((loads(Run, text),), self._now())
        if isinstance(content, FileArrived) and not content.input.version:
            found = self._inputs.find(content.input.key)
            if found is None:
                return Ignored(f"{content.input.key} was deleted")
            content = replace(content, input=found)
        config = self.settings.config
        if isinstance(content, FileArrived) and has_related(config):
            key = content.input.key
            files = tuple(self._inputs.list(related_prefix(config, key)))
            until = waits_until(config, content.input, {file.key for file in files})
            if until is not None and until > self._now() and not is_companion(config, key):
                return until
            return replace(content, files=files)
        if isinstance(content, ScheduleDue) and config.kind == "Ingest" and config.input_path:
            return replace(content, files=tuple(self._inputs.list(config.input_path)))
        return content

    def _gave_up_before(self, event: Event, delivery: Delivery) -> bool:
        """Whether this is a message about a file whose run has failed too often.

        It fails again at each delivery, until SQS makes it a dead letter. A new message about the
        same file is another matter: ``select`` finds that there is nothing to do.
        """
        config = self.settings.config
        if not isinstance(event, FileArrived) or delivery.receives <= 1:
            return False
        if not takes(config, event.input.key):
            return False
        records = (self._ledger.record(r.key) for r in arrival_runs(config, event, self._now()))
        return any(record is not None and gave_up(record) for record in records)

    # Records and logs.

    def _ended(self, record: RunRecord) -> None:
        self._reporting.ended(record)

    def _keep_log(self, record: RunRecord, log: Path) -> str:
        """Keep a run's log beside the products, and show it in CloudWatch."""
        config = self.settings.config
        name = f"{record.started:%Y%m%dT%H%M%S}-{record.key[:12]}-{record.attempt}.jsonl"
        self._reporting.show(log)
        begin = SUCCEEDED if record.state in ("succeeded", "empty", "superseded") else LOGS
        return self._outputs.put_text(f"{begin}{config.pipeline}/{config.name}/{name}", log)


def _is_batch(event: Mapping[str, Any]) -> bool:
    records = event.get("Records") or ()
    return bool(records) and all(r.get("eventSource") == "aws:sqs" for r in records)
