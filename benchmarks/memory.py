"""(d) A worker's memory over 1,000 runs of a pipeline that leaves its figures open."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import workspaces
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure
from tidegate.runtime.manifest import Config
from tidegate.runtime.process import WorkerProcess, resident_memory
from tidegate.runtime.publish import STORE
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.stage import INPUTS
from tidegate.runtime.task import Task

FLAT = 1.0
"""What counts as flat, MB in 100 runs: 5 MB in the 500 runs after which a worker is replaced."""
_PLAIN_LIMIT = 4096.0


def measure(folder: Path, quick: bool) -> list[Figure]:
    """How memory grows, after the first runs, in MB for 100 runs; plain Tsdat's beside it."""
    runs, first, plain_runs = (8, 2, 4) if quick else (1000, 100, 200)
    root = folder / "workspace"
    root.mkdir()
    repository = workspaces.make(root, "left open").root / "pipelines"
    files = workspaces.raw_files(folder / "raw", 2, minutes=60)
    ours = _worker(repository, folder, files, runs)
    plain = _plain(repository, folder, files, plain_runs)
    return [
        Figure("d", "worker, MB in 100 runs", slope(ours[first:]), "MB", at_most=FLAT, count=runs),
        Figure("d", f"  worker after {first} runs", ours[first - 1], "MB"),
        Figure("d", f"  worker after {runs} runs", ours[-1], "MB"),
        Figure("d", "  the most after any run", max(ours), "MB"),
        Figure("d", "  plain Tsdat, MB in 100 runs", slope(plain[2:]), "MB", count=len(plain)),
    ]


def slope(memory: Sequence[float]) -> float:
    """The slope of memory after each run, by least squares, in MB for 100 runs."""
    return 100 * statistics.linear_regression(range(len(memory)), memory).slope


def _worker(repository: Path, folder: Path, files: Sequence[Path], runs: int) -> list[float]:
    """Resident memory of one worker process after each run, MB."""
    config = Config("lidar", "humboldt", "Ingest", "S3", workspaces.HUMBOLDT, "lidar/humboldt/")
    worker = WorkerProcess([sys.executable], repository)
    memory = []
    try:
        for number in range(runs):
            task = _task(config, folder / "work" / str(number), files[number % len(files)])
            outcome = worker.perform(task)
            if outcome.failure is not None or outcome.plots_failed or worker.pid is None:
                raise RuntimeError(f"the run failed: {outcome}")
            memory.append(resident_memory(worker.pid))
            shutil.rmtree(task.work)
    finally:
        worker.close()
    return memory


def _task(config: Config, work: Path, file: Path) -> Task:
    key = f"{config.input_path}{file.name}"
    staged = work / INPUTS / key
    for needed in (staged.parent, work / STORE, work / "tmp"):
        needed.mkdir(parents=True)
    shutil.copyfile(file, staged)
    run = Run(config.id, inputs=(Input(key, "any", file.stat().st_size),))
    return Task(run, config, (str(staged),), str(work))


def _plain(repository: Path, folder: Path, files: Sequence[Path], runs: int) -> list[float]:
    """Resident memory of plain Tsdat after each run, MB; ends early when it takes too much."""
    memory: list[float] = []
    with PlainTsdat(repository, folder / "plain") as plain:
        while len(memory) < runs and (not memory or memory[-1] < _PLAIN_LIMIT):
            file = files[len(memory) % len(files)]
            memory.append(plain.run(workspaces.HUMBOLDT, file).memory)
    return memory
