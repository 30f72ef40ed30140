"""Which files of a pipelines repository are code and configs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SHARED = ("shared", "utils")
"""Folders that all pipelines of a repository may use."""
TEXT_ENDINGS = (".py", ".yaml", ".yml", ".json", ".toml")
"""How the names of files with code and settings end; the others are data."""
IGNORED_FOLDERS = {"__pycache__", ".git", ".venv", ".ipynb_checkpoints", "tests", "test"}
"""Folders in which nothing is that pipelines run with."""
_IGNORED_ENDINGS = (".pyc", ".md", "~", ".swp", ".DS_Store")


def walk(folder: Path) -> Iterator[Path]:
    """The relevant files below ``folder``, in a fixed order."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in IGNORED_FOLDERS)
        for name in sorted(names):
            if not name.endswith(_IGNORED_ENDINGS):
                yield Path(here) / name
