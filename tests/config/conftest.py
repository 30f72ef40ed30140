"""What the tests of the config share: a workspace with a pipelines repository."""

import pytest
from config_samples import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)
