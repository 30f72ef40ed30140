"""Workers that are copies of a process that has imported Tsdat."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from runtime_repository import PYTHONS, Real

from tidegate.errors import PythonEnvironmentError, WorkerLost
from tidegate.runtime.process import WorkerProcess, fork_server_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has fork servers")


@pytest.fixture(scope="module")
def server(repository):
    """A fork server."""
    server = fork_server_for([str(PYTHONS["0.10"])], repository.root)
    yield server
    server.close()


@pytest.fixture
def new_worker(server, repository):
    """Makes workers that the server forks."""
    made = []

    def make():
        made.append(WorkerProcess([str(PYTHONS["0.10"])], repository.root, server=server))
        made[-1].start()
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@linux
@pytest.mark.functional
def test_workers_are_copies_and_share_nothing_of_their_runs(
    tmp_path, repository, server, new_worker
):
    """A run's random numbers and modules are its worker's own."""
    body = """
    def hook_customize_dataset(self, dataset):
        import random, numpy
        print("drawn", random.random(), numpy.random.random())
        return dataset
    """
    config, drawn = repository.add("forked", body), set()
    for number in range(2):
        worker = new_worker()
        assert parent_of(worker.pid) == server.pid
        real = Real(tmp_path / str(number), worker, config)
        assert real.arrive().state == "succeeded"
        drawn.update(line for line in real.said("print") if line.startswith("drawn"))
    assert len(drawn) == 2
    assert len({part for line in drawn for part in line.split()[1:]}) == 4


@linux
@pytest.mark.functional
def test_the_end_of_a_worker_is_reported(new_worker):
    worker, other = new_worker(), new_worker()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="SIGKILL"):
        worker.call("tidegate.runtime.wording.quantity", {"number": 2, "singular": "run"})
    worker.start()
    for one in (worker, other):
        answer = one.call("tidegate.runtime.wording.quantity", {"number": 2, "singular": "run"})
        assert answer == "2 runs"


@linux
@pytest.mark.functional
def test_workers_end_with_the_server_and_are_forked_again(server, new_worker):
    worker, before = new_worker(), server.pid
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:  # until the worker is dead, too
        try:
            worker.call("tidegate.runtime.wording.quantity", {"number": 1, "singular": "run"})
        except WorkerLost:
            break
    worker.start()
    assert server.pid != before
    assert parent_of(worker.pid) == server.pid


@linux
@pytest.mark.functional
def test_a_server_that_has_threads_forks_no_more(tmp_path, repository, new_worker):
    """Then a worker imports Tsdat by itself."""
    (repository.root / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    server = fork_server_for([str(PYTHONS["0.10"])], repository.root)
    worker = WorkerProcess([str(PYTHONS["0.10"])], repository.root, server=server)
    try:
        worker.start()
        server.learn(["threaded"])
        worker.close()
        worker.start()
        assert parent_of(worker.pid) == os.getpid()
    finally:
        worker.close()
        server.close()


@pytest.mark.functional
def test_an_interpreter_that_is_not_there(tmp_path):
    """The error is that of a worker on its own."""
    server = fork_server_for([str(tmp_path / "python")], tmp_path)
    worker = WorkerProcess([str(tmp_path / "python")], tmp_path, server=server)
    with pytest.raises(PythonEnvironmentError):
        worker.start()
    server.close()


@pytest.mark.functional
def test_after_an_interrupt_no_worker_starts(repository):
    """Neither as a copy nor by itself: a run would go on that nobody waits for."""
    python = [str(PYTHONS["0.10"])]
    server = fork_server_for(python, repository.root)
    server.interrupt()
    worker = WorkerProcess(python, repository.root, server=server)
    with pytest.raises(WorkerLost):
        worker.start()
    assert worker.pid is None
    server.close()
