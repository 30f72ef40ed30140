"""Two functions at once: what arrived later has the last word, and ledger and bucket agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_bench import NOON, Bench

from tidegate.runtime.publish import STORE
from tidegate.runtime.runs import Product
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws.clients import Clients

pytestmark = [pytest.mark.aws, pytest.mark.slow]

KEY = "lidar/humboldt/a.dat"


class Intercepted:
    """A client that calls ``before(name, arguments)`` before each request."""

    def __init__(self, client: Any, before: Callable[[str, dict[str, Any]], None]) -> None:
        self._client, self._before = client, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name not in ("put_object", "transact_write_items"):
            return found

        def call(**arguments: Any) -> Any:
            self._before(name, arguments)
            return found(**arguments)

        return call


class InterceptedClients(Clients):
    """Clients of S3 and DynamoDB that are intercepted."""

    def __init__(self, real: Clients, before: Callable[[str, dict[str, Any]], None]) -> None:
        self.real, self.before = real, before

    def arn(self, *arguments: str) -> str:
        return self.real.arn(*arguments)

    def client(self, service: str) -> Any:
        return Intercepted(self.real.client(service), self.before)


def two(clients, new, folder, before) -> tuple[Bench, Bench]:
    """Two functions of one config; the requests of the first are intercepted."""
    first = Bench(InterceptedClients(clients, before), new, folder)
    shared = {n: getattr(first.settings, n) for n in ("input_bucket", "output_bucket", "table")}
    return first, Bench(clients, new, folder, **shared)


def content(bench: Bench, key: str) -> bytes:
    answer = bench.clients.s3.get_object(Bucket=bench.settings.output_bucket, Key=key)
    return bytes(answer["Body"].read())


def test_an_older_version_that_is_uploaded_slowly(clients, new, tmp_path):
    seen = []

    def before(name, arguments):
        if name == "put_object" and str(arguments["Key"]).startswith("storage/") and not seen:
            seen.append(name)
            second.send(second.created(second.put(KEY, b"NEW")))
            second.drain()

    first, second = two(clients, new, tmp_path, before)
    first.send(first.created(first.put(KEY, b"OLD")))
    first.drain()
    assert seen
    (data,) = (product for product in first.ledger.products() if product.kind == "data")
    assert content(second, data.key).startswith(b"NEW")
    assert hashlib.sha256(content(second, data.key)).hexdigest() == data.sha256


def test_a_later_file_with_the_same_product_name(clients, new, tmp_path):
    published, seen = [], []

    def same_name(task: Task) -> Outcome:
        text = b"".join(Path(place).read_bytes() for place in task.arguments)
        place = Path(task.work) / STORE / "storage/root/same.nc"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
        sha256 = hashlib.sha256(text).hexdigest()
        made = Product("storage/root/same.nc", "data", len(text), sha256, "a.b", NOON, NOON)
        return Outcome(products=(made,))

    def before(name, arguments):
        if name == "put_object" and str(arguments["Key"]).startswith("storage/"):
            published.append(name)
        elif name == "transact_write_items" and published and not seen:
            seen.append(name)
            second.send(second.created(second.put("lidar/humboldt/b.dat", b"BBBB")))
            second.drain()

    first, second = two(clients, new, tmp_path, before)
    first.worker.behaviour = second.worker.behaviour = same_name
    first.send(first.created(first.put(KEY, b"AAAA")))
    first.drain()
    assert seen
    (product,) = first.ledger.products()
    assert content(second, product.key) == b"BBBB"
    assert hashlib.sha256(b"BBBB").hexdigest() == product.sha256
