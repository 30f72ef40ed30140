"""Workspaces for the tests of the service."""

import pytest
from service_workspace import SHARED, make, make_repository, mounting


@pytest.fixture(scope="session", autouse=True)
def _repository(tmp_path_factory):
    """The pipelines that most workspaces share."""
    SHARED[:] = [make_repository(tmp_path_factory.mktemp("tiny") / "repository")]


@pytest.fixture
def place(tmp_path):
    """A workspace of the tiny pipelines, with one config."""
    return make(tmp_path / "workspace")


@pytest.fixture
def mount():
    """Mounts something on a folder for the time of a test."""
    with mounting() as mount:
        yield mount
