"""What the tests of ``tidegate try`` and ``tidegate test`` share."""

import pytest
from testing_workspace import make_bench


@pytest.fixture
def bench(tmp_path):
    """A workspace with the tiny pipelines, without any test."""
    return make_bench(tmp_path / "workspace")
