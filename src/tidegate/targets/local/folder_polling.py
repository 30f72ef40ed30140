"""Finds changes below folders by listing them, for file systems that send no events.

Listing a million files takes long on a network drive, and asking for the status of each takes much
longer. So every few seconds only folders are asked for their time, and only those that have changed
are listed; files that changed lately are looked at, since they may be written to. Names are listed
everywhere too, for file systems on which a folder has no true time: as often as it costs little.
Files that were changed in place after hours are found by the regular sweep (``scanning.py``).
"""

from __future__ import annotations

import errno
import heapq
import math
import os
import threading
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.targets.local.inotify import Change, Kind

_SHARE = 1 / 20
"""The part of the time in which the names in all folders are listed, in the long run."""
_LATELY = 3600.0
_STEP = 500
_END = 5.0


@dataclass
class _Folder:
    """What is known of one folder."""

    time_ns: int = -1
    """When its entries last changed; -1 if it has not been listed."""
    again: bool = True
    """Whether to list it once more: its clock may not have ticked since it was listed."""
    entries: array[int] = field(default_factory=lambda: array("q"))
    """A number for each name and inode in it."""


class FolderPolling:
    """A ``Source`` for ``Watcher`` that polls, in a thread of its own.

    The first time that it lists a folder, it reports the files in it as found.

    Args:
        root: What keys are relative to.
        folders: What to watch: the root, or folders below it.
        every: How often, s.
        done: Which of some files need not be reported.

    Raises:
        OSError: a folder cannot be read.
    """

    def __init__(
        self,
        root: Path,
        folders: Sequence[Path],
        *,
        every: float,
        done: Callable[[list[str]], Collection[str]] = lambda keys: (),
    ) -> None:
        self._root = root
        self._every = every
        self._done = done
        self._folders: dict[str, _Folder] = {}
        self._new: list[tuple[int, str]] = []
        self._lately: dict[str, tuple[int, int, float]] = {}
        self._changes: list[Change] = []
        self._changed = threading.Condition()
        self._woken = self._closed = False
        self._kept = set()
        for folder in folders:
            os.scandir(folder).close()
            key = os.path.relpath(folder, root)
            self._kept.add("" if key == "." else key)
        for key in self._kept:
            self._add(key)
        self._thread = threading.Thread(target=self._work, name="tidegate-poll", daemon=True)
        self._thread.start()

    def read(self, timeout: float | None) -> list[Change]:
        """As ``Source.read``; raises FileNotFoundError once the root is gone."""
        if not self._root.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
        with self._changed:
            self._changed.wait_for(
                lambda: self._changes or self._woken or self._closed,
                timeout=self._every if timeout is None else min(timeout, self._every),
            )
            self._woken = False
            changes, self._changes = self._changes, []
        return changes

    def wake(self) -> None:
        """As ``Source.wake``."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """As ``Source.close``; a server that does not answer is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_END)

    # --- the thread -------------------------------------------------------------------------

    def _work(self) -> None:
        next_quick, next_all = time.monotonic() + self._every, -math.inf
        cost = 0.0  # of listing all folders
        waiting: list[str] = []
        while not self._closed:
            began = time.monotonic()
            if began >= next_quick:
                self._look_at_changed()
                next_quick = time.monotonic() + self._every
            elif self._new:
                self._list(heapq.heappop(self._new)[1], Kind.FOUND)
                cost += time.monotonic() - began
            elif waiting:
                self._list(waiting.pop())
                cost += time.monotonic() - began
            elif began >= next_all:  # all were listed, the first time as new ones
                waiting = list(self._folders) if next_all > 0 else []
                next_all, cost = began + max(self._every, cost / _SHARE), 0.0
            else:
                with self._changed:
                    seconds = max(0.0, min(next_quick, next_all) - began)
                    self._changed.wait_for(lambda: self._closed, timeout=seconds)

    def _look_at_changed(self) -> None:
        """List the folders with another time, and look at files that changed lately."""
        for key, folder in list(self._folders.items()):
            if self._closed:
                return
            time_ns = self._time_of(key)
            if time_ns is None:
                self._forget(key)
            elif folder.time_ns >= 0 and (folder.again or folder.time_ns != time_ns):
                self._list(key)
        oldest, keys = time.monotonic() - _LATELY, []
        for key, (size, mtime_ns, since) in list(self._lately.items()):
            try:
                status = os.lstat(self._root / key)
            except OSError:
                del self._lately[key]
                continue
            if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
                self._lately[key] = status.st_size, status.st_mtime_ns, time.monotonic()
                keys.append(key)
            elif since < oldest:
                del self._lately[key]
        self._report(Change(Kind.CHANGED, key) for key in keys)

    def _list(self, key: str, kind: Kind = Kind.CHANGED) -> None:
        """List a folder, and report what was not in it the last time."""
        folder = self._folders.get(key)
        time_ns = self._time_of(key)
        if folder is None or time_ns is None:
            self._forget(key)
            return
        prefix, before = f"{key}/" if key else "", set(folder.entries)
        names: list[str] = []
        entries: array[int] = array("q")
        try:
            with os.scandir(self._root / key) as listed:
                for entry in listed:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if prefix + entry.name not in self._folders:
                            self._add(prefix + entry.name)
                        continue
                    number = hash((entry.name, entry.inode()))
                    entries.append(number)
                    if number not in before:
                        names.append(prefix + entry.name)
        except OSError:  # it is gone, or cannot be read: tried again
            return
        recent = abs(time.time() - time_ns / 1e9) < _LATELY
        folder.again, folder.time_ns = recent and folder.time_ns != time_ns, time_ns
        folder.entries = entries
        self._report_new(names, kind)

    def _report_new(self, keys: Sequence[str], kind: Kind) -> None:
        for start in range(0, len(keys), _STEP):
            if self._closed:
                return
            batch = list(keys[start : start + _STEP])
            done = self._done(batch)
            left = [key for key in batch if key not in done]
            for key in left:
                self._note(key)
            self._report(Change(kind, key) for key in left)

    def _note(self, key: str) -> None:
        """Look at a file again and again that was written to lately."""
        try:
            status = os.lstat(self._root / key)
        except OSError:
            return
        if time.time() - status.st_mtime < _LATELY:
            self._lately[key] = status.st_size, status.st_mtime_ns, time.monotonic()

    def _report(self, changes: Iterable[Change]) -> None:
        with self._changed:
            self._changes += changes
            if self._changes:
                self._changed.notify_all()

    def _add(self, key: str) -> None:
        """A folder that is listed soon; those that changed last come first."""
        self._folders[key] = _Folder()
        heapq.heappush(self._new, (-(self._time_of(key) or 0), key))

    def _forget(self, key: str) -> None:
        """A folder that is gone; those that were named may come back."""
        if key not in self._kept:
            self._folders.pop(key, None)

    def _time_of(self, key: str) -> int | None:
        try:
            return os.stat(self._root / key).st_mtime_ns
        except OSError:
            return None
