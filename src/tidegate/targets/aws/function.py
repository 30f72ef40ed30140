"""What the Lambda function does with what it is sent. Translates only; the work is ``runtime``'s.

User code never runs in the function's own process, but in one worker beside it: a hang, a crash or
a leak ends a run, not the function. Whatever became of a run is in its record; the answer to the
queue says only whether a message is to come again:

    done                                             no
    failed for good (bad input, timeout, …)          no: it is on record; `tidegate retry` asks anew
    failed for a passing reason                      yes, after a pause; at last as the next line
    failed so too often                              yes, at once, until the queue gives it up
    another function is at it                        yes, when that one's lease has run out
    nobody can read it                               yes, until the queue gives it up
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from tidegate.errors import RunTimeout, WorkerLost
from tidegate.runtime.dispatch import Context, backoff, execute
from tidegate.runtime.events import FileArrived, Requested, ScheduleDue
from tidegate.runtime.process import WorkerProcess, resident_memory
from tidegate.runtime.protocols import ClaimLost, Target
from tidegate.runtime.records import loads
from tidegate.runtime.runs import FINISHED, Failure, Run, RunRecord
from tidegate.runtime.select import select, takes
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws import messages
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.messages import LOGS, Garbled, Here, Ignored, Kept
from tidegate.targets.aws.requests import send
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs
from tidegate.targets.aws.settings import Settings

MARGIN, MARGIN_PART = 15.0, 0.15
"""So many seconds, or this part of it, before the function's time is over, a run is stopped: to
publish and record."""
OWN_MEMORY = 64
"""What is left for the function's own growth, MB."""
RUNS_PER_WORKER = 500
"""A worker is replaced after so many runs, so that leaks in user code stay bounded."""
SWOLLEN = 0.6
"""And when it holds more than this part of its memory between two runs."""
NAMESPACE = "Tidegate"
"""The namespace of the metrics."""

_LONGEST_WAIT = timedelta(hours=11)
_FORWARDED = 500
_ZERO = timedelta(0)

Answer = dict[str, Any]


