"""A bucket, a table or a queue of each test's own."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_bench import Bench
from ministack_process import REGION, MiniStack

from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import create_table

# The contract tests are the same for every target, and so is the repository for user code's faults.
for name in ("contract", "runtime"):
    sys.path.append(str(Path(__file__).parents[1] / name))
pytest.register_assert_rewrite("test_contract_ledger", "test_contract_ledger_model")
pytest.register_assert_rewrite("test_contract_queue", "test_contract_executor")

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def clients(aws: MiniStack) -> Clients:
    return aws.clients()


@pytest.fixture
def new_bucket(clients: Clients) -> Callable[[], str]:
    def make() -> str:
        name = f"tidegate-test-{next(numbers)}"
        clients.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return name

    return make


@pytest.fixture
def new_table(clients: Clients) -> Callable[[], str]:
    def make() -> str:
        name = f"tidegate-test-{next(numbers)}"
        create_table(name, clients)
        return name

    return make


@pytest.fixture
def new_queue(clients: Clients) -> Callable[[], str]:
    def make() -> str:
        return clients.sqs.create_queue(QueueName=f"tidegate-test-{next(numbers)}")["QueueUrl"]

    return make


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """Powertools sets a logger up once a process, for the standard output that there is then."""
    logger: Any = logging.getLogger("tidegate")
    handlers, level = logger.handlers[:], logger.level

    def reset() -> None:
        for name in ("init", "powertools_handler", "logger_handler"):
            vars(logger).pop(name, None)
        logger.handlers[:] = handlers
        logger.setLevel(level)

    reset()
    yield
    reset()


@pytest.fixture
def new(
    new_bucket: Callable[[], str], new_table: Callable[[], str], new_queue: Callable[[], str]
) -> dict[str, Callable[[], str]]:
    return {"bucket": new_bucket, "table": new_table, "queue": new_queue}


@pytest.fixture
def bench(clients: Clients, new: dict[str, Callable[[], str]], tmp_path: Path) -> Bench:
    return Bench(clients, new, tmp_path)
