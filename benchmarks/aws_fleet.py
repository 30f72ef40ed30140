"""(l) Many configs with a file a minute each: what the ledger's busiest partition is asked for.

Each run takes the way of a plain ingest through the ledger, on the emulator; requests and write
units are counted as AWS counts them. A partition of DynamoDB takes 1,000 write units a second
(Developer Guide: *Designing partition keys to distribute your workload*).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.emulator import emulator
from benchmarks.report import Figure
from tidegate.runtime.runs import Input, Product, Run
from tidegate.targets.aws.ledger import DynamoLedger

CONFIGS, MINUTES = 300, 4
PARTITION = 1000.0
"""Write units a second that a partition takes."""
_BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
_MINUTE = timedelta(minutes=1)
_AT_ONCE = 8


class _Counted:
    """Requests and write units, by partition key, of a client of DynamoDB."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.units: Counter[str] = Counter()

    def watch(self, events: Any) -> None:
        events.register("provide-client-params.dynamodb", self._count)

    def _count(self, params: Mapping[str, Any], model: Any, **more: Any) -> None:
        self.requests[model.name] += 1
        for item, units in _writes(model.name, params):
            self.units[item["pk"]["S"]] += units


def _writes(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Each item that a request writes, or its key, and its write units: one a kB."""
    if operation == "TransactWriteItems":
        for write in params["TransactItems"]:
            [what] = write.values()
            item = what.get("Item") or what["Key"]
            yield item, 2 * _kilobytes(item)
    elif operation in ("PutItem", "UpdateItem", "DeleteItem"):
        item = params.get("Item") or params["Key"]
        yield item, _kilobytes(item)


def _kilobytes(item: Mapping[str, Any]) -> int:
    return max(1, math.ceil(len(json.dumps(item, default=str)) / 1024))


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The same minutes of all configs, several functions at a time."""
    configs, minutes = (4, 2) if quick else (CONFIGS, MINUTES)
    counted = _Counted()
    with emulator(folder / "emulator") as aws:
        ledgers = [DynamoLedger(aws.table(), aws.clients)]
        ledgers += [DynamoLedger(ledgers[0].table, aws.clients) for _ in range(configs - 1)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            # The first file of each config notes its datastream, once.
            list(pool.map(lambda n: _run(ledgers[n], n, 0), range(configs)))
            counted.watch(aws.clients.dynamodb.meta.events)
            for minute in range(1, minutes + 1):
                list(pool.map(lambda n, at=minute: _run(ledgers[n], n, at), range(configs)))  # type: ignore[misc]
    runs = configs * minutes
    a_run = sum(counted.units.values()) / runs
    busiest, units = counted.units.most_common(1)[0]
    most = PARTITION * runs / units
    second = configs / 60
    return [
        Figure("l", "requests to the ledger a run", sum(counted.requests.values()) / runs, ""),
        Figure("l", "write units a run, without the indexes", a_run, ""),
        Figure("l", f"{configs} configs, a file a minute each: runs a second", second, ""),
        Figure("l", f"  write units a second of the busiest partition, {busiest}",
               units / runs * second, "", at_most=PARTITION),
        Figure("l", "  runs a second that this partition takes", most, "", at_least=second),
    ]  # fmt: skip


def _run(ledger: DynamoLedger, number: int, minute: int) -> None:
    """A file of a config: the ledger's part of its run."""
    config, now = f"site{number}/lidar", _BEGIN + minute * _MINUTE
    file = Input(f"site{number}/lidar/{now:%H%M}.csv", f"{minute}", 1)
    run, owner = Run(config, inputs=(file,), arrived=now), f"{number}"
    ledger.states([run.key])
    claim = ledger.claim(run, owner=owner, lease=_MINUTE, now=now, release="r")
    record = claim.record
    assert record is not None
    key = f"storage/root/site{number}/{now:%Y%m%d.%H%M}.nc"
    product = Product(
        key, "data", 1, "0" * 64, f"site{number}.lidar.a1", now, now + _MINUTE, run=run.key,
        config=config,
    )  # fmt: skip
    ledger.intend(run.key, owner=owner, attempt=record.attempt, products=[key])
    ledger.products_at([key])
    ledger.about(config, file.key, but=run.key)
    ledger.finish(replace(record, state="succeeded", finished=now, products=(product,)))
