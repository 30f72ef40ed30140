"""(k) What an overview of 30 configs asks DynamoDB, with a short and a long history on record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

from benchmarks.emulator import Emulator, Traffic, emulator
from benchmarks.history import END, history, streams
from benchmarks.report import Figure
from tidegate.runtime.runs import RunRecord
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.ledger.run_items import StoredRun
from tidegate.workspace.summary_refresh import SummaryRefresh

SIZES = (10_000, 100_000)
"""A million runs do not fit into the emulator's memory."""
_DAYS = 730
_IN_A_TRANSACTION = 33
_AT_ONCE = 20
_MOST = 40
"""Requests of an overview after a new run of each config."""


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The requests for each size of the history."""
    figures = []
    with emulator(folder) as aws:
        for size in (300,) if quick else SIZES:
            figures += _measure(aws, size)
    return figures


def _measure(aws: Emulator, size: int) -> list[Figure]:
    days = min(_DAYS, max(size // 30, 10))
    wanted = streams(size, days)
    ledger = DynamoLedger(aws.table(), aws.clients)
    count = write(ledger, history(wanted, days))
    title = f"{count:,} runs on DynamoDB"
    traffic = Traffic()
    traffic.watch(aws.clients.dynamodb.meta.events)
    refresh = SummaryRefresh(ledger, _AT_ONCE)
    configs = [stream.config for stream in wanted]

    def look(at: float) -> tuple[int, float]:
        traffic.clear()
        began = time.perf_counter()
        refresh(configs, END + timedelta(minutes=at))
        return traffic.count("dynamodb"), 1e3 * (time.perf_counter() - began)

    first, _ = look(0)
    again, took = look(0.5)
    write(ledger, _latest(wanted, days))
    after, took_after = look(2)
    return [
        Figure("k", f"{title}: requests of the first overview of all", first, ""),
        Figure("k", f"{title}: requests of an overview", again, "", at_most=_MOST),
        Figure("k", "  which took", took, "ms"),
        Figure("k", f"{title}: requests after a new run of each config", after, "", at_most=_MOST),
        Figure("k", "  which took", took_after, "ms"),
    ]


def _latest(wanted: Sequence[object], days: int) -> Iterator[RunRecord]:
    """A run of each config that has just ended."""
    begun: dict[str, RunRecord] = {}
    for record in history(wanted, 1, END + timedelta(days=1)):  # type: ignore[arg-type]
        begun.setdefault(record.run.config, record)
    for number, record in enumerate(begun.values()):
        yield replace(record, started=END + timedelta(seconds=number))


def write(ledger: DynamoLedger, records: Iterator[RunRecord]) -> int:
    """Put runs that have ended on record, without products, many in each transaction."""
    items, count = ledger._run_items, 0
    table = items._table
    while batch := list(islice(records, _IN_A_TRANSACTION)):
        writes = []
        for record in batch:
            stored = StoredRun(record, "1", None, (), sure=True)
            writes += [items.put(stored, None), *items.move_in_lists(stored, None)]
        table.transact(writes)
        count += len(batch)
    return count
