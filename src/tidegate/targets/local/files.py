"""Files and folders: open, sync and delete, with errors that say what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from tidegate.errors import InputChanged, StorageError

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Error numbers that mean that a file is not there any more, or no longer a regular file."""


def stays_inside(key: str) -> bool:
    """Whether a key names something below its root: no empty part, no ``..``, no NUL."""
    return not any(part in ("", ".", "..") or "\0" in part for part in key.split("/"))


def existing_file(root: Path, key: str) -> Path:
    """The file or folder of a key below ``root``; a link that leads out of it counts as missing.

    Raises:
        InputChanged: there is none.
    """
    place = root / key
    try:
        inside = stays_inside(key) and place.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # it is gone, or its links are a loop
        inside = False
    if not inside:
        raise InputChanged(
            f"there is no {key} below {root.name}/",
            why="it was moved or deleted after it was published",
            next="reprocess its day to make it again: `tidegate reprocess --help`",
        )
    return place


def sync_tree(path: Path) -> None:
    """Make sure that a file, or all of a folder, is on the disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
    else:
        sync(path)


def sync(path: Path) -> None:
    """Make sure that a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not sync folders
            raise
    finally:
        os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file or a folder as far as possible; raises nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def changed(key: str) -> InputChanged:
    """The error for a file that is no longer there at the version that was asked for."""
    return InputChanged(
        f"{key} was replaced or removed before it could be read",
        next="nothing needs to be done: a new version is run as a new arrival",
    )


def unreadable(key: str, error: OSError) -> InputChanged | StorageError:
    """The error for a file that cannot be read; InputChanged where it is gone."""
    if error.errno in GONE:
        return changed(key)
    return StorageError(
        f"cannot read {key}",
        why=_reason(error),
        next="check that the disk works and that Tidegate may read the file; it tries again",
    )


_NEXT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give the user that Tidegate runs as permission to write there",
    errno.EPERM: "give the user that Tidegate runs as permission to write there",
    errno.ENAMETOOLONG: "shorten the path templates in the storage config of the pipeline",
}


def unwritable(what: str, error: OSError, place: Path) -> StorageError:
    """The error for a place that cannot be written; ``what`` says what failed."""
    error = first_error(error) if isinstance(error, shutil.Error) else error
    return StorageError(
        what,
        why=f"{_reason(error)} ({error.filename2 or error.filename or place})",
        next=_NEXT.get(error.errno or 0, "check that the disk works") + "; Tidegate tries again",
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def first_error(error: shutil.Error) -> OSError:
    """The first error of copying a folder, which shutil reports as text only."""
    source, _, text = error.args[0][0] if isinstance(error.args[0], list) else ("", "", str(error))
    number = re.search(r"\[Errno (\d+)\]", str(text))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code), str(source))


def open_to_read(path: Path) -> BufferedReader:
    """Open a regular file for reading; never waits, as opening a pipe would."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
    return os.fdopen(descriptor, "rb")
