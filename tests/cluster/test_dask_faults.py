"""Real Dask schedulers and workers that die and hang: nothing is lost, and nothing is doubled."""

import os
import signal
import sys
from pathlib import Path

import pytest
from service_workspace import config, contents, csv, eventually, fill, ingest, make

pytestmark = pytest.mark.functional

CONFIG = config(ingest("one"), defaults="settle: 0")
FILES = 3
SLOW = "tiny/one/000.csv"


def deliver(place, slow=""):
    """The files of three runs; the first one may be slow."""
    for n in range(FILES):
        begin = f"2022-04-{1 + n:02}T00:00:00"
        place.put(f"tiny/one/{n:03}.csv", csv(begin, (n, n + 1), ask="" if n else slow))
    place.age()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The products of a run on this machine, without Dask."""
    place = make(tmp_path_factory.mktemp("local") / "workspace", CONFIG)
    deliver(place)
    place.once()
    return contents(place)


def has_begun(place):
    """Whether a worker is at work on the slow run."""
    record = place.record(SLOW)
    return record and [*place.root.glob(f".tidegate/work/{record.key[:16]}-*/begun-*")]


@pytest.fixture
def service(dask_cluster, tmp_path):
    """A service with one Dask worker, which has begun the slow run."""
    dask_cluster.start_worker()
    place = make(tmp_path / "workspace", CONFIG)
    deliver(place, slow="slow 5")
    with place.up("--dask-scheduler", dask_cluster.address) as up:
        eventually(lambda: has_begun(place), lambda: up.said)
        yield place, up
    for worker in dask_cluster.workers:
        worker.end()
    dask_cluster.workers.clear()


def assert_done(place, expected, attempts=2):
    """All runs have ended once, with the products of a local run."""
    record = place.ended(SLOW, "succeeded", attempt=attempts)
    assert record.attempt == attempts
    for n in range(1, FILES):
        place.ended(f"tiny/one/{n:03}.csv", "succeeded")
    eventually(lambda: not place.queued())
    assert len(place.records()) == FILES
    assert contents(place) == expected


def test_a_cluster_on_this_machine_with_pipelines_in_another_python(tmp_path, expected):
    """Another one than the service's, if it is here; Dask's workers have the service's."""
    other = Path(__file__).parents[2] / ".venvs/tsdat-0.10/bin/python"
    python = str(other) if other.exists() else sys.executable
    place = make(tmp_path / "workspace", CONFIG)
    deliver(place)
    done = place.run("up", "--once", "--workers", "1", "--executor", "dask", "--python", python)
    assert done.code == 0, done
    assert contents(place) == expected
    place.assert_whole()


def test_a_killed_worker(service, dask_cluster, expected):
    place, _ = service
    dask_cluster.workers[0].kill()
    dask_cluster.start_worker()
    assert_done(place, expected)


def test_a_worker_that_hangs(service, dask_cluster, expected):
    place, _ = service
    dask_cluster.workers[0].signal(signal.SIGSTOP)
    dask_cluster.start_worker()
    assert_done(place, expected)
    dask_cluster.workers[0].signal(signal.SIGCONT)


def test_a_killed_scheduler(service, dask_cluster, expected):
    place, up = service
    dask_cluster.scheduler.kill()
    up.says("cannot be reached")
    dask_cluster.start_scheduler()
    dask_cluster.start_worker()
    up.says("is back")
    assert_done(place, expected)


def test_a_killed_service_with_a_run_under_way(service, dask_cluster, expected):
    place, up = service
    up.kill()
    assert place.record(SLOW).state == "running"
    with place.up("--dask-scheduler", dask_cluster.address):
        assert_done(place, expected)


def test_a_full_shared_disk(dask_cluster, tmp_path, mount, expected):
    """No run is lost, and none fails: all wait until there is room."""
    (tmp_path / "disk").mkdir()
    mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path / "disk"))
    place = make(tmp_path / "disk" / "workspace", CONFIG)
    worker = dask_cluster.start_worker()
    with place.up("--dask-scheduler", dask_cluster.address) as up:
        place.put("tiny/one/000.csv", csv("2022-04-01T00:00:00", (0, 1)))
        place.ended("tiny/one/000.csv", "succeeded")
        ballast = tmp_path / "disk" / "ballast"
        fill(ballast)
        os.truncate(ballast, ballast.stat().st_size - 65536)  # room for the ledger, not for a run
        for n in range(1, FILES):
            place.put(f"tiny/one/{n:03}.csv", csv(f"2022-04-{1 + n:02}T00:00:00", (n, n + 1)))
        up.says("disk is full")
        ballast.unlink()
        for n in range(1, FILES):
            place.ended(f"tiny/one/{n:03}.csv", "succeeded")
    assert contents(place) == expected
    place.assert_whole()
    worker.end()
    dask_cluster.workers.clear()
