"""Changes below a folder on Linux, by inotify.

Why not watchfiles, which ``watch.py`` uses on other systems: it reports a file that was renamed
into place like one that is still being written (``added``), says nothing if the kernel's queue
overflows, stops at the first name that is not UTF-8, and polls, so that a short delay costs
processor time. Here a reader sleeps until the kernel wakes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import struct
import sys
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple


class Kind(Enum):
    """What happened."""

    CHANGED = auto()
    """A file was created or written to, and may not be complete."""
    MOVED = auto()
    """A file was renamed into place: it is complete."""
    GONE = auto()
    """A file was deleted or renamed away."""
    FOLDER = auto()
    """A folder appeared; files that were in it already are not reported, so scan it."""
    FOUND = auto()
    """A file was found by a scan; ``Inotify`` does not report this."""
    LOST = auto()
    """Some changes were lost: scan everything."""


class Change(NamedTuple):
    """Something that happened to a file or a folder."""

    kind: Kind
    """What happened to it."""
    key: str
    """Its path below the root, with ``/``; "" for the root itself."""


_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED, _IS_FOLDER = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_FOLDERS, _NO_LINKS, _MASK_UNLINKED = 0x01000000, 0x02000000, 0x04000000
_EVENTS = (
    (_MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE)
    | (_DELETE_SELF | _MOVE_SELF)
    | (_ONLY_FOLDERS | _MASK_UNLINKED)
)
_HEADER = struct.Struct("iIII")
_BUFFER = 1 << 18


class Inotify:
    """Watches a folder and everything below it, except hidden folders and links.

    Raises:
        OSError: with ENOSPC or EMFILE if a limit of the system is reached, with ENOENT or ENOTDIR
            if the root is not a folder; ``read`` raises it too, and then this must be closed.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(os.path.abspath(root))
        self._keys: dict[int, str] = {}  # watch → the folder's key, "" or with a "/" at its end
        self._watches: dict[str, int] = {}
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "there is no inotify")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0:
            raise _last_error("inotify_init1")
        self._wake_event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._events, select.POLLIN)
        self._poll.register(self._wake_event, select.POLLIN)
        self.unreadable: set[str] = set()
        """Folders that cannot be watched because permission is missing."""
        try:
            self._add("")
        except BaseException:
            self.close()
            raise

    def read(self, timeout: float | None) -> list[Change]:
        """The next changes, in order; none after ``timeout`` seconds or ``wake``."""
        self._poll.poll(None if timeout is None else max(0, int(timeout * 1000) + 1))
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_event)
        try:
            data = os.read(self._events, _BUFFER)
        except BlockingIOError:
            return []
        changes: list[Change] = []
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            self._one(watch, mask, os.fsdecode(name), changes)
        return changes

    def wake(self) -> None:
        """Make ``read`` return; from any thread."""
        os.eventfd_write(self._wake_event, 1)

    def close(self) -> None:
        """Close the file descriptors; no other thread may be reading."""
        os.close(self._events)
        os.close(self._wake_event)

    def _one(self, watch: int, mask: int, name: str, changes: list[Change]) -> None:
        if mask & _OVERFLOW:
            changes.append(Change(Kind.LOST, ""))
            return
        folder = self._keys.get(watch)
        if folder is None:
            return
        if mask & (_IGNORED | _UNMOUNT | _DELETE_SELF | _MOVE_SELF):
            if folder == "":
                raise FileNotFoundError(errno.ENOENT, "the folder is gone", os.fsdecode(self._root))
            if not mask & _MOVE_SELF:  # its parent reports that, if it is watched
                self._forget(watch)
            return
        key = folder + name
        if not mask & _IS_FOLDER:
            if mask & _MOVED_TO:
                changes.append(Change(Kind.MOVED, key))
            elif mask & (_DELETE | _MOVED_FROM):
                changes.append(Change(Kind.GONE, key))
            else:
                changes.append(Change(Kind.CHANGED, key))
        elif mask & (_CREATE | _MOVED_TO):
            if not name.startswith("."):
                self._add(key + "/")
                changes.append(Change(Kind.FOLDER, key))
        elif mask & _MOVED_FROM:
            self._remove(key + "/")

    def _add(self, top: str) -> None:
        """Watch a folder and all in it. Each is listed after it is watched: none is missed."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            path = self._root + b"/" + os.fsencode(folder)
            try:
                self._watch(folder, path)
                with os.scandir(path) as entries:
                    for entry in entries:
                        if not entry.name.startswith(b".") and entry.is_dir(follow_symlinks=False):
                            waiting.append(folder + os.fsdecode(entry.name) + "/")
            except PermissionError:
                if folder == "":
                    raise
                self.unreadable.add(folder)
            except OSError as error:
                gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
                if not gone or folder == "":
                    raise

    def _watch(self, folder: str, path: bytes) -> None:
        mask = _EVENTS | (_NO_LINKS if folder else 0)  # the root itself may well be a link
        # Without the slash at the end, which would make it follow a link.
        watch = self._libc.inotify_add_watch(self._events, path.rstrip(b"/"), mask)
        if watch < 0:
            raise _last_error(os.fsdecode(path))
        before = self._keys.get(watch)
        if before is not None and before != folder:
            self._watches.pop(before, None)
        self._keys[watch] = folder
        self._watches[folder] = watch

    def _remove(self, top: str) -> None:
        """Stop watching a folder that was renamed: its paths are no longer valid."""
        for folder in [folder for folder in self._watches if folder.startswith(top)]:
            watch = self._watches[folder]
            self._forget(watch)
            self._libc.inotify_rm_watch(self._events, watch)

    def _forget(self, watch: int) -> None:
        folder = self._keys.pop(watch)
        if self._watches.get(folder) == watch:
            del self._watches[folder]


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
