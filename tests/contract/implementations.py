"""Every implementation of the five protocols, for the contract tests to run on.

To add one, write a factory (a generator that yields it and cleans up after it) and register it
below; a factory may call ``pytest.skip`` where what it needs is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from samples import T0

from tidegate.executors import ExecutorOptions, ProcessExecutor
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Executor, Inputs, Ledger, Outputs, Queue
from tidegate.runtime.testing import (
    InlineExecutor,
    MemoryInputs,
    MemoryLedger,
    MemoryOutputs,
    MemoryQueue,
)
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.queue import SqliteQueue


@dataclass(frozen=True)
class InputsUnderTest:
    """Inputs, and how raw files get there and away."""

    inputs: Inputs
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]


@dataclass(frozen=True)
class OutputsUnderTest:
    """Outputs, and what a reader sees of them."""

    outputs: Outputs
    keys: Callable[[], set[str]]
    """The keys of all files, those inside folder products included."""


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = T0

    def now(self) -> datetime:
        return self.moment

    def sleep(self, time: timedelta) -> None:
        self.moment += time


def nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class QueueUnderTest:
    """A queue, its ledger and its clock."""

    queue: Queue
    ledger: Ledger
    now: Callable[[], datetime]
    sleep: Callable[[timedelta], None]
    """Lets time pass."""
    deliver: Callable[[], None] = nothing
    """For a queue that is pushed to its consumer: have it deliver what is due."""
    end: Callable[[], None] = nothing
    """For such a queue: the consumer answers which of the deliveries are done."""


@dataclass(frozen=True)
class ExecutorUnderTest:
    """An executor that was started, and a config of the repository that it works with."""

    executor: Executor
    config: Config
    can_stop: bool = True
    """Whether it can stop a run that goes on."""


def memory_ledger(tmp: Path) -> Iterator[Ledger]:
    yield MemoryLedger()


def sqlite_ledger(tmp: Path) -> Iterator[Ledger]:
    with SqliteLedger(tmp / ".tidegate" / "ledger.db") as ledger:
        yield ledger


def memory_inputs(tmp: Path) -> Iterator[InputsUnderTest]:
    inputs = MemoryInputs()

    def put(key: str, content: bytes) -> None:
        inputs.put(key, content)

    def delete(key: str) -> None:
        del inputs.files[key]

    yield InputsUnderTest(inputs, put, delete)


def folder_inputs(tmp: Path) -> Iterator[InputsUnderTest]:
    root = tmp / "input"
    root.mkdir()

    def put(key: str, content: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)

    yield InputsUnderTest(FolderInputs(root), put, lambda key: (root / key).unlink())


def _files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def memory_outputs(tmp: Path) -> Iterator[OutputsUnderTest]:
    root = tmp / "output"
    yield OutputsUnderTest(MemoryOutputs(root), lambda: _files(root))


def folder_outputs(tmp: Path) -> Iterator[OutputsUnderTest]:
    root = tmp / "output"
    yield OutputsUnderTest(FolderOutputs(root, tmp / "work"), lambda: _files(root))


def memory_queue(tmp: Path) -> Iterator[QueueUnderTest]:
    ledger, clock = MemoryLedger(), SetClock()
    yield QueueUnderTest(MemoryQueue(ledger), ledger, clock.now, clock.sleep)


def sqlite_queue(tmp: Path) -> Iterator[QueueUnderTest]:
    clock = SetClock()
    with SqliteLedger(tmp / ".tidegate" / "ledger.db") as ledger:
        yield QueueUnderTest(SqliteQueue(ledger), ledger, clock.now, clock.sleep)


def inline_executor(root: Path, config: Config) -> Iterator[ExecutorUnderTest]:
    import os
    import sys

    from tidegate.runtime.worker import perform

    before = os.getcwd()
    os.chdir(root)
    sys.path.insert(0, str(root))
    try:
        yield ExecutorUnderTest(InlineExecutor(perform), config, can_stop=False)
    finally:
        sys.path.remove(str(root))
        os.chdir(before)


def process_executor(root: Path, config: Config) -> Iterator[ExecutorUnderTest]:
    import sys

    executor = ProcessExecutor(ExecutorOptions((sys.executable,), root, workers=2))
    executor.start()
    try:
        yield ExecutorUnderTest(executor, config)
    finally:
        executor.close()


def dask_executor(root: Path, config: Config) -> Iterator[ExecutorUnderTest]:
    """A scheduler and a worker with two threads, in this process; workers of Tidegate as always."""
    import sys

    from distributed import LocalCluster

    from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        choice = ExecutorChoice("dask", dask=DaskOptions(cluster.scheduler_address, maximum=2))
        with EXECUTORS["dask"](choice) as new_executor:
            executor = new_executor(ExecutorOptions((sys.executable,), root))
            executor.start()
            try:
                yield ExecutorUnderTest(executor, config)
            finally:
                executor.close()


Factory = Callable[[Path], Iterator[Any]]

LEDGERS: dict[str, Factory] = {"memory": memory_ledger, "sqlite": sqlite_ledger}
INPUTS: dict[str, Factory] = {"memory": memory_inputs, "folders": folder_inputs}
OUTPUTS: dict[str, Factory] = {"memory": memory_outputs, "folders": folder_outputs}
QUEUES: dict[str, Factory] = {"memory": memory_queue, "sqlite": sqlite_queue}
EXECUTORS: dict[str, Callable[[Path, Config], Iterator[ExecutorUnderTest]]] = {
    "inline": inline_executor,
    "process": process_executor,
    "dask": dask_executor,
}
