"""The executor over a real Dask worker: versions that differ, and folders that are not shared."""

import errno
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from service_workspace import SHARED, csv

from tidegate.errors import ClusterError, NodeLost, RunTimeout, StorageError, WorkerLost
from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice, ExecutorOptions
from tidegate.executors.dask import executor as module
from tidegate.executors.dask import messages, remote
from tidegate.executors.dask.messages import Expected, Request
from tidegate.runtime.attempt import failure_from
from tidegate.runtime.disk_space import explain_full_disk, is_full_disk
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input, Product, Run
from tidegate.runtime.task import Limits, Outcome, Task

pytestmark = pytest.mark.functional

CONFIG = Config("tiny", "one", "Ingest", "S3", "pipelines/tiny/config/pipeline_one.yaml")
RUN = Run(CONFIG.id, (Input("a.csv", "1", 1),))
LIMITS = Limits(60.0, 4000)
OTHER_VERSION = "import tidegate\ntidegate.__version__ = '0.0.1'\n"


@contextmanager
def opened(address, repository=Path()):
    """A started executor, and what it says."""
    said = []
    choice = ExecutorChoice("dask", dask=DaskOptions(address), say=said.append)
    with EXECUTORS["dask"](choice) as new_executor:
        executor = new_executor(ExecutorOptions((sys.executable,), repository))
        executor.start()
        try:
            yield executor, said
        finally:
            executor.close()


@pytest.fixture
def impatient(monkeypatch):
    """Other workers are not waited for."""
    monkeypatch.setattr(module, "NO_OTHER_WORKER", 0.0)


def test_another_version_of_tidegate_is_refused(dask_cluster, impatient, tmp_path):
    preload = tmp_path / "other_version.py"
    preload.write_text(OTHER_VERSION)
    worker = dask_cluster.start_worker("--preload", str(preload))
    (tmp_path / "store").mkdir()
    with opened(dask_cluster.address) as (executor, said):
        with pytest.raises(ClusterError) as raised:
            executor.perform(Task(RUN, CONFIG, (), str(tmp_path)), LIMITS)
        assert "0.0.1" in raised.value.why
        assert raised.value.next
        assert any("0.0.1" in text for text in said)
    worker.end()
    dask_cluster.workers.clear()


def test_a_work_folder_that_is_not_shared_is_refused(dask_cluster, impatient, tmp_path):
    """The worker does not see it, since it is not there."""
    worker = dask_cluster.start_worker()
    with opened(dask_cluster.address) as (executor, _):
        with pytest.raises(ClusterError) as raised:
            executor.perform(Task(RUN, CONFIG, (), str(tmp_path / "work/run-1")), LIMITS)
        assert str(tmp_path / "work") in raised.value.why
    worker.end()
    dask_cluster.workers.clear()


def test_limits_hold_on_a_dask_worker(dask_cluster, tmp_path):
    worker = dask_cluster.start_worker()

    def staged(name, ask=""):
        work = tmp_path / name
        file = work / "in/tiny/one/a.csv"
        for folder in (file.parent, work / "store", work / "tmp"):
            folder.mkdir(parents=True)
        file.write_text(csv(ask=ask))
        return Task(RUN, CONFIG, (str(file),), str(work))

    with opened(dask_cluster.address, SHARED[0]) as (executor, _):
        with pytest.raises(RunTimeout):
            executor.perform(staged("slow", "hang 600"), Limits(2.0, 4000))
        with pytest.raises(WorkerLost):
            executor.perform(staged("crash", "die 3"), LIMITS)
        outcome = executor.perform(staged("good"), LIMITS)
        assert outcome.failure is None
        for product in outcome.products:
            assert (tmp_path / "good/store" / product.key).exists()
    worker.end()
    dask_cluster.workers.clear()


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr("tidegate.executors.dask.clusters.CONNECT", 1.0)
    with pytest.raises(ClusterError) as raised, opened("tcp://127.0.0.1:9"):
        pass
    assert "127.0.0.1:9" in raised.value.what


@pytest.fixture
def request_text(tmp_path):
    """A request for a worker, and the folder by which it may go on."""
    (tmp_path / "store").mkdir()
    expected = Expected(remote.__version__, "", "", (), "", "", 1)
    permit = tmp_path / "begun-1"
    task = Task(RUN, CONFIG, (), str(tmp_path))
    return messages.request_text(Request(task, LIMITS, expected, str(permit))), permit


def test_a_run_that_dask_starts_twice_is_carried_out_once(request_text):
    text, permit = request_text
    permit.mkdir()
    with pytest.raises(NodeLost):
        messages.read_answer(remote.carry_out(text))


def test_a_full_shared_disk_waits_for_room(request_text, monkeypatch, tmp_path):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageError) as raised:
        messages.read_answer(remote.carry_out(request_text[0]))
    assert is_full_disk(explain_full_disk(failure_from("transient", raised.value), tmp_path))


def test_products_that_this_machine_does_not_see(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PRODUCTS_WITHIN", 0.0)
    outcome = Outcome((Product("a.nc", "data", 2, "0" * 64),))
    (tmp_path / "a.nc").write_text("x")  # it is not whole
    with pytest.raises(StorageError):
        module.wait_for_products(outcome, tmp_path)
    (tmp_path / "a.nc").write_text("xy")
    module.wait_for_products(outcome, tmp_path)
