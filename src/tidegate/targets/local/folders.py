"""Inputs and outputs in folders.

Raw files are known by what is in them, and handed out as copies: user code may write to what it is
given. Products appear by rename within one file system, after fsync: a reader sees the old one or
the new one, never half of one, and a power cut takes back no product that is on record.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Input, Product, ProductRef
from tidegate.runtime.select import counts
from tidegate.targets.local.ledger import SeenFile

logger = logging.getLogger(__name__)

OnError = Callable[[str, OSError], None]

_BLOCK = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_numbers = itertools.count(1)
_REMEMBERED = 4096
_PATIENCE = 5


class Found(NamedTuple):
    """A raw file as its inode tells it, not read yet."""

    key: str
    """Its path below the inputs' root."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When its content was last written."""
    ctime_ns: int
    """When its inode last changed."""
    inode: int
    """Which inode it is."""


class SeenFiles(Protocol):
    """What was hashed before, so that unchanged files need not be read again."""

    def at(self, keys: Iterable[str]) -> Mapping[str, SeenFile]:
        """What was noted of files by their keys."""

    def add(self, rows: Iterable[SeenFile]) -> None:
        """Note files that were hashed."""


def log_error(key: str, error: OSError) -> None:
    """Tell the log of something that could not be read; the others go on."""
    logger.warning(
        "cannot read %r: %s", key, error.strerror or error, extra={"action": "scan", "key": key}
    )


class FolderInputs:
    """Raw files below a folder; a file's version is the sha256 of its content.

    Names are taken as they are: no normalization of unicode, and bytes that are not UTF-8 are kept
    (as surrogates, the way Python has them).
    """

    def __init__(
        self, root: Path, *, seen: SeenFiles | None = None, on_error: OnError = log_error
    ) -> None:
        self.root = root
        self._seen = seen
        self._on_error = on_error
        self._fetched: dict[Input, Found] = {}

    # Looking, without reading.

    def arrives(self, key: str) -> bool:
        """Whether a file lies there now that counts as arrived."""
        return self.look(key) is not None

    def look(self, key: str) -> Found | None:
        """What lies under that key, None when it is nothing that counts as arrived.

        Dotfiles, what is under a dot-folder, ``*.part``, ``*.tmp`` and ``*~`` do not count, nor do
        folders, sockets, pipes, devices, and links that lead out of the root.
        """
        if not counts(key) or not _stays_inside(key):
            return None
        path = self.root / key
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in _GONE:
                self._on_error(key, error)
            return None
        if not stat.S_ISREG(status.st_mode) or not self._leads_inside(path):
            return None
        return _found(key, status)

    def scan(self, prefix: str = "", on_error: OnError | None = None) -> Iterator[Found]:
        """All files that count as arrived and whose keys begin so, in no particular order.

        What cannot be read is told to ``on_error``; what vanishes meanwhile is left out.
        """
        on_error = on_error or self._on_error
        folder = prefix.rpartition("/")[0]
        if folder and not (counts(folder + "/x") and _stays_inside(folder)):
            return
        # With each folder go those that it lies in, by inode: a link to one of them is a loop.
        stack: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
        while stack:
            folder, above = stack.pop()
            try:
                status = os.stat(self.root / folder)
                identity = (status.st_dev, status.st_ino)
                if identity in above or not self._leads_inside(self.root / folder):
                    continue
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        if not key.startswith(prefix):
                            continue
                        if self._is_folder(entry):
                            if not entry.name.startswith("."):
                                stack.append((key, above | {identity}))
                        elif (found := self._entry(key, entry, on_error)) is not None:
                            yield found
            except OSError as error:
                if error.errno not in _GONE:
                    on_error(folder, error)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:
            return False

    def _entry(self, key: str, entry: os.DirEntry[str], on_error: OnError) -> Found | None:
        if not counts(key):
            return None
        try:
            if entry.is_symlink():
                return self.look(key)
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            if error.errno not in _GONE:
                on_error(key, error)
            return None
        return _found(key, status) if stat.S_ISREG(status.st_mode) else None

    def _leads_inside(self, path: Path) -> bool:
        root = os.path.realpath(self.root)
        return os.path.commonpath([root, os.path.realpath(path)]) == root

    # Reading.

    def identify(self, found: Found) -> Input:
        """The file at its present version; read only if it was not noted unchanged.

        Raises:
            InputChanged: it is gone, or is being written to.
            StorageError: it cannot be read.
        """
        known = self._seen.at([found.key]).get(found.key) if self._seen else None
        if known is not None and known[:5] == tuple(found):
            return Input(found.key, known.sha256, known.size)
        row = self.read(found)
        if self._seen is not None:
            self._seen.add([row])
        return Input(row.key, row.sha256, row.size)

    def read(self, found: Found) -> SeenFile:
        """Hash a file; raises as ``identify`` does, and notes nothing."""
        path = self.root / found.key
        try:
            with _open_to_read(path) as file:
                before = _found(found.key, os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, "sha256")
                after = _found(found.key, os.fstat(file.fileno()))
        except OSError as error:
            raise _unreadable(found.key, error) from error
        if before != after:
            raise _changed(found.key)
        return SeenFile(*after, digest.hexdigest())

    def list(self, prefix: str) -> Iterator[Input]:
        """The files below a prefix that count as arrived; ``on_error`` is told of bad ones."""
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
        if not _stays_inside(input.key):
            raise StorageError(f"{input.key!r} leads out of the inputs", next="rename the file")
        try:
            source = _open_to_read(self.root / input.key)
        except OSError as error:
            raise _unreadable(input.key, error) from error
        with source:
            before = _found(input.key, os.fstat(source.fileno()))
            if before.size != input.size:
                raise _changed(input.key)
            version = _copy_hashing(source, input.key, destination)
            after = _found(input.key, os.fstat(source.fileno()))
        if version != input.version:
            with suppress(OSError):
                destination.unlink()
            raise _changed(input.key)
        if before == after:
            self._remember(input, after)

    def _remember(self, input: Input, found: Found) -> None:
        """So that ``replaced`` need not read the file a second time."""
        if len(self._fetched) >= _REMEMBERED:
            self._fetched.clear()
        self._fetched[input] = found

    def replaced(self, input: Input) -> bool:
        found = self.look(input.key)
        if found is None or found == self._fetched.get(input):
            return False
        if found.size != input.size:
            return True
        try:
            return self.read(found).sha256 != input.version
        except InputChanged:
            return self.look(input.key) is not None


