"""A function on MiniStack: what arrives goes through a real queue, as Lambda would fetch it."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from tidegate.errors import TidegateError
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.publish import STORE
from tidegate.runtime.runs import Input, Product, Run, RunRecord
from tidegate.runtime.task import Limits, Outcome, Task
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.function import Function
from tidegate.targets.aws.settings import Settings

NOON = datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
INGEST = Config(
    "lidar", "humboldt", "Ingest", "S3", "pipeline.yaml", input_path="lidar/humboldt/", retries=1
)
VAP = Config(
    "wind", "humboldt", "VAP", "Cron", "vap.yaml", schedule="0 * * * *", window="day",
    tsdat=Pipeline("Class", datastreams=("a.b",)), retries=1,
)  # fmt: skip


@dataclass
class FakeContext:
    """Lambda's context, as far as it is used."""

    seconds: float = 900.0
    began: float = field(default_factory=time.monotonic)
    function_name: str = "lidar-humboldt"
    memory_limit_in_mb: int = 2048
    invoked_function_arn: str = "arn:aws:lambda:us-west-2:000000000000:function:lidar-humboldt"
    aws_request_id: str = "1"

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.seconds - time.monotonic() + self.began))


class StandardOutput:
    """Whatever it is at the moment: pytest puts another one in its place for each phase."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


Behaviour = Callable[[Task], Outcome]


class FakeWorker:
    """Stands in for a worker process: its outcomes are what a test sets."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.limits: list[Limits] = []
        self.behaviour: Behaviour = writes
        self.pid: int | None = None
        self.runs = 0
        self.launched = 0

    def start(self, timeout: float = 0) -> None:
        pass

    def launch(self) -> None:
        self.launched += 1

    def close(self) -> None:
        self.pid = None

    def perform(self, task: Task, limits: Limits) -> Outcome:
        self.runs += 1
        self.limits.append(limits)
        self.tasks.append(task)
        return self.behaviour(task)


def writes(task: Task) -> Outcome:
    """One data file of a day and one plot, from whatever there is."""
    name = hashlib.sha256("".join(task.run.subjects).encode()).hexdigest()[:8]
    texts = [Path(place).read_bytes() for place in task.arguments if place.startswith("/")]
    begin = task.run.window.begin if task.run.window else NOON.replace(hour=0)
    made = []
    for kind, suffix in (("data", "nc"), ("ancillary", "png")):
        key = f"storage/root/{task.config.name}/{task.config.pipeline} {name}.{suffix}"
        place = Path(task.work) / STORE / key
        place.parent.mkdir(parents=True, exist_ok=True)
        content = b"|".join(texts) + kind.encode() + repr(task.run.products).encode()
        place.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        stream = "a.b" if task.config.kind == "Ingest" else "c.d"
        times = {"begin": begin, "end": begin + timedelta(hours=23)} if kind == "data" else {}
        made.append(Product(key, kind, len(content), sha256, stream, **times))
    return Outcome(products=tuple(made), seconds={"run": 0.01})


def raises(error: TidegateError | Exception, times: int = 10**6) -> Behaviour:
    """Fails so many times, then writes."""
    left = [times]

    def behaviour(task: Task) -> Outcome:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return writes(task)

    return behaviour


