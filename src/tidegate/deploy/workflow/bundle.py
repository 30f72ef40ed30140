"""Packs a folder of source code as a zip file, for builds without a repository that AWS can read.

It contains what git would commit: tracked files with their present content, and new files that are
not ignored. The same files give the same bytes, so a bundle can be named by its content.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import UsageError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = {".git", ".venv", ".tidegate", "__pycache__", "node_modules", "cdk.out"}
_DATA = {"input", "output"}
"""Folders of a workspace with data, which are left out if there is no git repository."""


@dataclass(frozen=True)
class Bundle:
    """A zip file of source code."""

    file: Path
    """Its path."""
    sha256: str
    """Its sha256, hexadecimal."""
    count: int
    """The number of files in it."""


def make_bundle(folder: Path, file: Path) -> Bundle:
    """Write the code in ``folder`` to the zip ``file``.

    Raises:
        UsageError: the folder is empty, or a file cannot be read.
    """
    count = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(_files(folder)):
            path = folder / name
            try:
                content, executable = path.read_bytes(), os.access(path, os.X_OK)
            except OSError as error:
                raise UsageError(
                    f"cannot read {path}",
                    why=str(error),
                    next="make it readable, or add it to .gitignore",
                ) from error
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(info, content)
            count += 1
    if not count:
        raise UsageError(f"there is no code in {folder}", next="name the pipelines repository")
    return Bundle(file, hashlib.sha256(file.read_bytes()).hexdigest(), count)


def _files(folder: Path) -> Iterator[str]:
    listed = _known_to_git(folder)
    for name in _walked(folder) if listed is None else listed:
        path = folder / name
        # Skip links to folders, broken links, and submodules, which are other repositories.
        if path.is_file():
            yield name


def _known_to_git(folder: Path) -> list[str] | None:
    """The files that git would commit; None if the folder is not in a git repository."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others"]
    try:
        done = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    if done.returncode:
        return None
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def _walked(folder: Path) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        left_out = _LEFT_OUT | (_DATA if Path(here) == folder else set())
        folders[:] = [name for name in folders if name not in left_out]
        for name in names:
            yield (Path(here) / name).relative_to(folder).as_posix()