class FolderOutputs:
    """Products below a folder, each under its key.

    What is being put in place lies beside its place under a hidden name until it is whole; ``work``
    is where work folders are made: on the same file system, products are moved, else copied.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self.work = work
        self._lock = threading.Lock()

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Whatever can fail for want of room is done before the first rename."""
        ordered = sorted(products, key=lambda item: item[0].kind != "data")
        ready: list[tuple[Path, Path]] = []
        touched: dict[Path, None] = {}
        key = ""
        try:
            for product, path in ordered:
                key = product.key
                place = self._place(key)
                self._check_place(key, place, path.is_dir())
                touched.update(dict.fromkeys(_with_new_entries(place.parent)))
                ready.append((self._ready(path, place), place))
            for (product, _), (path, place) in zip(ordered, ready):
                key = product.key
                self._move(path, place)
            for folder in touched:
                _sync(folder)
        except OSError as error:
            raise _unwritable(f"cannot publish {key}", error, self.root) from error
        finally:
            for path, _ in ready:
                if path.name.startswith(HIDDEN):
                    _delete(path)

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        place = self._place(ref.key)
        if not place.is_dir():
            try:
                source = _open_to_read(place)
            except OSError as error:
                raise _unreadable(ref.key, error) from error
            with source:
                version = _copy_hashing(source, ref.key, destination)
        else:
            try:
                shutil.copytree(place, destination, dirs_exist_ok=True)
                version = content_hash(destination)[1]
            except FileNotFoundError as error:
                raise _changed(ref.key) from error
            except OSError as error:
                _delete(destination)
                raise _unwritable(f"cannot copy {ref.key}", error, destination) from error
        if version != ref.version:
            _delete(destination)
            raise _changed(ref.key)

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            place = self._place(key)
            try:
                if place.is_dir() and not place.is_symlink():
                    gone = self._hidden(place, "gone")
                    place.rename(gone)  # so that nobody sees it half deleted
                    _delete(gone)
                else:
                    place.unlink()
                _sync(place.parent)
            except OSError as error:
                if error.errno not in _GONE:
                    raise _unwritable(f"cannot remove {key}", error, self.root) from error
            self._prune(place.parent)

    def sweep(self) -> int:
        """Remove what processes that are gone left under hidden names; says how many there were.

        Where one died while it replaced a folder, the old one is put back. Reads every folder.
        """
        swept = 0
        for folder, folders, files in os.walk(self.root):
            for name in [name for name in (*folders, *files) if name.startswith(HIDDEN)]:
                if name in folders:
                    folders.remove(name)
                if _left_behind(name):
                    self._put_back(Path(folder, name))
                    _delete(Path(folder, name))
                    swept += 1
        return swept

    def _place(self, key: str) -> Path:
        if not _stays_inside(key):
            raise StorageError(
                f"{key!r} leads out of the outputs",
                next="mend the path templates in the pipeline's storage config",
            )
        return self.root / key

    def _check_place(self, key: str, place: Path, is_folder: bool) -> None:
        above = next((p for p in place.parents if os.path.lexists(p)), self.root)
        if not above.is_dir():
            raise StorageError(
                f"cannot publish {key}",
                why=f"{above} is a file, and a folder is needed there",
                next="move that file away, or mend the path templates of the pipelines",
            )
        if place.is_dir() != is_folder and os.path.lexists(place):
            there, new = ("file", "folder") if is_folder else ("folder", "file")
            raise StorageError(
                f"cannot publish {key}",
                why=f"a {there} is in its place, and the product is a {new}",
                next=f"move {place} away",
            )

    def _ready(self, path: Path, place: Path) -> Path:
        """The product, safe on the file system where its place is: as it lies, or a copy."""
        if path.is_symlink() or os.lstat(path).st_dev != _device(place.parent):
            return self._copy(path, place)
        _sync_tree(path)
        return path

    def _copy(self, path: Path, place: Path) -> Path:
        copy = self._hidden(place, "new")
        make = copy.mkdir if path.is_dir() else copy.touch
        self._in(place.parent, make)
        try:
            if path.is_dir():
                shutil.copytree(path, copy, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, copy)
            _sync_tree(copy)
        except BaseException as error:
            _delete(copy)
            if isinstance(error, shutil.Error):
                raise _first(error) from error
            raise
        return copy

    def _move(self, path: Path, place: Path) -> None:
        try:
            self._in(place.parent, partial(self._rename, path, place))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Two mounts of one device: the same number, and still no rename from one to the other.
            copy = self._copy(path, place)
            try:
                self._rename(copy, place)
            except BaseException:
                _delete(copy)
                raise

    def _in(self, folder: Path, action: Callable[[], object]) -> None:
        """Make a folder and a thing in it, though another run may prune it while it is empty."""
        for _ in range(_PATIENCE):  # the lock holds this process's runs off, but no other's
            with self._lock, suppress(FileNotFoundError):
                folder.mkdir(parents=True, exist_ok=True)
                action()
                return
        folder.mkdir(parents=True, exist_ok=True)
        action()

    def _rename(self, path: Path, place: Path) -> None:
        if path.is_dir() and place.is_dir():
            self._exchange(path, place)
        else:
            path.rename(place)

    def _exchange(self, path: Path, place: Path) -> None:
        """Put a folder in the place of another: there is an instant without either."""
        away = self._hidden(place, "old")
        away.mkdir()
        old = away / place.name  # it keeps its name, so that sweep can put it back
        try:
            place.rename(old)
            path.rename(place)
        except BaseException:
            if old.exists() and not place.exists():
                old.rename(place)
            _delete(away)
            raise
        _delete(away)

    def _hidden(self, place: Path, what: str) -> Path:
        return place.parent / f"{HIDDEN}{os.getpid()}-{what}-{_TOKEN}-{next(_numbers)}"

    def _put_back(self, hidden: Path) -> None:
        if "-old-" in hidden.name:
            for child in hidden.iterdir():
                if not os.path.lexists(hidden.parent / child.name):
                    child.rename(hidden.parent / child.name)

    def _prune(self, folder: Path) -> None:
        """Remove folders that became empty, up to the root, which stays."""
        while folder != self.root:
            try:
                with self._lock:
                    folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent


