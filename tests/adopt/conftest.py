"""What the tests of adoption share: tiny pipelines (tests/service), and plain Tsdat."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "service"))

from service_workspace import SHARED, make_repository


@pytest.fixture(scope="session", autouse=True)
def _repository(tmp_path_factory):
    """The pipelines that the workspaces here share."""
    before = SHARED[:]
    SHARED[:] = [make_repository(tmp_path_factory.mktemp("tiny") / "repository")]
    yield
    SHARED[:] = before
