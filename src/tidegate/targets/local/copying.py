"""Hashes and copies files: a copy shares blocks where that is possible, and keeps holes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from tidegate.targets.local.files import changed, unreadable, unwritable

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_CLONE = 0x40049409  # FICLONE of Linux


def _nothing() -> None:
    """Do nothing."""


def hash_begin(source: BufferedReader, size: int, check: Callable[[], None] = _nothing) -> str:
    """The sha256 of the first ``size`` bytes of an open file, or of all of it if it is shorter.

    ``check`` is called now and then, and may raise an exception.
    """
    digest = hashlib.sha256()
    while size > 0 and (block := source.read(min(_BLOCK, size))):
        digest.update(block)
        size -= len(block)
        check()
    return digest.hexdigest()


def copy_hashing(
    source: BufferedReader, key: str, destination: Path, size: int | None = None
) -> str:
    """Copy an open file, or its first ``size`` bytes; returns the sha256 of the copy.

    After an error there is no copy.
    """
    number = source.fileno()
    left = os.fstat(number).st_size if size is None else size
    digest = hashlib.sha256()
    with _created(destination, key) as copy:
        done = 0
        for begin, end in data_parts(number, left):
            _add_zeros(digest, begin - done)
            done = begin
            while done < end and (block := _read(number, key, done, min(_BLOCK, end - done))):
                digest.update(block)
                _write(copy, block, done)
                done += len(block)
            if done < end:  # it has become shorter
                return digest.hexdigest()
        _add_zeros(digest, left - done)
        os.truncate(copy, left)
    return digest.hexdigest()


def copy_unread(source: BufferedReader, key: str, destination: Path, size: int) -> None:
    """Copy the first ``size`` bytes of an open file, the content of which is known.

    The copy shares the file's blocks where the file system can do that (Btrfs, XFS, …); otherwise
    the system copies them. After an error there is no copy.
    """
    number = source.fileno()
    with _created(destination, key) as copy:
        if not _clone(number, copy):
            for begin, end in data_parts(number, size):
                _copy_part(number, copy, key, begin, end)
        os.truncate(copy, size)


def data_parts(number: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the first ``size`` bytes of an open file hold data: ``[begin, end)``, in order.

    What lies between them are holes; a file system that knows none has one part.
    """
    end = 0
    while end < size:
        try:
            begin = os.lseek(number, end, os.SEEK_DATA)
            after = os.lseek(number, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: there is no more data
                yield end, size
            return
        if begin >= size:
            return
        yield begin, (end := min(after, size))


def _clone(source: int, copy: int) -> bool:
    """Let the copy share all blocks of the source; whether the file system can."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(copy, _CLONE, source)
    except OSError:  # another file system, or one without this; copying shows what else it may be
        return False
    return True


def _copy_part(source: int, copy: int, key: str, begin: int, end: int) -> None:
    done = begin
    if sys.platform == "linux":
        with suppress(OSError):  # between some file systems it is not possible
            while done < end and (
                count := os.copy_file_range(source, copy, end - done, done, done)
            ):
                done += count
    while done < end:
        block = _read(source, key, done, min(_BLOCK, end - done))
        if not block:
            raise changed(key)
        _write(copy, block, done)
        done += len(block)


@contextmanager
def _created(destination: Path, key: str) -> Iterator[int]:
    """A new file's descriptor; after an error there is no file."""
    try:
        copy = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            yield copy
        finally:
            os.close(copy)
    except BaseException as error:
        with suppress(OSError):
            destination.unlink()
        if isinstance(error, OSError):
            raise unwritable(f"cannot copy {key}", error, destination) from error
        raise


def _read(number: int, key: str, at: int, size: int) -> bytes:
    try:
        return os.pread(number, size, at)
    except OSError as error:
        raise unreadable(key, error) from error


def _write(number: int, block: bytes, at: int) -> None:
    view = memoryview(block)
    while view:
        count = os.pwrite(number, view, at)
        view, at = view[count:], at + count


def _add_zeros(digest: hashlib._Hash, count: int) -> None:
    while count > 0:
        digest.update(_ZEROS[:count])
        count -= _BLOCK
