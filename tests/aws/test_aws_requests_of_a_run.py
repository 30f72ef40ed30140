"""How many requests a run makes of AWS, which is what costs are reckoned from."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_bench import NOON, Bench

from tidegate.deploy.costs import estimate
from tidegate.runtime.publish import STORE
from tidegate.runtime.runs import Product
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws.clients import Clients

pytestmark = [pytest.mark.slow, pytest.mark.aws]

_WRITES = ("PutItem", "UpdateItem", "DeleteItem")


def _units(item: Any) -> int:
    return max(1, math.ceil(len(json.dumps(item or {}, default=str)) / 1024))


def _counted(operation: str, params: Any) -> Counter[str]:
    """DynamoDB's units, by AWS's rules: a write costs a unit a kB, twice in a transaction."""
    found: Counter[str] = Counter()
    if operation == "TransactWriteItems":
        for write in params["TransactItems"]:
            [what] = write.values()
            found["writes"] += 2 * _units(what.get("Item", what.get("ExpressionAttributeValues")))
    elif operation in _WRITES:
        found["writes"] += _units(params.get("Item", params.get("ExpressionAttributeValues")))
    elif operation == "BatchGetItem":
        found["reads"] += sum(len(asked["Keys"]) for asked in params["RequestItems"].values())
    else:
        found["reads"] += 1
    return found


@pytest.fixture
def requests(clients: Clients) -> Iterator[Counter[str]]:
    """What is asked of each service while a test runs."""
    counted: Counter[str] = Counter()

    def count(params: Any, model: Any, **more: Any) -> None:
        service = model.service_model.service_name
        if service == "dynamodb":
            counted.update(_counted(model.name, params))
        elif service == "s3":
            counted["gets" if model.name in ("GetObject", "HeadObject") else "puts"] += 1
        elif model.name != "GetQueueAttributes":  # that is the test's own
            counted["messages"] += 1

    services = ("s3", "dynamodb", "sqs")
    for service in services:
        events = clients.client(service).meta.events
        events.register(f"provide-client-params.{service}", count, unique_id="counted")
    yield counted
    for service in services:
        events = clients.client(service).meta.events
        events.unregister(f"provide-client-params.{service}", unique_id="counted")


def makes(count: int) -> Callable[[Task], Outcome]:
    """One data file, and plots."""

    def behaviour(task: Task) -> Outcome:
        made = []
        for n in range(count):
            key = f"storage/root/{task.config.name}/{task.run.key[:8]}.{n}.nc"
            place = Path(task.work) / STORE / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(key)
            sha256 = hashlib.sha256(key.encode()).hexdigest()
            times = {"begin": NOON, "end": NOON + timedelta(hours=1)} if n == 0 else {}
            kind = "ancillary" if n else "data"
            made.append(Product(key, kind, len(key), sha256, "a.b", **times))  # type: ignore[arg-type]
        return Outcome(products=tuple(made), seconds={"run": 0.01})

    return behaviour


@pytest.mark.parametrize("products", [1, 2, 8])
def test_as_many_as_costs_are_reckoned_from(
    bench: Bench, requests: Counter[str], products: int
) -> None:
    bench.worker.behaviour = makes(products)
    bench.arrive("lidar/humboldt/first.csv", b"1")  # shelves and names are noted once
    requests.clear()
    records = bench.arrive("lidar/humboldt/second.csv", b"2")
    assert len(records) == 2
    whole = requests["reads"]
    assert list(bench.ledger.records()) == records  # as the test has just asked
    requests["reads"] = 2 * whole - requests["reads"]
    assert requests["puts"] == products + 1 + 1, "each product, the log, and the raw file"
    assert requests["gets"] == 2
    assert requests["messages"] <= estimate.MESSAGES
    # The two indexes take a unit each for a product; the emulator does not tell of them.
    writes = requests["writes"] + 2 * products
    reckoned = estimate.WRITES + estimate.WRITES_EACH * products
    assert 0.8 * reckoned <= writes <= 1.1 * reckoned
    reckoned = estimate.READS + estimate.READS_EACH * products
    assert 0.7 * reckoned <= requests["reads"] <= 1.2 * reckoned


def test_the_ledger_grows_as_it_is_reckoned(bench: Bench) -> None:
    bench.worker.behaviour = makes(4)
    sizes = []
    for n in range(2):
        bench.arrive(f"lidar/humboldt/{n}.csv", str(n).encode())
        pages = bench.clients.dynamodb.get_paginator("scan").paginate(
            TableName=bench.settings.table
        )
        items = [item for page in pages for item in page["Items"]]
        # AWS counts 100 bytes besides for each item.
        sizes.append(sum(len(json.dumps(item, default=str)) + 100 for item in items))
    grown = sizes[1] - sizes[0]
    reckoned = estimate.RECORD + 4 * estimate.RECORD_EACH
    assert 0.5 * reckoned <= grown <= reckoned
