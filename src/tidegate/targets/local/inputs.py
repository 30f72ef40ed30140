"""Inputs in a folder.

Raw files are identified by their content, and copied before user code sees them: it may write to
what it is given.
"""

from __future__ import annotations

import heapq
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.runs import Input
from tidegate.runtime.select import counts
from tidegate.targets.local.copying import copy_hashing, copy_unread, hash_begin
from tidegate.targets.local.files import (
    GONE,
    changed,
    open_to_read,
    stays_inside,
    unreadable,
)
from tidegate.targets.local.ledger import SeenFile

logger = logging.getLogger(__name__)

OnError = Callable[[str, OSError], None]
"""Called with the key of a file or folder that cannot be read, and the error."""

LeftOut = Callable[[str, "os.stat_result | None"], None]
"""Called with the key of what does not count as arrived: its status, or None for its name."""

LARGE = 32 << 20
"""Files of this size and more, in bytes, are hashed aside, and copied without being read again."""
_REMEMBERED = 4096
_SLICE = 50_000


class RawFile(NamedTuple):
    """A raw file as its folder lists it; not read yet."""

    key: str
    """Its path below the root of the inputs."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When its content was last written, ns since 1970."""
    ctime_ns: int
    """When its inode last changed, ns since 1970."""
    inode: int
    """The number of its inode."""


class HashedBefore(Protocol):
    """Files that were hashed before, so that unchanged ones need not be read again."""

    def at(self, keys: Iterable[str]) -> Mapping[str, SeenFile]:
        """The files with those keys, by key."""


def log_error(key: str, error: OSError) -> None:
    """Log a file or folder that could not be read."""
    logger.warning(
        "cannot read %r: %s", key, error.strerror or error, extra={"action": "scan", "key": key}
    )


