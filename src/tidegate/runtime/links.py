"""Sees to it that products are files of their own, whatever user code has put into its store.

Publishing moves a product's file, so a link must not lead it to a raw file or out of the store.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Container
from pathlib import Path

from tidegate.errors import ProductError


def separate_links(store: Path, staged: Container[str] = ()) -> tuple[str, ...]:
    """Replace links by copies; returns a warning for each thing that is no file.

    ``staged`` are keys below ``store`` that the run has not changed; they are left as they are.

    Raises:
        ProductError: a symbolic link leads out of ``store``, or to nothing.
    """
    warnings = []
    root = os.path.realpath(store)
    for folder, folders, names in os.walk(store):
        for name in (*folders, *names):
            path = Path(folder, name)
            key = path.relative_to(store).as_posix()
            if key in staged:
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                warnings += _follow(path, key, root)
            elif stat.S_ISREG(status.st_mode):
                if status.st_nlink > 1:
                    _copy_over(path, path)
            elif not stat.S_ISDIR(status.st_mode):
                path.unlink()
                warnings.append(f"{key} is not published: it is no file")
    return tuple(warnings)


def _follow(link: Path, key: str, root: str) -> list[str]:
    """Replace a symbolic link to a file in the store by a copy of it."""
    target = os.path.realpath(link)
    if not target.startswith(root + os.sep) or not os.path.exists(target):
        raise ProductError(
            f"{key!r} is a link to {os.readlink(link)!r}",
            why="a link that leads out of the storage folder, or to nothing, cannot be published",
            next="copy the file in the pipeline instead of linking it; then `tidegate retry`",
        )
    if os.path.isfile(target):
        _copy_over(Path(target), link)
        return []
    link.unlink()
    return [f"{key} is not published: it is a link to something that is no file"]


def _copy_over(source: Path, place: Path) -> None:
    """Put a copy of ``source`` in the place of ``place``."""
    copy = place.with_name(".copy-of-a-link")
    shutil.copyfile(source, copy)
    os.replace(copy, place)
