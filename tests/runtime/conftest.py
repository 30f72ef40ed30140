"""What the tests of the runtime share: a target in memory, interpreters, workers, a repository."""

import gc
from datetime import datetime, timezone
from pathlib import Path

import pytest
from runtime_doubles import Bench
from runtime_repository import PYTHONS, TinyRepository, missing

from tidegate.runtime.process import WorkerProcess

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path):
    """A target in memory with one ingest, and a stand-in for Tsdat whose outcomes a test sets."""
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A Tsdat repository to which tests add pipelines."""
    return TinyRepository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def worker(repository):
    """One worker beside Tsdat 0.10 for that repository; it starts again when a test kills it."""
    # Buffered, whatever the tests' own environment says: what is in a buffer must not get lost.
    buffered = {"PYTHONUNBUFFERED": ""}
    worker = WorkerProcess([str(PYTHONS["0.10"])], repository.root, buffered)
    yield worker
    worker.close()
    gc.collect()


@pytest.fixture(scope="session", params=list(PYTHONS))
def tsdat_python(request):
    """The interpreter of each environment in which the runtime must work."""
    if missing(request.param):
        pytest.skip(missing(request.param))
    return PYTHONS[request.param]


@pytest.fixture(scope="session")
def examples():
    """The example repository of pipelines."""
    return REPOSITORY / "examples" / "pipelines"


@pytest.fixture
def noon():
    """A moment."""
    return datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