class FolderInputs:
    """Raw files below a folder; a file's version is the sha256 of its content.

    Names are used as they are: Unicode is not normalized, and bytes that are not UTF-8 are kept (as
    surrogates, as Python does).
    """

    def __init__(
        self, root: Path, *, seen: HashedBefore | None = None, on_error: OnError = log_error
    ) -> None:
        self.root = root
        self._seen = seen
        self._on_error = on_error
        self._fetched: dict[Input, RawFile] = {}

    # Finding files, without reading them.

    def find(self, key: str) -> RawFile | None:
        """The file with that key; None when there is none that counts as arrived.

        These do not count: temporary names (see ``temporary_names``), folders, sockets, pipes,
        devices, links, and what lies behind a link; changes of it would not be noticed.
        """
        if not counts(key) or not stays_inside(key):
            return None
        path = self.root / key
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in GONE:
                self._on_error(key, error)
            return None
        if not stat.S_ISREG(status.st_mode) or self._is_behind_link(key):
            return None
        return to_raw_file(key, status)

    def is_unchanged(self, key: str, known: SeenFile | None) -> bool:
        """Whether a file is as it was when it was hashed; much quicker than ``find``."""
        return known is not None and self._is_still(RawFile(*known[:5]))

    def _is_still(self, known: RawFile) -> bool:
        try:
            return to_raw_file(known.key, os.stat(self.root / known.key)) == known
        except OSError:
            return False

    def as_listed(self, key: str) -> RawFile | None:
        """A file as ``scan`` would list it; much quicker than ``find``."""
        return self._listed(key, self._on_error)

    def scan(
        self,
        prefix: str = "",
        on_error: OnError | None = None,
        left_out: LeftOut = lambda key, status: None,
    ) -> Iterator[RawFile]:
        """All files that count as arrived and have keys with that prefix, in no particular order.

        ``on_error`` is called for what cannot be read, ``left_out`` for what does not count, once
        for a hidden folder. What vanishes meanwhile is left out without a call.
        """
        on_error = on_error or self._on_error
        folder = prefix.rpartition("/")[0]
        if folder and not (counts(folder + "/x") and stays_inside(folder)):
            return
        if self._is_behind_link(folder):
            return
        stack = [folder]
        while stack:
            folder = stack.pop()
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        if not key.startswith(prefix):
                            continue
                        if self._is_folder(entry):
                            if not entry.name.startswith("."):
                                stack.append(key)
                            else:
                                left_out(key, None)
                        elif (found := self._entry(key, entry, on_error, left_out)) is not None:
                            yield found
            except OSError as error:
                if error.errno not in GONE:
                    on_error(folder, error)

    def scan_in_order(
        self, prefix: str, after: str = "", on_error: OnError | None = None
    ) -> Iterator[RawFile]:
        """As ``scan``, in the order of the keys, and only those after ``after``.

        Of a folder, at most 50,000 names are in memory at a time.
        """
        on_error = on_error or self._on_error
        folder = prefix.rpartition("/")[0]
        if folder and not (counts(folder + "/x") and stays_inside(folder)):
            return
        if not self._is_behind_link(folder):
            yield from self._in_order(folder, prefix, after, on_error)

    def _in_order(
        self, folder: str, prefix: str, after: str, on_error: OnError
    ) -> Iterator[RawFile]:
        """The files of one folder and of those in it."""
        start, beyond = (f"{folder}/" if folder else ""), ""
        while True:
            try:
                with os.scandir(self.root / folder) as entries:
                    keys = (self._sort_key(start, entry) for entry in entries)
                    later = (k for k in keys if k > beyond and k.startswith(prefix))
                    # The folder of ``after`` is before it in order, and has keys after it.
                    found = heapq.nsmallest(
                        _SLICE,
                        (k for k in later if k > after or (k[-1] == "/" and after.startswith(k))),
                    )
            except OSError as error:
                if error.errno not in GONE:
                    on_error(folder, error)
                return
            for key in found:
                if key[-1] != "/":
                    if (file := self._listed(key, on_error)) is not None:
                        yield file
                elif key[len(start)] != ".":
                    yield from self._in_order(key[:-1], prefix, after, on_error)
            if len(found) < _SLICE:
                return
            beyond = found[-1]

    def _sort_key(self, start: str, entry: os.DirEntry[str]) -> str:
        """The key of an entry; with a ``/`` at its end if it is a folder."""
        return f"{start}{entry.name}/" if self._is_folder(entry) else f"{start}{entry.name}"

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir(follow_symlinks=False)
        except OSError:
            return False

    def _entry(
        self, key: str, entry: os.DirEntry[str], on_error: OnError, left_out: LeftOut
    ) -> RawFile | None:
        """A file that a folder lists; None if it does not count, or has vanished."""
        if not counts(key):
            left_out(key, None)
            return None
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            if error.errno not in GONE:
                on_error(key, error)
            return None
        if stat.S_ISREG(status.st_mode):
            return to_raw_file(key, status)
        left_out(key, status)
        return None

    def _listed(self, key: str, on_error: OnError) -> RawFile | None:
        """As ``_entry``, for a file whose folder is not being read any more."""
        if not counts(key):
            return None
        try:
            status = os.lstat(self.root / key)
        except OSError as error:
            if error.errno not in GONE:
                on_error(key, error)
            return None
        return to_raw_file(key, status) if stat.S_ISREG(status.st_mode) else None

    def _is_behind_link(self, key: str) -> bool:
        """Whether a part of a key is a link; the root itself may be one."""
        root = os.path.realpath(self.root)
        return os.path.realpath(os.path.join(root, key)) != os.path.join(root, key).rstrip(os.sep)

    # Reading.

    def identify(self, found: RawFile) -> Input:
        """The file at its present version; it is read only if it changed since it was hashed.

        Raises:
            InputChanged: it is gone, or is being written.
            StorageError: it cannot be read.
        """
        return (self._unchanged(found) or self.hash_file(found)).to_input()

    def _unchanged(self, found: RawFile) -> SeenFile | None:
        """What is known of a file, if it has not changed since it was hashed."""
        known = self._seen.at([found.key]).get(found.key) if self._seen else None
        return known if known is not None and known[:5] == tuple(found) else None

    def hash_file(
        self,
        found: RawFile,
        size: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> SeenFile:
        """Hash a file, or its first ``size`` bytes; raises as ``identify``, and stores nothing.

        Of a file that grows meanwhile, it is what was in it at first. ``check`` is called now and
        then, and may raise an exception to end this.
        """
        path = self.root / found.key
        try:
            with open_to_read(path) as file:
                before = to_raw_file(found.key, os.fstat(file.fileno()))
                sha256 = hash_begin(file, before.size if size is None else size, check)
                after = to_raw_file(found.key, os.fstat(file.fileno()))
        except OSError as error:
            raise unreadable(found.key, error) from error
        if before != after and after.size <= before.size:
            raise changed(found.key)
        return SeenFile(*before, sha256)

    def list(self, prefix: str) -> Iterator[Input]:
        """The files with that prefix that count as arrived; ``on_error`` is called for bad ones."""
        for found in self.scan(prefix):
            try:
                yield self.identify(found)
            except InputChanged:
                continue
            except StorageError as error:
                cause = error.__cause__
                self._on_error(
                    found.key, cause if isinstance(cause, OSError) else OSError(str(error))
                )

    def fetch(self, input: Input, destination: Path) -> None:
        if not stays_inside(input.key):
            raise StorageError(
                f"{input.key!r} leads out of the input folder", next="rename the file"
            )
        try:
            source = open_to_read(self.root / input.key)
        except OSError as error:
            raise unreadable(input.key, error) from error
        with source:
            before = to_raw_file(input.key, os.fstat(source.fileno()))
            if before.size < input.size:
                raise changed(input.key)
            if self._copy_unread(source, before, input, destination):
                return
            version = copy_hashing(source, input.key, destination, input.size)
            after = to_raw_file(input.key, os.fstat(source.fileno()))
        if version != input.version:
            with suppress(OSError):
                destination.unlink()
            raise changed(input.key)
        if before == after:
            self._remember(input, after)

    def _copy_unread(
        self, source: BufferedReader, found: RawFile, input: Input, destination: Path
    ) -> bool:
        """Copy a large file without reading it, if it is as it was when it was hashed."""
        known = self._unchanged(found) if found.size >= LARGE else None
        if known is None or known.sha256 != input.version:
            return False
        copy_unread(source, input.key, destination, input.size)
        if to_raw_file(input.key, os.fstat(source.fileno())) != found:
            return False  # it has changed meanwhile
        self._remember(input, found)
        return True

    def _remember(self, input: Input, found: RawFile) -> None:
        """Keep what was read, so that ``replaced`` need not read the file a second time."""
        if len(self._fetched) >= _REMEMBERED:
            self._fetched.clear()
        self._fetched[input] = found

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        """``fetch`` for each pair."""
        for input, destination in wanted:
            self.fetch(input, destination)

    def replaced(self, input: Input) -> bool:
        fetched = self._fetched.get(input)
        if fetched is not None and self._is_still(fetched):
            return False
        found = self.find(input.key)
        if found is None:
            return False
        if found.size < input.size:
            return True
        try:  # a file that has grown is run again, after this run
            return self.hash_file(found, input.size).sha256 != input.version
        except InputChanged:
            return self.find(input.key) is not None


def to_raw_file(key: str, status: os.stat_result) -> RawFile:
    """A raw file from its status."""
    # Some file systems have inode numbers of 64 bits, and SQLite's integers have a sign.
    inode = status.st_ino & ((1 << 63) - 1)
    return RawFile(key, status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)
