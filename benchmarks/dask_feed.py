"""(m) How many runs a second the control process can feed to 200 Dask workers; runs only sleep.

The workers are threads of a few real Dask workers, which sleep in place of Tsdat and hand back a
small product. Everything else is real: queue, claims, staging, Dask, publishing, ledger.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.feed import SleepingExecutor, feed, sleep_in_place_of_tsdat
from benchmarks.report import Figure
from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice, ExecutorOptions

TARGET = 200.0
WORKERS = 200
_PROCESSES = 2
_PRELOAD = """\
import sys
sys.path.insert(0, {root!r})
from benchmarks.dask_feed import sleep_instead
sleep_instead({seconds})
"""


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Runs a second, in the middle of a backlog: with Dask, and without what Dask takes."""
    count, workers = (40, 8) if quick else (2000, WORKERS)
    figures = []
    for seconds in (0.0,) if quick else (0.0, 0.5):
        target = TARGET if seconds == 0 else None
        with_dask = _feed(folder / f"dask-{seconds}", count, workers, seconds)
        executor = SleepingExecutor(workers, seconds)
        without = feed(folder / f"threads-{seconds}", count, executor)
        for how, (rate, cpu) in (("Dask workers", with_dask), ("threads", without)):
            what = f"runs a second to {workers} {how}, each run sleeping {seconds:g} s"
            figures += [
                Figure("m", what, rate, "/s", at_least=target, count=count),
                Figure("m", "  processor time of the control process a run", 1000 * cpu, "ms"),
            ]
    return figures


def _feed(folder: Path, count: int, workers: int, seconds: float) -> tuple[float, float]:
    """As ``feed``, with Dask workers."""
    folder.mkdir()
    preload = folder / "sleep_preload.py"
    root = str(Path(__file__).resolve().parent.parent)
    preload.write_text(_PRELOAD.format(root=root, seconds=seconds))
    with dask_workers(folder, [workers // _PROCESSES] * _PROCESSES, preload) as address:
        choice = ExecutorChoice("dask", dask=DaskOptions(address, maximum=workers))
        with EXECUTORS["dask"](choice) as new_executor:
            executor = new_executor(ExecutorOptions((sys.executable,), folder))
            return feed(folder, count, executor)


@contextlib.contextmanager
def dask_workers(
    folder: Path, threads: Sequence[int], preload: Path | None = None
) -> Iterator[str]:
    """A scheduler and workers as processes of their own; the scheduler's address.

    ``threads`` has the number of threads of each worker, and ``preload`` is a module to load there.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    common = ("--no-dashboard",)
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), *common]
    worker = ["dask_worker", address, "--no-nanny", "--memory-limit", "0", *common]
    worker += ["--preload", str(preload)] if preload is not None else []
    workers = [[*worker, "--nthreads", str(number)] for number in threads]
    with (folder / "dask.log").open("ab") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]],
                cwd=folder,
                stdout=log,
                stderr=log,
            )
            for command in (scheduler, *workers)
        ]
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def sleep_instead(seconds: float) -> None:
    """In a Dask worker: carry out runs by sleeping."""
    from tidegate.executors.dask import messages, remote

    def carry_out(text: str) -> str:
        request = messages.read_request(text)
        return messages.answer_text(sleep_in_place_of_tsdat(request.task, seconds))

    remote.carry_out = carry_out
