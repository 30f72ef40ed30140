"""(j) Pages over a long history: a year of 30 datastreams, and what an overview asks the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.history import END, history, streams, write
from benchmarks.report import Figure, median
from tidegate.quality.availability import availability
from tidegate.runtime.day_summaries import refresh_all
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.summary_refresh import SummaryRefresh

SIZES = (10_000, 100_000, 1_000_000)
FIRST_PAGE = 300.0
"""A page should be there within so many milliseconds."""
_DAYS = 730
_TIMES = 7


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The figures for each size of the history."""
    figures = []
    for size in (300,) if quick else SIZES:
        days = min(_DAYS, max(size // 30, 10))
        file = folder / "ledger.db"
        with SqliteLedger(file) as ledger:
            kept = history(streams(size, days), days, END - timedelta(days=1))
            count = write(ledger, kept)
            figures += _measure(ledger, f"{count:,} runs", days)
        for part in folder.glob("ledger.db*"):
            part.unlink()
    return figures


def _measure(ledger: SqliteLedger, size: str, days: int) -> list[Figure]:
    end = END.date()
    begin = end - timedelta(days=min(days, 365))

    def year() -> object:
        return availability(ledger, begin, end, now=END)

    def after_a_run() -> object:
        # A file more for each datastream, as in the minutes since the last look.
        more = list(history(streams(30, 1), 1, END + timedelta(days=added[0])))
        added[0] += 1
        write(ledger, more)
        began = time.perf_counter()
        year()
        return time.perf_counter() - began

    configs = [stream.config for stream in streams(30, 1)]

    def overview() -> object:
        return SummaryRefresh(ledger)(configs, END + timedelta(days=added[0]))

    added = [1]
    first = _seconds(lambda: refresh_all(ledger, at_once=1))
    made = 1000 * _seconds(overview)
    after = [float(after_a_run()) * 1000 for _ in range(3)]  # type: ignore[arg-type]
    looks = [_seconds(year) * 1000 for _ in range(_TIMES)]
    overviews = [_seconds(overview) * 1000 for _ in range(_TIMES)]
    return [
        Figure("j", f"{size}: all days summed up for the first time", first, "s"),
        median("j", f"{size}: a year of 30 datastreams", looks, "ms", at_most=FIRST_PAGE),
        median("j", f"{size}: the same after a run of each", after, "ms", at_most=FIRST_PAGE),
        Figure("j", f"{size}: an overview for the first time", made, "ms", at_most=FIRST_PAGE),
        median(
            "j", f"{size}: an overview after a run of each", overviews, "ms", at_most=FIRST_PAGE
        ),
    ]


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
