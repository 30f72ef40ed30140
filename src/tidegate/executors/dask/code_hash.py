"""Whether two machines see the same code: a hash of the text files of a repository."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tidegate.runtime.code_files import SHARED, TEXT_ENDINGS, walk

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


def _files(repository: Path) -> Iterator[Path]:
    for root in ("pipelines", *SHARED):
        for path in walk(repository / root):
            # Programs keep caches in hidden folders, which change at any time.
            hidden = any(part.startswith(".") for part in path.relative_to(repository).parts[:-1])
            if path.suffix in TEXT_ENDINGS and not hidden:
                yield path