HIDDEN = ".tidegate-"
"""How the names of what is not whole yet begin; then comes the process that works on it."""

_TOKEN = secrets.token_hex(4)
"""Tells this process from an earlier one of the same number, as there are in containers."""


def _left_behind(name: str) -> bool:
    pid, _, rest = name.removeprefix(HIDDEN).partition("-")
    if not pid.isdigit():
        return True
    if int(pid) == os.getpid():
        return _TOKEN not in rest
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _stays_inside(key: str) -> bool:
    return not any(part in ("", ".", "..") or "\0" in part for part in key.split("/"))


def _found(key: str, status: os.stat_result) -> Found:
    # Some file systems have inode numbers of 64 bits, and SQLite's integers have a sign.
    inode = status.st_ino & ((1 << 63) - 1)
    return Found(key, status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)


def _with_new_entries(folder: Path) -> list[Path]:
    """A folder to be written to, and those above it that get a new entry when it is made."""
    touched = [folder]
    while not touched[-1].is_dir():
        touched.append(touched[-1].parent)
    return touched


def _device(folder: Path) -> int:
    """The device of a folder that may still have to be made."""
    while not folder.is_dir():
        folder = folder.parent
    return folder.stat().st_dev


def _sync_tree(path: Path) -> None:
    """See that a file, or all of a folder, is on the disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _sync(Path(folder, name))
            _sync(Path(folder))
    else:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not sync folders
            raise
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    """Remove a file or a folder as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _copy_hashing(source: BufferedReader, key: str, destination: Path) -> str:
    """Copy an open file; returns the sha256 of what was copied."""
    digest = hashlib.sha256()
    try:
        with destination.open("wb") as copy:
            while block := _read(source, key):
                digest.update(block)
                copy.write(block)
    except OSError as error:
        with suppress(OSError):
            destination.unlink()
        raise _unwritable(f"cannot copy {key}", error, destination) from error
    except BaseException:
        with suppress(OSError):
            destination.unlink()
        raise
    return digest.hexdigest()


