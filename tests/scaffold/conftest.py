"""Fixtures for these tests: pipelines repositories, and git."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The tools for images and for the emulator are those of their own tests.
for name in ("images", "aws"):
    sys.path.append(str(Path(__file__).parents[1] / name))


@pytest.fixture
def git() -> Callable[..., str]:
    """Git, as nobody in particular and with no settings of this machine's."""

    def run(folder: Path, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "nobody@localhost"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **identity, **nothing},
        )
        return done.stdout

    return run


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Makes a pipelines repository of files and what they hold."""

    def make(files: dict[str, str], name: str = "waves") -> Path:
        root = tmp_path / name
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        root.mkdir(exist_ok=True)
        return root

    return make
