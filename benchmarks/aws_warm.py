"""(f) One warm invocation on a small file without plots, less plain ``pipeline.run`` on local disk.

The function and its worker are the real ones; the event is a batch of the queue as Lambda hands it
over. Transfers are what S3 takes to hand the raw file over and to take products and log.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import workspaces
from benchmarks.emulator import Emulator, Traffic, emulator
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure, median
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.runs import RunRecord
from tidegate.targets.aws.function import Function
from tidegate.targets.aws.settings import Settings

TARGET = 150.0
"""The overhead may be so much beside the transfers, in the median, ms."""
LIDAR = Config(
    "lidar", "humboldt", "Ingest", "S3", workspaces.HUMBOLDT, "lidar/humboldt/", memory=4096
)
_TRANSFERS = ("s3.GetObject", "s3.PutObject")


@dataclass(frozen=True)
class Pair:
    """One file, by plain Tsdat on local disk and by the function."""

    plain: float
    """How long plain ``pipeline.run`` took, s."""
    ours: float
    """How long the invocation took, s."""
    transfers: float
    """For how much of that an object was on its way, s."""
    ledger: float
    """How much of that was spent on requests to the ledger, s."""
    requests: dict[str, int]
    """How many requests it sent, by service and operation."""
    record: RunRecord
    """What is on record."""

    @property
    def overhead(self) -> float:
        """How much longer the invocation took than plain Tsdat and the transfers, s."""
        return self.ours - self.plain - self.transfers


def measure(folder: Path, quick: bool) -> list[Figure]:
    """File after file, in a function that has been warm for some."""
    warm_up, count = (1, 2) if quick else (5, 40)
    with emulator(folder / "emulator") as aws:
        return _figures(list(_pairs(aws, folder, warm_up, count)))


def _figures(pairs: Sequence[Pair]) -> list[Figure]:
    def over(what: str, values: Sequence[float], at_most: float | None = None) -> Figure:
        return median("f", what, [1e3 * value for value in values], "ms", at_most=at_most)

    run = [pair.record.seconds["run"] for pair in pairs]
    requests = {
        name: [float(pair.requests.get(name, 0)) for pair in pairs]
        for name in sorted({name for pair in pairs for name in pair.requests})
    }
    return [
        over("overhead of a warm invocation, transfers aside", [p.overhead for p in pairs], TARGET),
        over("  plain pipeline.run", [p.plain for p in pairs]),
        over("  invocation", [p.ours for p in pairs]),
        over("  transfers from and to S3", [p.transfers for p in pairs]),
        over("  requests to the ledger", [p.ledger for p in pairs]),
        over("  pipeline.run in the worker", run),
        over("  all else", [p.ours - r - p.transfers - p.ledger for p, r in zip(pairs, run)]),
        Figure("f", "  requests a run", statistics.median(_total(p) for p in pairs), ""),
        *(Figure("f", f"    {name}", statistics.median(n), "") for name, n in requests.items()),
    ]


def _total(pair: Pair) -> int:
    return sum(pair.requests.values())


def _pairs(aws: Emulator, folder: Path, warm_up: int, count: int) -> Iterator[Pair]:
    (folder / "workspace").mkdir(parents=True)
    repository = workspaces.make(folder / "workspace", "off").root / "pipelines"
    files = workspaces.raw_files(folder / "raw", (warm_up + count) // 24 + 1, minutes=60)
    settings = settings_for(aws, repository, folder / "work")
    worker, traffic = WorkerProcess([sys.executable], repository), Traffic()
    worker.launch()
    for client in (aws.clients.s3, aws.clients.dynamodb, aws.clients.sqs):
        traffic.watch(client.meta.events)
    with PlainTsdat(repository, folder / "plain") as plain, quiet():
        function = Function(settings, worker, aws.clients)
        try:
            for number, file in enumerate(files[: warm_up + count]):
                first = plain.run(workspaces.HUMBOLDT, file) if number % 2 else None
                event = arrival(aws, settings, file)
                traffic.clear()
                began = time.perf_counter()
                answer = function.answer(event, Context())
                ours = time.perf_counter() - began
                transfers = sum(traffic.seconds(name) for name in _TRANSFERS)
                ledger, requests = traffic.seconds("dynamodb"), dict(traffic.requests)
                run = first or plain.run(workspaces.HUMBOLDT, file)
                (record,) = function.context.target.ledger.records(limit=1)
                if answer["batchItemFailures"] or record.state != "succeeded":
                    raise RuntimeError(f"{file.name}: {record.state} {record.failure}")
                if number >= warm_up:
                    yield Pair(run.seconds, ours, transfers, ledger, requests, record)
        finally:
            function.close()


# --- a function, and what Lambda hands it; also for the cold start --------------------------------


@dataclass(frozen=True)
class Context:
    """Lambda's context, as far as it is used."""

    function_name: str = "lidar-humboldt"

    def get_remaining_time_in_millis(self) -> int:
        """How much time is left."""
        return 900_000


def settings_for(aws: Emulator, repository: Path, work: Path) -> Settings:
    """The function's settings, with buckets, ledger and queue of its own."""
    return Settings(
        manifest=Manifest((LIDAR,), {LIDAR.pipeline: "release 1"}),
        output_bucket=aws.bucket(),
        table=aws.table(),
        input_bucket=aws.bucket(),
        queue=aws.queue(),
        repository=repository,
        work=work,
    )


def arrival(aws: Emulator, settings: Settings, file: Path) -> dict[str, Any]:
    """Put a raw file into the input bucket; what Lambda hands to the function for it."""
    key, content = f"{LIDAR.input_path}{file.name}", file.read_bytes()
    put = aws.clients.s3.put_object(Bucket=settings.input_bucket, Key=key, Body=content)
    now = datetime.now(timezone.utc)
    body = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "detail": {
            "bucket": {"name": settings.input_bucket},
            "object": {"key": key, "size": len(content), "etag": put["ETag"].strip('"')},
        },
    }
    record = {
        "messageId": file.name,
        "receiptHandle": "handle",
        "body": json.dumps(body),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(now.timestamp() * 1000)),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-west-2:000000000000:queue",
        "awsRegion": "us-west-2",
    }
    return {"Records": [record]}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the function writes for CloudWatch goes nowhere, and its logger is gone afterwards."""
    logger = logging.getLogger("tidegate")
    before = {**vars(logger), "handlers": logger.handlers[:]}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        vars(logger).clear()
        vars(logger).update(before)