class Bench:
    """One config's function, with its buckets, table and queue."""

    def __init__(
        self,
        clients: Clients,
        new: Mapping[str, Callable[[], str]],
        folder: Path,
        config: Config = INGEST,
        worker: Any = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        **changes: Any,
    ) -> None:
        self.clients = clients
        self.config = config
        self.worker = worker or FakeWorker()
        given = {
            "manifest": Manifest((config,), {config.pipeline: "release 1"}),
            "output_bucket": changes.get("output_bucket") or new["bucket"](),
            "input_bucket": changes.get("input_bucket") or new["bucket"](),
            "table": changes.get("table") or new["table"](),
            "queue": new["queue"](),
            "work": folder / "work" / uuid.uuid4().hex[:8],
            **changes,
        }
        self.settings = Settings(**given)
        self.dead: list[str] = []
        self.function = Function(self.settings, self.worker, clients, now=now)
        self.ledger = self.function.context.target.ledger
        self.function._log.logger_handler.setStream(StandardOutput())  # type: ignore[attr-defined]

    # What S3 and EventBridge do.

    def put(self, key: str, content: bytes = b"raw") -> Input:
        """A raw file is uploaded; nobody is told yet."""
        answer = self.clients.s3.put_object(
            Bucket=self.settings.input_bucket, Key=key, Body=content
        )
        return Input(key, answer["ETag"].strip('"'), len(content))

    def created(self, input: Input, *, bucket: str = "", at: datetime = NOON) -> dict[str, Any]:
        """What EventBridge sends when an object was made: see Amazon S3's user guide."""
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "000000000000",
            "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "region": "us-west-2",
            "resources": [f"arn:aws:s3:::{bucket or self.settings.input_bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket or self.settings.input_bucket},
                "object": {
                    "key": input.key,
                    "size": input.size,
                    "etag": input.version,
                    "sequencer": "00617F08299329D189",
                },
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "123456789012",
                "source-ip-address": "1.2.3.4",
                "reason": "PutObject",
            },
        }

    def notified(self, input: Input, name: str = "ObjectCreated:Put") -> dict[str, Any]:
        """What S3's own notifications send."""
        return {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": "us-west-2",
                    "eventTime": "2022-04-05T12:00:00.000Z",
                    "eventName": name,
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "bucket": {"name": self.settings.input_bucket},
                        "object": {
                            "key": quote_plus(input.key, safe="/"),
                            "size": input.size,
                            "eTag": input.version,
                            "sequencer": "0055AED6DCD90281E5",
                        },
                    },
                }
            ]
        }

    def arrive(self, key: str, content: bytes = b"raw") -> list[RunRecord]:
        """A raw file arrives and is handled, until the queue is empty."""
        self.send(self.created(self.put(key, content)))
        self.drain()
        return list(self.ledger.records())

    # What the queue and Lambda do.

    def send(self, *bodies: Any) -> None:
        """Messages into the queue."""
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.clients.sqs.send_message(QueueUrl=self.settings.queue, MessageBody=text)

    def poll(self, seconds: float = 900.0, size: int = 10, most: int = 3) -> list[str]:
        """Fetch one batch, invoke the function, delete what it did; the ids that are to come again.

        What has been received ``most`` times goes to the dead letters, as SQS would do.
        """
        answer = self.clients.sqs.receive_message(
            QueueUrl=self.settings.queue,
            MaxNumberOfMessages=size,
            AttributeNames=["All"],
            VisibilityTimeout=600,
        )
        messages = answer.get("Messages", [])
        if not messages:
            return []
        result = self.function.answer(batch(messages), FakeContext(seconds))
        failed = [item["itemIdentifier"] for item in result["batchItemFailures"]]
        for message in messages:
            given_up = int(message["Attributes"]["ApproximateReceiveCount"]) >= most
            if message["MessageId"] in failed and given_up:
                self.dead.append(message["Body"])
            if message["MessageId"] not in failed or given_up:
                self.clients.sqs.delete_message(
                    QueueUrl=self.settings.queue, ReceiptHandle=message["ReceiptHandle"]
                )
        return failed

    def drain(self, seconds: float = 900.0) -> None:
        """Poll until nothing is there to be fetched."""
        while self.visible():
            self.poll(seconds)

    def visible(self) -> int:
        """How many messages could be fetched now."""
        return self._count("ApproximateNumberOfMessages")

    def hidden(self) -> int:
        """How many messages come again later."""
        return self._count("ApproximateNumberOfMessagesNotVisible")

    def _count(self, name: str) -> int:
        answer = self.clients.sqs.get_queue_attributes(
            QueueUrl=self.settings.queue, AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    def direct(self, event: dict[str, Any], seconds: float = 900.0) -> Any:
        """An event that was sent to the function itself."""
        return self.function.answer(event, FakeContext(seconds))

    # What came of it.

    def records(self) -> list[RunRecord]:
        """All records, the latest first."""
        return list(self.ledger.records())

    def outputs(self) -> set[str]:
        """The keys of all objects in the output bucket, logs aside."""
        pages = self.clients.s3.get_paginator("list_objects_v2")
        return {
            item["Key"]
            for page in pages.paginate(Bucket=self.settings.output_bucket)
            for item in page.get("Contents", [])
            if not item["Key"].startswith("tidegate/logs/")
        }

    def agrees(self) -> None:
        """The ledger and the bucket say the same."""
        assert self.outputs() == {product.key for product in self.ledger.products()}


def batch(messages: list[Any]) -> dict[str, Any]:
    """Messages as Lambda's event source mapping hands them over."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-west-2:000000000000:queue",
                "awsRegion": "us-west-2",
            }
            for message in messages
        ]
    }


def again(run: Run, at: datetime) -> Run:
    """The run, as someone asks for it anew."""
    return replace(run, again=True, arrived=at)
