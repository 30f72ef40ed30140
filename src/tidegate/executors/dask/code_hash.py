"""Whether two machines see the same code: a hash of the text files of a repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

FOLDERS = ("pipelines", "shared", "utils")
"""The folders of a pipelines repository with code and configs."""
_ENDINGS = (".py", ".yaml", ".yml", ".json", ".toml")
_LARGEST = 1_000_000
"""Of larger files, which are data, only the size counts, B."""


def code_hash(repository: Path) -> str:
    """A sha256 over the names and contents of a repository's code and config files."""
    digest = hashlib.sha256()
    for path in _files(repository):
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size <= _LARGEST else str(size).encode()
        except OSError as error:  # a link that leads nowhere leads nowhere on all machines
            content = (error.strerror or "").encode()
        key = path.relative_to(repository).as_posix()
        digest.update(f"{key}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _files(repository: Path) -> list[Path]:
    found = []
    for root in FOLDERS:
        for folder, folders, names in os.walk(repository / root):
            folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
            found += [Path(folder, name) for name in names if name.endswith(_ENDINGS)]
    return sorted(found)