def _read(source: BufferedReader, key: str) -> bytes:
    try:
        return source.read(_BLOCK)
    except OSError as error:
        raise _unreadable(key, error) from error


def _changed(key: str) -> InputChanged:
    return InputChanged(
        f"{key} was replaced or removed before it could be read",
        next="nothing is to be done: what lies there now is taken up as a new arrival",
    )


def _unreadable(key: str, error: OSError) -> InputChanged | StorageError:
    if error.errno in _GONE:
        return _changed(key)
    return StorageError(
        f"cannot read {key}",
        why=_reason(error),
        next="see that the disk works and that Tidegate may read the file; it is tried again",
    )


_NEXT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "let the user that Tidegate runs as write there",
    errno.EPERM: "let the user that Tidegate runs as write there",
    errno.ENAMETOOLONG: "mend the path templates in the pipeline's storage config",
}


def _unwritable(what: str, error: OSError, place: Path) -> StorageError:
    error = _first(error) if isinstance(error, shutil.Error) else error
    return StorageError(
        what,
        why=f"{_reason(error)} ({error.filename2 or error.filename or place})",
        next=_NEXT.get(error.errno or 0, "see that the disk works") + "; it is tried again",
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _first(error: shutil.Error) -> OSError:
    """The first of what went wrong while a folder was copied, which shutil tells as text alone."""
    source, _, text = error.args[0][0] if isinstance(error.args[0], list) else ("", "", str(error))
    number = re.search(r"\[Errno (\d+)\]", str(text))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code), str(source))


def _open_to_read(path: Path) -> BufferedReader:
    """A regular file, open; never waits, as opening a pipe would."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
    return os.fdopen(descriptor, "rb")
