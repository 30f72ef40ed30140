"""(p) How soon workers are ready, and how much memory each takes: forked, and started by itself."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import workspaces
from benchmarks.report import Figure, median
from tidegate.runtime.forking import ForkServer
from tidegate.runtime.process import WorkerProcess, fork_server_for

TARGET = 0.3
"""A second worker should be ready after so long, s."""
WORKERS = 4


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Times to be ready, and proportional set sizes (PSS: shared pages count in parts)."""
    repository = workspaces.make(folder, "off").root / "pipelines"
    count = 2 if quick else WORKERS
    server = fork_server_for([sys.executable], repository)
    try:
        with _workers(repository, count, server) as (forked, sizes):
            ours = [*sizes, _pss(server.pid or 0)]
        with _workers(repository, count, None) as (started, sizes):
            theirs = sizes
    finally:
        server.close()
    return [
        median("p", "another worker ready after", forked[1:], "s", at_most=TARGET),
        median("p", "  a worker that imports Tsdat by itself", started, "s"),
        Figure("p", "  the first worker, with the process that forks", forked[0], "s"),
        median("p", f"memory of a worker (PSS), of {count}", ours[:-1], "MB"),
        Figure("p", f"  of {count} and the process that forks", sum(ours), "MB"),
        Figure("p", f"  of {count} that import Tsdat by themselves", sum(theirs), "MB"),
        Figure("p", "  a worker that does, to a forked one", _ratio(theirs, ours[:-1]), ""),
    ]


@contextmanager
def _workers(
    repository: Path, count: int, server: ForkServer | None
) -> Iterator[tuple[list[float], list[float]]]:
    """So many workers: how long each took to be ready (s), and its size (MB)."""
    workers = [WorkerProcess([sys.executable], repository, server=server) for _ in range(count)]
    times = []
    try:
        for worker in workers:
            began = time.monotonic()
            worker.start()
            times.append(time.monotonic() - began)
        yield times, [_pss(worker.pid or 0) for worker in workers]
    finally:
        for worker in workers:
            worker.close()


def _ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(one) / statistics.median(other)


def _pss(pid: int) -> float:
    """The proportional set size of a process, MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
