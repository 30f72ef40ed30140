"""Clients for the emulator, for the tests of images."""

from __future__ import annotations

import pytest
from ministack_process import MiniStack

from tidegate.targets.aws.clients import Clients


@pytest.fixture(scope="session")
def clients(aws: MiniStack) -> Clients:
    return aws.clients()
