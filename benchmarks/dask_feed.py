"""(m) How many runs a second the control process can feed to 200 Dask workers; runs only sleep.

The workers are threads of a few real Dask workers, which sleep in place of Tsdat and hand back a
small product. Everything else is real: queue, claims, staging, Dask, publishing, ledger.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Figure
from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice, ExecutorOptions
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.places import Places
from tidegate.targets.local.service import Service

TARGET = 200.0
WORKERS = 200
_PROCESSES = 2
_CONFIG = Config(
    "sleep", "one", "Ingest", "S3", "pipelines/sleep.yaml", input_path="raw/", settle=0
)
_PRELOAD = """\
import sys
sys.path.insert(0, {root!r})
from benchmarks.dask_feed import sleep_instead
sleep_instead({seconds})
"""


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Runs a second, in the middle of a backlog."""
    count, workers = (40, 8) if quick else (2000, WORKERS)
    figures = []
    for seconds in (0.0,) if quick else (0.0, 0.5):
        rate, cpu = _feed(folder / f"feed-{seconds}", count, workers, seconds)
        what = f"runs a second to {workers} workers, each run sleeping {seconds:g} s"
        target = TARGET if seconds == 0 else None
        figures += [
            Figure("m", what, rate, "/s", at_least=target, count=count),
            Figure("m", "  processor time of the control process a run", 1000 * cpu, "ms"),
        ]
    return figures


def _feed(folder: Path, count: int, workers: int, seconds: float) -> tuple[float, float]:
    """Runs a second, and the control process's processor time a run, s."""
    places = Places(*(folder / name for name in ("in", "out", "ledger.db", "logs", "work")))
    (folder / "in/raw").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(count):
        (folder / f"in/raw/{number:05}.txt").write_text(f"{number}\n")
    ended: list[tuple[float, float]] = []

    def note(record: RunRecord) -> None:
        assert record.state == "succeeded", record.failure
        ended.append((time.monotonic(), time.process_time()))

    with _workers(folder, workers, seconds) as address:
        choice = ExecutorChoice("dask", dask=DaskOptions(address, maximum=workers))
        with EXECUTORS["dask"](choice) as new_executor:
            executor = new_executor(ExecutorOptions((sys.executable,), folder))
            manifest = Manifest((_CONFIG,), {"sleep": "release"})
            Service(places, manifest, executor, Listener(record=note)).once()
    assert len(ended) == count
    first, last = ended[count // 10], ended[-max(count // 10, 1)]
    between = count - count // 10 - max(count // 10, 1)
    return between / (last[0] - first[0]), (last[1] - first[1]) / between


@contextlib.contextmanager
def _workers(folder: Path, count: int, seconds: float) -> Iterator[str]:
    """A scheduler and workers as processes of their own; the scheduler's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    preload = folder / "sleep_preload.py"
    root = str(Path(__file__).resolve().parent.parent)
    preload.write_text(_PRELOAD.format(root=root, seconds=seconds))
    common = ("--no-dashboard",)
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), *common]
    worker = ["dask_worker", address, "--nthreads", str(count // _PROCESSES), "--no-nanny"]
    worker += ["--preload", str(preload), *common]
    with (folder / "dask.log").open("ab") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]],
                cwd=folder,
                stdout=log,
                stderr=log,
            )
            for command in (scheduler, *[worker] * _PROCESSES)
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
    from tidegate.runtime.runs import Product
    from tidegate.runtime.task import Outcome

    def carry_out(text: str) -> str:
        request = messages.read_request(text)
        time.sleep(seconds)
        key = f"storage/root/sleep/{os.path.basename(request.task.arguments[0])}"
        content = key.encode()
        path = Path(request.task.work, "store", key)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        product = Product(key, "ancillary", len(content), sha256)
        return messages.answer_text(Outcome((product,)))

    remote.carry_out = carry_out
