"""The executor over a real Dask worker: versions that differ, and folders that are not shared."""

import errno
import platform
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import distributed
import pytest

from tidegate.errors import ClusterError, NodeLost, PythonEnvironmentError, StorageError
from tidegate.executors import EXECUTORS, DaskOptions, ExecutorChoice, ExecutorOptions
from tidegate.executors.dask import executor as module
from tidegate.executors.dask import messages, remote
from tidegate.executors.dask.clusters import DaskCluster
from tidegate.executors.dask.code_hash import code_hash
from tidegate.executors.dask.messages import Expected, Refused, Request
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


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr("tidegate.executors.dask.clusters.CONNECT", 1.0)
    with pytest.raises(ClusterError) as raised, opened("tcp://127.0.0.1:9"):
        pass
    assert "127.0.0.1:9" in raised.value.what


EXPECTED = Expected(remote.__version__, "3.10.1", "0.8.5", ("python",), "", "", 1, "first")


@pytest.fixture
def permit(tmp_path):
    """The folder by which a worker may go on with a run."""
    (tmp_path / "run/store").mkdir(parents=True)
    return tmp_path / "run/begun-1"


def ask(permit, **expected):
    """What the worker answers to a request; raises what it says."""
    task = Task(RUN, CONFIG, (), str(permit.parent))
    request = Request(task, LIMITS, replace(EXPECTED, **expected), str(permit))
    return messages.read_answer(remote.carry_out(messages.request_text(request)))


class OtherWorker:
    """A worker process of an environment with other versions."""

    ready: ClassVar = {"python": "3.13.0", "tsdat": "0.10.0"}

    def __init__(self, *arguments, **more):
        pass

    def start(self):
        pass

    def close(self):
        pass

    def interrupt(self):
        pass


def test_another_python_or_tsdat_is_refused(permit, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "WorkerProcess", OtherWorker)
    code = code_hash(tmp_path / "repository")
    with pytest.raises(Refused) as raised:
        ask(permit, repository=str(tmp_path / "repository"), code=code)
    error = raised.value.error
    assert isinstance(error, PythonEnvironmentError)
    for version in ("3.13.0", "0.10.0"):
        assert version in error.what
    for version in ("3.10.1", "0.8.5"):
        assert version in error.why
    assert "tidegate env" in error.next


def test_other_code_is_refused(permit, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "SAME_CODE_WITHIN", 0.0)
    repository = tmp_path / "repository"
    file = repository / "pipelines/tiny/pipeline.py"
    file.parent.mkdir(parents=True)
    file.write_text("old = 1\n")
    code = code_hash(repository)
    (repository / "pipelines/.cache").mkdir()  # what programs keep there is not code
    (repository / "pipelines/.cache/x.json").write_text("{}")
    assert code_hash(repository) == code
    file.write_text("new = 1\n")
    with pytest.raises(Refused) as raised:
        ask(permit, repository=str(repository), code=code)
    assert str(repository) in raised.value.error.what
    assert raised.value.error.next


class Client:
    """A client of a cluster with workers of these versions."""

    class scheduler:
        address = "tcp://head:8786"
        broadcast = None

    def __init__(self, versions):
        self._versions = versions

    def sync(self, function, **more):
        return {address: {"packages": packages} for address, packages in self._versions.items()}


def test_workers_with_another_python_or_dask_are_refused():
    here = {
        "python": f"{platform.python_version()}.final.0",
        "distributed": distributed.__version__,
    }
    client = Client({
        "same": here,
        "python": {**here, "python": "3.9.18.final.0"},
        "dask": {**here, "distributed": "2021.1.0"},
    })  # fmt: skip
    cluster = DaskCluster(client, None, 1, print)
    found = cluster.unsuitable(["same", "python", "dask"])
    assert set(found) == {"python", "dask"}
    assert "3.9.18" in found["python"].why
    assert "2021.1.0" in found["dask"].why
    assert all(error.next for error in found.values())


def test_each_executor_has_worker_processes_of_its_own(permit):
    """Packages may have been installed since the one before it started."""

    def request(executor, service="a"):
        task = Task(RUN, CONFIG, (), str(permit.parent / service / "run"))
        return Request(task, LIMITS, replace(EXPECTED, executor=executor), "")

    pools = remote._Pools()

    def used(*about):
        with pools.used(request(*about)) as pool:
            return pool

    first, other = used("first"), used("second", "b")
    assert used("first") is first
    assert used("third") is not first
    assert used("first") is not first  # it was closed
    assert used("second", "b") is other  # another service's


def test_a_run_that_dask_starts_twice_is_carried_out_once(permit):
    permit.mkdir()
    with pytest.raises(NodeLost):
        ask(permit)


def test_a_full_shared_disk_waits_for_room(permit, monkeypatch, tmp_path):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageError) as raised:
        ask(permit)
    assert is_full_disk(explain_full_disk(failure_from("transient", raised.value), tmp_path))


def test_products_that_this_machine_does_not_see(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PRODUCTS_WITHIN", 0.0)
    outcome = Outcome((Product("a.nc", "data", 2, "0" * 64),))
    (tmp_path / "a.nc").write_text("x")  # it is not whole
    with pytest.raises(StorageError):
        module.wait_for_products(outcome, tmp_path)
    (tmp_path / "a.nc").write_text("xy")
    module.wait_for_products(outcome, tmp_path)
