"""Snapshots; and the emulator, for the tests that deploy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "aws"))

SNAPSHOTS = Path(__file__).with_name("snapshots")


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    """Compare text with a file; ``TIDEGATE_SNAPSHOTS=write`` writes the file instead."""

    def check(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("TIDEGATE_SNAPSHOTS") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