class ComeBack(Exception):
    """The message is to be delivered again, after a while."""

    def __init__(self, reason: str, after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Function:
    """One config's function, for as long as its environment lives."""

    def __init__(
        self,
        settings: Settings,
        worker: WorkerProcess,
        clients: Clients | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        config = settings.config
        self._now = now
        self.settings = settings
        self._worker = worker
        self._clients = clients or Clients()
        self._inputs = S3Inputs(settings.input_bucket, self._clients)
        self._outputs = S3Outputs(settings.output_bucket, self._clients)
        self._ledger = DynamoLedger(settings.table, self._clients, keep_runs=settings.keep_runs)
        self._here = Here(config, settings.input_bucket, settings.output_bucket)
        self._deadline = 0.0
        self._first, self._longest = True, 0.0
        self._log = Logger(service="tidegate", level=settings.log_level, logger_formatter=_Lines())
        self._log.append_keys(pipeline=config.pipeline, config=config.name)
        self._metrics = EphemeralMetrics(namespace=NAMESPACE)
        self._metrics.set_default_dimensions(pipeline=config.pipeline, config=config.name)
        settings.work.mkdir(parents=True, exist_ok=True)
        self.context = Context(
            manifest=settings.manifest,
            target=Target(self._inputs, self._outputs, self._ledger),
            perform=self._perform,
            owner=f"lambda-{uuid.uuid4().hex}",
            work=settings.work,
            keep_log=self._keep_log,
            now=now,
        )
        if not settings.keep_inputs:
            self._log.warning(
                "RETAIN_INPUT_FILES is false, but raw files are kept: Tidegate deletes no data",
                extra={"action": "inputs_kept"},
            )

    def answer(self, event: Mapping[str, Any], context: Any) -> Answer:
        """Handle one invocation: a batch of the queue's, or an event that was sent directly.

        Raises:
            ComeBack: an event that was sent directly is to be sent again.
        """
        left = context.get_remaining_time_in_millis() / 1000
        self._deadline = time.monotonic() + left - min(MARGIN, MARGIN_PART * left)
        self._first, self._longest = True, 0.0
        try:
            if _is_batch(event):
                return self._batch(event)
            self._take(event, self._now(), 1)
            return {}
        finally:
            self._refresh_worker()
            if self._metrics.metric_set:
                self._metrics.flush_metrics()

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    # Messages.

    def _batch(self, event: Mapping[str, Any]) -> Answer:
        """Each message on its own: one that fails leaves the others alone."""
        processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
        with processor(event["Records"], self._message):
            processor.process()
        return dict(processor.response())

    def _message(self, record: SQSRecord) -> None:
        """One message of the queue; raises when it is to come again."""
        sent = int(record.attributes.sent_timestamp or time.time() * 1000)
        receives = int(record.attributes.approximate_receive_count or 1)
        try:
            if not self._first and self._time_left() < self._longest * 1.5:
                raise ComeBack("too little time is left to begin it", timedelta(0))
            self._take(record.body, _moment(sent), receives)
        except ComeBack as error:
            self._log.info(
                str(error), extra={"action": "come_back", "message_id": record.message_id}
            )
            self._postpone(record, error.after)
            raise
        except Garbled as error:
            body = record.body[:2000]
            self._log.error(str(error), extra={"action": "garbled", "body": body})
            raise
        except Exception:
            self._log.exception(
                "a message could not be handled",
                extra={"action": "failed_message", "message_id": record.message_id},
            )
            raise

    def _postpone(self, message: SQSRecord, after: timedelta | None) -> None:
        """Say when a message is to come again; otherwise it does when its visibility ends."""
        if after is None or not self.settings.queue:
            return
        seconds = int(min(max(after, timedelta(0)), _LONGEST_WAIT).total_seconds())
        try:
            with explained("postpone a message", self.settings.queue):
                self._clients.sqs.change_message_visibility(
                    QueueUrl=self.settings.queue,
                    ReceiptHandle=message.receipt_handle,
                    VisibilityTimeout=seconds,
                )
        except Exception as error:  # then it comes when the queue thinks fit
            self._log.warning(str(error), extra={"action": "postpone"})

    def _take(self, body: str | Mapping[str, Any], sent: datetime, receives: int) -> None:
        """Do all that a message calls for.

        Raises:
            ComeBack: not all of it is done.
            Garbled: it says nothing that we know.
        """
        later: list[ComeBack] = []
        for told in messages.read(body, sent, self._here):
            event = self._event(told)
            if isinstance(event, Ignored):
                self._log.info(event.reason, extra={"action": "ignored"})
                continue
            self._refuse_given_up(event, receives)
            selection = select(self.settings.manifest.configs, event, self._ledger, now=self._now())
            if self.settings.queue and _for_queue(event, selection.runs):
                self._enqueue(selection.runs)
            else:
                later += [
                    back for run in selection.runs if (back := self._carry_out(run, receives))
                ]
            if not later:  # a schedule that is told again must find again what it has not done
                for name, value in selection.state:
                    self._ledger.set_state(name, value)
        if later:
            raise ComeBack("; ".join(map(str, later)), max(back.after or _ZERO for back in later))

    def _event(self, told: messages.Told) -> FileArrived | ScheduleDue | Requested | Ignored:
        """The event, with what only S3 or the ledger can add to it."""
        if isinstance(told, Kept):
            text = self._ledger.state(told.name)
            if text is None:
                raise Garbled(f"nothing is kept under {told.name}")
            return Requested((loads(Run, text),), self._now())
        if isinstance(told, FileArrived) and not told.input.version:
            found = self._inputs.look(told.input.key)
            if found is None:
                return Ignored(f"{told.input.key} is gone")
            return replace(told, input=found)
        config = self.settings.config
        if isinstance(told, ScheduleDue) and config.kind == "Ingest" and config.input_path:
            return replace(told, files=tuple(self._inputs.list(config.input_path)))
        return told

    def _refuse_given_up(self, event: FileArrived | ScheduleDue | Requested, receives: int) -> None:
        """A message whose run has failed too often goes on failing, until the queue gives it up.

        Only one that has come before: a new message about that run is another matter.
        """
        if receives <= 1 or isinstance(event, ScheduleDue):
            return
        if isinstance(event, FileArrived):
            config = self.settings.config
            runs = [Run(config.id, (event.input,))] if takes(config, event.input.key) else []
        else:
            runs = list(event.runs)
        for run in runs:
            record = self._ledger.record(run.key)
            if record and _passing(record) and not _fresh(run, record):
                raise ComeBack(f"{run.title} has failed too often", timedelta(0))

    # Runs.

    def _carry_out(self, run: Run, receives: int) -> ComeBack | None:
        """Carry one run out; what the queue is to do, if anything."""
        if run.again and self._is_done(run):
            return None
        if receives > self.settings.config.retries and self._given_up(run):
            return ComeBack(f"the function died of {run.title}", timedelta(0))
        self._log.append_keys(run=run.key[:12])
        began = time.monotonic()
        try:
            record = execute(run, self.context)
        finally:
            self._log.remove_keys(["run"])
            self._first, self._longest = False, max(self._longest, time.monotonic() - began)
        if record is None:
            return self._unclaimed(run)
        self._tell(record)
        if record.state == "retrying":
            return ComeBack(f"{run.title} is tried again", backoff(record.tries))
        if _passing(record):
            return ComeBack(f"{run.title} has failed too often", timedelta(0))
        return None

    def _unclaimed(self, run: Run) -> ComeBack | None:
        """A run that is not ours to do: done before, or another's. If that one dies, it is ours."""
        lease = self._ledger.lease(run.key)
        if lease is None:
            self._log.info(f"{run.title} was done before", extra={"action": "done_before"})
            return None
        wait = max(lease - self._now(), timedelta(0)) + timedelta(seconds=5)
        return ComeBack(f"{run.title} is being done by another", wait)

    def _is_done(self, run: Run) -> bool:
        """Whether this very request was carried out: queues deliver twice now and then."""
        record = self._ledger.record(run.key)
        return record is not None and record.state in FINISHED and not _fresh(run, record)

    def _given_up(self, run: Run) -> bool:
        """Whether the function has died of this run each time; then it is recorded as failed."""
        record, lease = self._ledger.record(run.key), self._ledger.lease(run.key)
        now = self._now()
        if record is None or lease is None or lease > now:
            return False
        claim = self._ledger.claim(
            run, owner=self.context.owner, lease=timedelta(minutes=1), now=now, release=""
        )
        if not claim.granted or claim.record is None:
            return False
        failure = Failure(
            "transient",
            "the function died each time that it ran this",
            next="look into its log on CloudWatch; most likely it needs more `memory`",
        )
        ended = replace(claim.record, state="failed", finished=now, failure=failure)
        try:
            self._ledger.finish(ended)
        except ClaimLost:
            return False
        self._tell(ended)
        return True

    def _enqueue(self, runs: Sequence[Run]) -> None:
        """Each run as an item of the queue: with its own claim, retries and record.

        Raises:
            StorageError: not all could be sent; to send the others twice does no harm.
        """
        send(runs, self.settings.queue, self._ledger, self._clients)
        self._log.info(f"{len(runs)} runs are queued", extra={"action": "queued"})

    # The worker.

    def _time_left(self) -> float:
        return self._deadline - time.monotonic()

    def _perform(self, task: Task) -> Outcome:
        """Have the worker carry a task out, in the time and memory that the function has left."""
        config = task.config
        self._worker.start(max(self._time_left(), 1.0))
        timeout = min(float(config.timeout), self._time_left())
        if timeout < 1:
            raise WorkerLost("the function's time was over before the run began")
        limits = replace(config, timeout=int(timeout), memory=self._memory(config.memory))
        try:
            return self._worker.perform(replace(task, config=limits))
        except RunTimeout as error:
            if limits.timeout >= config.timeout:
                raise
            if not self._first:  # earlier runs have used the time up: not this one's fault
                raise WorkerLost("the function's time was over before the run was done") from error
            raise RunTimeout(
                f"the run was stopped after {limits.timeout} s, when the function's time was over",
                next="raise `timeout` for this config, or find out what takes so long in its log",
            ) from error

    def _memory(self, wanted: int) -> int:
        """The limit of the worker: the function itself would be killed, with all that is in it."""
        if self.settings.memory is None:
            return wanted
        own = int(resident_memory(os.getpid()) - resident_memory(self._worker.pid or 0))
        return max(min(wanted, self.settings.memory - own - OWN_MEMORY), 128)

    def _refresh_worker(self) -> None:
        """A new worker where one has ended, or has grown: it imports Tsdat before it is needed."""
        pid = self._worker.pid
        if pid is not None:
            swollen = resident_memory(pid) > SWOLLEN * self._memory(self.settings.config.memory)
            if not swollen and self._worker.runs < RUNS_PER_WORKER:
                return
            self._worker.close()
        try:
            self._worker.launch()
        except Exception as error:  # then it is started, and what is wrong told, with the next run
            self._log.warning(str(error), extra={"action": "worker"})

    # Logs and metrics.

    def _keep_log(self, record: RunRecord, log: Path) -> str:
        """Keep a run's log beside the products, and let CloudWatch see it."""
        config = self.settings.config
        name = f"{record.started:%Y%m%dT%H%M%S}-{record.key[:12]}-{record.attempt}.jsonl"
        with log.open(encoding="utf-8") as file:
            for n, line in enumerate(file):
                if n == _FORWARDED:
                    self._log.info("the rest of the log lies in S3", extra={"action": "cut"})
                    break
                sys.stdout.write(line)
        sys.stdout.flush()
        return self._outputs.put_text(f"{LOGS}{config.pipeline}/{config.name}/{name}", log)

    def _tell(self, record: RunRecord) -> None:
        """One line in the log, and the metrics, for what became of a run."""
        failure = record.failure
        say = {"failed": self._log.error, "retrying": self._log.warning}
        say.get(record.state, self._log.info)(
            f"{record.run.title}: {record.outcome}" + (f": {failure.message}" if failure else ""),
            extra={
                "action": "run",
                "run": record.key[:12],
                "state": record.state,
                "attempt": record.attempt,
                "products": len(record.products),
                "seconds": dict(record.seconds),
                "log": record.log,
            },
        )
        for name, unit, value in measures(record, self._now()):
            self._metrics.add_metric(name=name, unit=unit, value=value)


class _Lines(LambdaPowertoolsFormatter):
    """Powertools' lines with the names that the lines of a run's log have."""

    def __init__(self) -> None:
        super().__init__(use_rfc3339=True, utc=True)

    def serialize(self, log: Any) -> str:
        """One line of JSON."""
        line = {"time": log.pop("timestamp", ""), **log}
        line.pop("location", None)
        return str(super().serialize(line))


def measures(record: RunRecord, now: datetime) -> Iterator[tuple[str, MetricUnit, float]]:
    """The metrics of an attempt: what alarms and the dashboard go by."""
    yield "Runs", MetricUnit.Count, 1
    yield "Failures", MetricUnit.Count, float(record.state == "failed")
    yield "Retries", MetricUnit.Count, float(record.state == "retrying")
    yield "Duration", MetricUnit.Seconds, record.seconds.get("total", 0.0)
    if record.state not in ("succeeded", "empty"):
        return
    yield "Products", MetricUnit.Count, float(len(record.products))
    yield "Bytes", MetricUnit.Bytes, float(sum(input.size for input in record.run.inputs))
    bad = sum(quality.bad for product in record.products for quality in product.quality)
    yield "BadSamples", MetricUnit.Count, float(bad)
    if record.run.arrived is not None and not record.run.again:
        lag = (now - record.run.arrived).total_seconds()
        yield "Lag", MetricUnit.Seconds, max(lag, 0.0)


def _is_batch(event: Mapping[str, Any]) -> bool:
    records = event.get("Records") or ()
    return bool(records) and all(r.get("eventSource") == "aws:sqs" for r in records)


def _for_queue(event: FileArrived | ScheduleDue | Requested, runs: Sequence[Run]) -> bool:
    """Whether runs are to become items of the queue: many, or those of a schedule.

    The message of a schedule does not name its run: it could not be tried again, nor given up.
    """
    return len(runs) > 1 or (bool(runs) and isinstance(event, ScheduleDue))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def _passing(record: RunRecord) -> bool:
    """Whether a run has failed, for a reason that may pass, and was tried as often as it may be."""
    return bool(record.state == "failed" and record.failure and record.failure.kind == "transient")


def _fresh(run: Run, record: RunRecord) -> bool:
    """Whether ``run`` is a new request, and not the one that ``record`` is about."""
    return run.again and run.arrived != record.run.arrived
