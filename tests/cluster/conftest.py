"""A Dask cluster for a module of tests, and workspaces for its runs."""

import sys
from pathlib import Path

import pytest
from dask_processes import DaskProcesses

sys.path.append(str(Path(__file__).parents[1] / "service"))

from service_workspace import SHARED, make, make_repository, mounting


@pytest.fixture(scope="session", autouse=True)
def _repository(tmp_path_factory):
    """The pipelines that most workspaces share."""
    SHARED[:] = [make_repository(tmp_path_factory.mktemp("tiny") / "repository")]


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    """A scheduler without workers."""
    cluster = DaskProcesses(tmp_path_factory.mktemp("dask"))
    cluster.start_scheduler()
    yield cluster
    cluster.close()


@pytest.fixture
def place(tmp_path):
    """A workspace of the tiny pipelines, with one config."""
    return make(tmp_path / "workspace")


@pytest.fixture
def mount():
    """Mounts something on a folder for the time of a test."""
    with mounting() as mount:
        yield mount
