"""Outputs in a folder.

Products appear by rename within one file system, after fsync: a reader sees the old one or the new
one, never half of one, and a power cut takes back no product that is on record.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Product, ProductRef
from tidegate.targets.local.copying import copy_hashing
from tidegate.targets.local.files import (
    GONE,
    changed,
    delete,
    first_error,
    open_to_read,
    stays_inside,
    sync,
    sync_tree,
    unreadable,
    unwritable,
)

HIDDEN = ".tidegate-"
"""The start of the names of unfinished products; the number of the process follows."""

_TOKEN = secrets.token_hex(4)
"""Distinguishes this process from an earlier one with the same number, as containers have."""
_numbers = itertools.count(1)
_TRIES = 5


class FolderOutputs:
    """Products below a folder, each under its key.

    A product has a hidden name beside its final place until it is whole. Products are moved from
    ``work``, where work folders are made, or copied if that is another file system.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self.work = work
        self._lock = threading.Lock()

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """See ``Outputs.publish``. All that needs free space is done before the first rename."""
        ordered = sorted(products, key=lambda item: item[0].kind != "data")
        ready: list[tuple[Path, Path]] = []
        touched: dict[Path, None] = {}
        key = ""
        try:
            for product, path in ordered:
                key = product.key
                place = self._place(key)
                self._check_place(key, place, path)
                touched.update(dict.fromkeys(_with_new_entries(place.parent)))
                ready.append((self._ready(path, place), place))
            for (product, _), (path, place) in zip(ordered, ready):
                key = product.key
                self._move(path, place)
            for folder in touched:
                sync(folder)
        except OSError as error:
            raise unwritable(f"cannot publish {key}", error, self.root) from error
        finally:
            for path, _ in ready:
                if path.name.startswith(HIDDEN):
                    delete(path)

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        place = self._place(ref.key)
        if not place.is_dir():
            try:
                source = open_to_read(place)
            except OSError as error:
                raise unreadable(ref.key, error) from error
            with source:
                version = copy_hashing(source, ref.key, destination)
        else:
            try:
                shutil.copytree(place, destination, dirs_exist_ok=True)
                version = content_hash(destination)[1]
            except FileNotFoundError as error:
                raise changed(ref.key) from error
            except OSError as error:
                delete(destination)
                raise unwritable(f"cannot copy {ref.key}", error, destination) from error
        if version != ref.version:
            delete(destination)
            raise changed(ref.key)

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        """``fetch`` for each pair."""
        for ref, destination in wanted:
            self.fetch(ref, destination)

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            place = self._place(key)
            try:
                if place.is_dir() and not place.is_symlink():
                    gone = self._hidden(place, "gone")
                    place.rename(gone)  # so that nobody sees it half deleted
                    delete(gone)
                else:
                    place.unlink()
                sync(place.parent)
            except OSError as error:
                if error.errno not in GONE:
                    raise unwritable(f"cannot remove {key}", error, self.root) from error
            self._prune(place.parent)

    def missing(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if not os.path.lexists(self._place(key))]

    def set_aside(self, keys: Iterable[str]) -> str:
        """Move products to ``withdrawn/`` beside the work folder."""
        aside = self.work.parent / "withdrawn"
        for key in keys:
            place, away = self._place(key), aside / key
            try:
                away.parent.mkdir(parents=True, exist_ok=True)
                delete(away)
                shutil.move(place, away)
                sync(place.parent)
            except OSError as error:
                if error.errno not in GONE:
                    raise unwritable(f"cannot move {key} to {aside}", error, aside) from error
            self._prune(place.parent)
        return f"{aside.parent.name}/{aside.name}/"

    def restore(self, keys: Iterable[str]) -> None:
        """Put back old folders where a process died while it replaced one at one of these keys."""
        for folder in {self._place(key).parent for key in keys if stays_inside(key)}:
            with suppress(OSError):  # the run that publishes there says what is wrong
                for name in os.listdir(folder):
                    if name.startswith(HIDDEN) and _left_behind(name):
                        self._put_back(folder / name)

    def sweep(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Delete what dead processes left under hidden names; returns how many there were.

        If one died while it replaced a folder, the old folder is put back. Reads every folder; ends
        early once ``stopped()`` is true.
        """
        swept = 0
        for folder, folders, files in os.walk(self.root):
            if stopped():
                break
            for name in [name for name in (*folders, *files) if name.startswith(HIDDEN)]:
                if name in folders:
                    folders.remove(name)
                if _left_behind(name):
                    self._put_back(Path(folder, name))
                    delete(Path(folder, name))
                    swept += 1
        return swept

    def _place(self, key: str) -> Path:
        if not stays_inside(key):
            raise StorageError(
                f"{key!r} leads out of the output folder",
                next="correct the path templates in the storage config of the pipeline",
            )
        return self.root / key

    def _check_place(self, key: str, place: Path, path: Path) -> None:
        if not os.path.lexists(place) and place.parent.is_dir():
            return  # a new product beside others: what most are
        is_folder = path.is_dir()
        above = next((p for p in place.parents if os.path.lexists(p)), self.root)
        if not above.is_dir():
            raise StorageError(
                f"cannot publish {key}",
                why=f"{above} is a file, but a folder is needed there",
                next="move that file away, or correct the path templates of the pipelines",
            )
        if place.is_dir() != is_folder and os.path.lexists(place):
            there, new = ("file", "folder") if is_folder else ("folder", "file")
            raise StorageError(
                f"cannot publish {key}",
                why=f"a {there} is in its place, and the product is a {new}",
                next=f"move {place} away",
            )

    def _ready(self, path: Path, place: Path) -> Path:
        """The product, synced to the file system of its place: itself, or a copy."""
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) or status.st_dev != _device(place.parent):
            return self._copy(path, place)
        sync_tree(path)
        return path

    def _copy(self, path: Path, place: Path) -> Path:
        copy = self._hidden(place, "new")
        make = copy.mkdir if path.is_dir() else copy.touch
        self._create_in(place.parent, make)
        try:
            if path.is_dir():
                shutil.copytree(path, copy, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, copy)
            sync_tree(copy)
        except BaseException as error:
            delete(copy)
            if isinstance(error, shutil.Error):
                raise first_error(error) from error
            raise
        return copy

    def _move(self, path: Path, place: Path) -> None:
        try:
            self._create_in(place.parent, partial(self._rename, path, place))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Two mounts of one device have the same number, but a rename between them fails.
            copy = self._copy(path, place)
            try:
                self._rename(copy, place)
            except BaseException:
                delete(copy)
                raise

    def _create_in(self, folder: Path, action: Callable[[], object]) -> None:
        """Create a folder and something in it; a run may remove the folder while it is empty."""
        for _ in range(_TRIES):  # the lock keeps out runs of this process only
            with self._lock, suppress(FileNotFoundError):
                if not folder.is_dir():
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
        """Replace a folder by another: for an instant there is neither."""
        away = self._hidden(place, "old")
        away.mkdir()
        old = away / place.name  # it keeps its name, so that sweep can put it back
        try:
            place.rename(old)
            path.rename(place)
        except BaseException:
            if old.exists() and not place.exists():
                old.rename(place)
            delete(away)
            raise
        delete(away)

    def _hidden(self, place: Path, what: str) -> Path:
        return place.parent / f"{HIDDEN}{os.getpid()}-{what}-{_TOKEN}-{next(_numbers)}"

    def _put_back(self, hidden: Path) -> None:
        if "-old-" in hidden.name:
            for child in hidden.iterdir():
                with self._lock:  # a run may publish the next one meanwhile
                    if not os.path.lexists(hidden.parent / child.name):
                        child.rename(hidden.parent / child.name)

    def _prune(self, folder: Path) -> None:
        """Remove folders that became empty, up to but without the root."""
        while folder != self.root:
            try:
                with self._lock:
                    folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent


def _left_behind(name: str) -> bool:
    """Whether a hidden name is of a process that does not run any more."""
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


def _with_new_entries(folder: Path) -> list[Path]:
    """The folder, and those above it that get a new entry when it is created."""
    touched = [folder]
    while not touched[-1].is_dir():
        touched.append(touched[-1].parent)
    return touched


def _device(folder: Path) -> int:
    """The device of a folder that may not exist yet."""
    while True:
        try:
            return os.stat(folder).st_dev
        except FileNotFoundError:
            folder = folder.parent
