"""The contract tests (``tests/contract``) on S3 and DynamoDB, as MiniStack has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_contract_inputs
import test_contract_ledger
import test_contract_outputs
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from implementations import InputsUnderTest, OutputsUnderTest
from test_contract_ledger_model import LedgerMachine

from tidegate.runtime.protocols import Ledger
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs

for module in (test_contract_inputs, test_contract_ledger, test_contract_outputs):
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
