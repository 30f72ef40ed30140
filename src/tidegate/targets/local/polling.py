"""Changes below folders by the events of systems other than Linux, and by events and polling."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from watchfiles import Change as WatchfilesChange
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from tidegate.targets.local.folder_polling import FolderPolling
from tidegate.targets.local.inotify import Change, Inotify, Kind

_STEP = 20


class Notifications:
    """Changes from watchfiles, by the system's events.

    It does not tell a rename from a write, and may lose what happens between two calls.

    Args:
        root: The folder.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._arguments = ([str(root)], False, False, 300, True, True)
        self._rust = self._listen()
        self._wake = threading.Event()

    def read(self, timeout: float | None) -> list[Change]:
        """As ``Source.read``; raises FileNotFoundError once the root is gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._wake.is_set():
            if not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
            now = time.monotonic()
            if until is not None and until <= now:
                return []
            left = 0.2 if until is None else min(0.2, until - now)
            try:
                changes = self._rust.watch(5 * _STEP, _STEP, max(1, int(left * 1000)), None)
            except WatchfilesRustInternalError:  # such as for a name that is not UTF-8
                self._rust.close()
                self._rust = self._listen()
                return [Change(Kind.LOST, "")]
            if isinstance(changes, set) and changes:
                return sorted(self._translated(changes), key=lambda change: change.key)
        self._wake.clear()
        return []

    def wake(self) -> None:
        """As ``Source.wake``."""
        self._wake.set()

    def close(self) -> None:
        """As ``Source.close``."""
        self._rust.close()

    def _listen(self) -> RustNotify:
        try:
            return RustNotify(*self._arguments)
        except WatchfilesRustInternalError as error:
            raise OSError(errno.EIO, str(error), str(self._root)) from error

    def _translated(self, changes: Iterable[tuple[int, str]]) -> Iterator[Change]:
        for kind, path in changes:
            key = os.path.relpath(path, self._root)
            if key == "." or any(part.startswith(".") for part in key.split(os.sep)):
                continue
            if kind == WatchfilesChange.deleted and not os.path.lexists(path):
                yield Change(Kind.GONE, key)
            elif os.path.isdir(path):
                yield Change(Kind.FOLDER, key)
            else:
                yield Change(Kind.CHANGED, key)


class WithPolling:
    """Changes from inotify, and those below folders that must be polled.

    Polling has a thread of its own: a server that does not answer must not hold up the rest.
    """

    def __init__(self, events: Inotify, polled: FolderPolling) -> None:
        self._events = events
        self._polled = polled
        self._lock = threading.Lock()
        self._changes: list[Change] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="tidegate-poll", daemon=True)
        self._thread.start()

    def read(self, timeout: float | None) -> list[Change]:
        """As ``Source.read``."""
        changes = self._events.read(timeout)
        with self._lock:
            polled, self._changes = self._changes, []
        return changes + polled

    def wake(self) -> None:
        """As ``Source.wake``."""
        self._events.wake()

    def close(self) -> None:
        """As ``Source.close``."""
        self._closing.set()
        self._polled.wake()
        self._thread.join()
        self._polled.close()
        self._events.close()

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                changes = self._polled.read(None)
            except OSError:  # the root is gone, which inotify reports
                return
            if changes:
                with self._lock:
                    self._changes += changes
                self._events.wake()
