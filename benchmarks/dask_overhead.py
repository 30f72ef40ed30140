"""(r) What Dask adds to a run: the same real runs on Dask workers and on worker processes.

Blocks of runs alternate between the two, so that other work on the machine slows down both. Each
executor is only asked to perform staged runs; queue, ledger and publishing are the same for both.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks import workspaces
from benchmarks.dask_feed import dask_workers
from benchmarks.report import Figure, median
from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice, ExecutorOptions
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Executor
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.task import Limits, Task

_CONFIG = Config(
    "lidar", "humboldt", "Ingest", "S3", workspaces.HUMBOLDT, input_path="lidar/humboldt/"
)
_LIMITS = Limits(600.0, 4000)
_WORKERS = (1, 2, 4)


def measure(folder: Path, quick: bool) -> list[Figure]:
    """For 1, 2 and 4 workers: how much longer runs take on Dask than on worker processes."""
    (folder / "workspace").mkdir(parents=True)
    repository = workspaces.make(folder / "workspace", "off").root / "pipelines"
    [raw] = workspaces.raw_files(folder / "raw", 1)
    numbers = count()

    def staged() -> Task:
        work = folder / f"work/{next(numbers)}"
        file = work / "in/lidar/humboldt" / raw.name
        for place in (file.parent, work / "store", work / "tmp"):
            place.mkdir(parents=True)
        shutil.copyfile(raw, file)
        return Task(Run(_CONFIG.id, (Input(raw.name, "1", 1),)), _CONFIG, (str(file),), str(work))

    figures = []
    for workers in (1,) if quick else _WORKERS:
        figures += _compare(folder, repository, staged, workers, 1 if quick else 25)
    return figures


def _compare(
    folder: Path, repository: Path, staged: Callable[[], Task], workers: int, blocks: int
) -> list[Figure]:
    place = folder / f"dask-{workers}"
    place.mkdir()
    options = ExecutorOptions((sys.executable,), repository, workers=workers)
    with dask_workers(place, [1] * workers) as address:
        choice = ExecutorChoice("dask", dask=DaskOptions(address, maximum=workers))
        with EXECUTORS["dask"](choice) as on_dask, EXECUTORS["process"](choice) as on_processes:
            dask, processes = on_dask(options), on_processes(options)
            try:
                for executor in (dask, processes):
                    executor.start()
                    while executor.capacity < executor.slots:
                        time.sleep(0.1)
                    for _ in range(2):  # all of their processes have imported Tsdat after that
                        _block(executor, staged, 2 * workers, workers)
                times = [
                    (_block(dask, staged, n, workers), _block(processes, staged, n, workers))
                    for n in [2 * workers] * blocks
                ]
            finally:
                dask.close()
                processes.close()
    more = [1000 * (one - other) / 2 for one, other in times]
    ratios = [other / one for one, other in times]
    who = f"{workers} worker{'s' if workers > 1 else ''}"
    runs = 2 * workers * blocks
    return [
        median("r", f"{who}: what Dask adds to a run ({runs} runs)", more, "ms"),
        median("r", f"  {who}: runs a second, to those of processes", ratios, ""),
    ]


def _block(executor: Executor, staged: Callable[[], Task], runs: int, at_once: int) -> float:
    """How long so many runs take, s."""
    tasks = [staged() for _ in range(runs)]
    with ThreadPoolExecutor(at_once) as threads:
        began = time.monotonic()
        outcomes = list(threads.map(lambda task: executor.perform(task, _LIMITS), tasks))
        took = time.monotonic() - began
    assert all(outcome.failure is None for outcome in outcomes), outcomes
    for task in tasks:
        shutil.rmtree(task.work)
    return took
