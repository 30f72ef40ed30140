"""What every kind of executor must do: with real Tsdat, and a pipeline that does as it is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from implementations import ExecutorUnderTest

from tidegate.errors import RunOutOfMemory, RunTimeout, WorkerLost
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.task import Limits, Task

pytestmark = pytest.mark.slow

AMPLE = Limits(120.0, 4000)
ROWS = "2022-04-05 00:00:00,1.0\n2022-04-05 06:00:00,2.0\n"


def staged(executor: ExecutorUnderTest, folder: Path, ask: str = "") -> Task:
    """A staged run over a file that tells the pipeline what to do."""
    work = folder / f"work-{len(list(folder.glob('work-*')))}"
    file = work / "in" / "raw" / f"{ask or 'plain'}.csv"
    for place in (file.parent, work / "store", work / "tmp"):
        place.mkdir(parents=True)
    file.write_text("time,value\n" + ROWS)
    run = Run(executor.config.id, (Input(f"raw/{file.name}", "1", 1),))
    return Task(run, executor.config, (str(file),), str(work))


def test_products_are_in_the_work_folder(executor: ExecutorUnderTest, tmp_path: Path) -> None:
    task = staged(executor, tmp_path)
    outcome = executor.executor.perform(task, AMPLE)
    assert outcome.failure is None
    (product,) = outcome.products
    assert (Path(task.work) / "store" / product.key).is_file()
    assert "a line from user code" in (Path(task.work) / "log.jsonl").read_text()


def test_what_the_pipeline_raises_is_a_failure(executor: ExecutorUnderTest, tmp_path: Path) -> None:
    outcome = executor.executor.perform(staged(executor, tmp_path, "raise"), AMPLE)
    assert outcome.failure is not None
    assert outcome.failure.kind == "bad-input"
    assert "no such thing" in outcome.failure.message
    assert outcome.products == ()


def test_a_task_can_ask_for_a_fresh_worker(executor: ExecutorUnderTest, tmp_path: Path) -> None:
    if not executor.can_stop:
        pytest.skip("it runs in this process")
    used = [
        executor.executor.perform(replace(staged(executor, tmp_path), fresh=fresh), AMPLE)
        for fresh in [False] * executor.executor.slots + [False, True]
    ]
    assert any(outcome.used_worker for outcome in used[:-1])
    assert not used[-1].used_worker


def test_limits_and_crashes_end_one_run(executor: ExecutorUnderTest, tmp_path: Path) -> None:
    if not executor.can_stop:
        pytest.skip("it runs in this process")
    with pytest.raises(RunTimeout, match="2 s"):
        executor.executor.perform(staged(executor, tmp_path, "sleep"), replace(AMPLE, timeout=2.0))
    with pytest.raises(RunOutOfMemory):
        executor.executor.perform(staged(executor, tmp_path, "eat"), replace(AMPLE, memory=700))
    with pytest.raises(WorkerLost):
        executor.executor.perform(staged(executor, tmp_path, "die"), AMPLE)
    assert executor.executor.perform(staged(executor, tmp_path), AMPLE).failure is None


def test_as_many_at_once_as_it_has_slots(executor: ExecutorUnderTest, tmp_path: Path) -> None:
    slots = executor.executor.slots
    tasks = [staged(executor, tmp_path) for _ in range(2 * slots)]
    with ThreadPoolExecutor(slots) as pool:
        outcomes = list(pool.map(lambda task: executor.executor.perform(task, AMPLE), tasks))
    assert [len(outcome.products) for outcome in outcomes] == [1] * len(tasks)


def test_an_interrupted_executor_stops_and_stays_stopped(
    executor: ExecutorUnderTest, tmp_path: Path
) -> None:
    if executor.can_stop:
        threading.Timer(2.0, executor.executor.interrupt).start()
        with pytest.raises(Interrupted):
            executor.executor.perform(staged(executor, tmp_path, "sleep"), AMPLE)
    executor.executor.interrupt()
    with pytest.raises(Interrupted):
        executor.executor.perform(staged(executor, tmp_path), AMPLE)
    executor.executor.close()
    executor.executor.close()
