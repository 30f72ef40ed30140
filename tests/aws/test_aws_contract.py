"""The contract tests (``tests/contract``) on S3, DynamoDB and SQS, as MiniStack has them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import test_contract_executor
import test_contract_inputs
import test_contract_ledger
import test_contract_outputs
import test_contract_queue
from aws_bench import INGEST, batch
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from implementations import ExecutorUnderTest, InputsUnderTest, OutputsUnderTest, QueueUnderTest
from obedient_pipeline import CONFIG, FAST, make_repository
from test_contract_ledger_model import LedgerMachine

from tidegate.runtime.events import Requested
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import loads
from tidegate.runtime.runs import Run
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.messages import FunctionScope, StoredRun, read
from tidegate.targets.aws.queue import Delivery, SqsQueue
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs
from tidegate.targets.aws.worker import FunctionExecutor

MODULES = (
    test_contract_executor,
    test_contract_inputs,
    test_contract_ledger,
    test_contract_outputs,
    test_contract_queue,
)
for module in MODULES:
    globals().update({name: f for name, f in vars(module).items() if name.startswith("test_")})

work = test_contract_outputs.work


@pytest.fixture
def ledger(new_table: Callable[[], str], clients: Clients) -> DynamoLedger:
    return DynamoLedger(new_table(), clients)


@pytest.fixture
def raw(new_bucket: Callable[[], str], clients: Clients) -> InputsUnderTest:
    bucket = new_bucket()

    def put(key: str, content: bytes) -> None:
        try:
            key.encode()
        except UnicodeEncodeError:
            pytest.skip("S3 takes no key that is not UTF-8")
        clients.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def delete(key: str) -> None:
        clients.s3.delete_object(Bucket=bucket, Key=key)

    return InputsUnderTest(S3Inputs(bucket, clients), put, delete)


@pytest.fixture
def out(new_bucket: Callable[[], str], clients: Clients) -> OutputsUnderTest:
    bucket = new_bucket()

    def keys() -> set[str]:
        found = clients.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {item["Key"] for item in found}

    return OutputsUnderTest(S3Outputs(bucket, clients), keys)


def test_does_what_the_ledger_in_memory_does(
    new_table: Callable[[], str], clients: Clients
) -> None:
    def factory(tmp: Path) -> Iterator[Ledger]:
        yield DynamoLedger(new_table(), clients)

    machine: Any = type("dynamodb_machine", (LedgerMachine,), {"factory": staticmethod(factory)})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine, settings=settings(max_examples=8, stateful_step_count=25, deadline=None)
    )


class AskedQueue(SqsQueue):
    """A queue that says which messages still have runs at work."""

    def is_at_work(self, delivery: Delivery) -> bool:
        return any(entry[1] is delivery for entry in (*self._waiting, *self._taken))


@pytest.fixture
def waiting(
    new_table: Callable[[], str], new_queue: Callable[[], str], clients: Clients
) -> QueueUnderTest:
    """The queue as the function sees it: messages are delivered, and answered for."""
    ledger, url = DynamoLedger(new_table(), clients), new_queue()
    queue = AskedQueue(url, ledger, clients)
    delivered: list[Delivery] = []

    def deliver() -> None:
        while True:
            answer = clients.sqs.receive_message(
                QueueUrl=url, AttributeNames=["All"], MaxNumberOfMessages=10, VisibilityTimeout=600
            )
            if not answer.get("Messages"):
                return
            for record in batch(list(answer["Messages"]))["Records"]:
                delivery = Delivery.of(record)
                delivered.append(delivery)
                with queue.reading(delivery, names_run=True):
                    queue.put([_run_of(delivery, ledger)], datetime.now(timezone.utc))

    def end() -> None:
        """As SQS does with what Lambda answers; three failed deliveries make a dead letter."""
        for delivery in list(delivered):
            if queue.is_at_work(delivery):
                continue  # its run is still at work
            delivered.remove(delivery)
            if queue.close(delivery) or delivery.receives >= 3:
                clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=delivery.receipt)

    return QueueUnderTest(
        queue,
        ledger,
        now=lambda: datetime.now(timezone.utc),
        sleep=lambda duration: time.sleep(duration.total_seconds() + 0.5),
        deliver=deliver,
        end=end,
    )


def _run_of(delivery: Delivery, ledger: DynamoLedger) -> Run:
    (content,) = read(delivery.body, delivery.sent, FunctionScope(INGEST, "raw"))
    if isinstance(content, StoredRun):
        return loads(Run, ledger.state(content.name) or "")
    assert isinstance(content, Requested)
    return content.runs[0]


@pytest.fixture(scope="session")
def obedient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("obedient"))


@pytest.fixture
def executor(obedient: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExecutorUnderTest]:
    monkeypatch.setenv("PYTHONPATH", FAST)
    worker = WorkerProcess([sys.executable], obedient)
    made = FunctionExecutor(worker, 8000, CONFIG.memory)
    made.begin_invocation(900.0)
    made.start()
    yield ExecutorUnderTest(made, CONFIG)
    made.close()
