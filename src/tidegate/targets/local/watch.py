"""Tells of files that have arrived in a folder: renamed into place, or come to rest there.

One thread waits for the system to tell of changes and for files to come to rest. On Linux it hears
inotify itself, which is certain of renames and owns up to what it has lost (see ``inotify.py``);
elsewhere, and where a file system must be polled, watchfiles.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from watchfiles import Change as Seen
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from tidegate.runtime.select import counts
from tidegate.targets.local.inotify import Change, Inotify, Kind
from tidegate.targets.local.inputs import RawFile
from tidegate.targets.local.settling import Settling, Stamp

POLL_EVERY = 5.0
"""How often a file system that tells of nothing is looked over, s."""
SWEEP_EVERY = 300.0
"""How often all files are looked at where changes may go by untold, s."""
_STEP = 20
_RETRY = 1.0
_CALM = 0.005
_DULL = 10
_LIMITS = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS)


class Source(Protocol):
    """What tells of changes."""

    def read(self, timeout: float | None) -> list[Change]:
        """The next changes, in order; none after ``timeout`` seconds or ``wake``."""

    def wake(self) -> None:
        """Make ``read`` return; from any thread."""

    def close(self) -> None:
        """Stop telling."""


class Watcher:
    """Tells ``arrived`` of each file that arrives below ``root``, by its key, in batches.

    It watches from the moment it is made; it tells once it is started (``start`` or ``with``), on a
    thread of its own. A file may be told of twice, and one that is deleted at once not at all, but
    none that stays is left out: whoever makes a Watcher and looks through the folder then has seen
    every file. ``arrived`` is called again, after a second, with what it raised an error on.

    Args:
        root: The folder; it is waited for when it vanishes.
        arrived: Gets keys: paths below ``root``, with ``/``.
        settle: For how long the file of that key must rest, s.
        arrives: Whether a file of that key counts at all.
        say: Gets sentences for a person.
        force_polling: Look again and again, for file systems that do not tell of changes.

    Raises:
        OSError: the folder cannot be read.
    """

    def __init__(
        self,
        root: Path,
        *,
        arrived: Callable[[list[str]], None],
        settle: Callable[[str], float] = lambda key: 2.0,
        arrives: Callable[[str], bool] = counts,
        say: Callable[[str], None] = lambda text: None,
        force_polling: bool = False,
    ) -> None:
        self._root = Path(os.path.realpath(root))
        self._arrived = arrived
        self._arrives = arrives
        self._say = say
        self._settle = settle
        self._settling = Settling(settle)
        self._lock = threading.Lock()  # over what other threads hand in
        self._given: list[tuple[str, Stamp, float]] = []
        self._stopping = threading.Event()
        self._said: set[str] = set()
        self._dull = 0  # how many times in a row nothing new was told of
        self._failed: tuple[float, list[str]] | None = None
        self.polling = force_polling
        """Whether it looks again and again because it is not told."""
        self._source: Source | None = self._open()
        self._thread = threading.Thread(target=self._run, name="tidegate-watch", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Stop telling; what has not come to rest is for the next one's first look."""
        self._stopping.set()
        with self._lock:
            if self._source is not None:
                self._source.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._let_go()

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def settled(self, found: Iterable[RawFile]) -> list[RawFile]:
        """Those of these files that have rested; the others are told of once they have.

        From any thread. A time of last writing that lies in the future says nothing, and the file
        rests from now on.
        """
        now = time.time_ns()
        rested: list[RawFile] = []
        others: list[tuple[str, Stamp, float]] = []
        for file in found:
            age = (now - file.mtime_ns) / 1e9
            if age >= self._settle(file.key):
                rested.append(file)
            else:
                others.append((file.key, Stamp(file.size, file.mtime_ns), age))
        if others:
            with self._lock:
                self._given += others
                if self._source is not None:
                    self._source.wake()
        return rested

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    changes = self._read()
                except OSError as error:
                    changes = self._reopen(error)
                self._note(changes)
                self._take_given()
                self._tell(self._settling.ready(time.monotonic(), self._look))
        except Exception as error:
            self._say(f"no files are taken in any more: watching ended with {error!r}")
            raise
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _read(self) -> list[Change]:
        deadlines = [self._settling.next_deadline(), self._failed[0] if self._failed else None]
        waits = [deadline - time.monotonic() for deadline in deadlines if deadline is not None]
        assert self._source is not None
        return self._source.read(max(0.0, min(waits)) if waits else None)

    def _note(self, changes: list[Change]) -> None:
        now = time.monotonic()
        last = self._last(changes)
        news = any(key not in self._settling for key in last)
        self._dull = 0 if news or not changes else self._dull + 1
        for key, kind in last.items():
            if kind is Kind.MOVED and not os.path.islink(self._root / key):
                self._settling.moved(key, now)
            elif kind is Kind.GONE:
                self._settling.gone(key)
            elif kind is Kind.FOLDER and key in self._settling:
                continue
            elif (stamp := self._look(key)) is not None:
                # What is found in a folder may have been there for long; what was told of is new.
                age = (time.time_ns() - stamp.mtime_ns) / 1e9 if kind is Kind.FOLDER else 0.0
                self._settling.changed(key, stamp, now, rested=age)
        if self._dull >= _DULL:
            # A fast writer makes an event at each write: let them gather.
            self._stopping.wait(_CALM)

    def _last(self, changes: Iterable[Change]) -> dict[str, Kind]:
        """The last that happened to each file; FOLDER where one was found, not told of."""
        last: dict[str, Kind] = {}
        for kind, key in changes:
            if kind in (Kind.LOST, Kind.FOLDER):
                for found in self._below(key):
                    if last.get(found) is not Kind.MOVED:
                        last[found] = Kind.FOLDER
            elif self._arrives(key):
                last[key] = kind
        return last

    def _take_given(self) -> None:
        with self._lock:
            given, self._given = self._given, []
        now = time.monotonic()
        for key, stamp, age in given:
            if key not in self._settling:
                self._settling.changed(key, stamp, now, rested=age)

    def _tell(self, keys: list[str]) -> None:
        if self._failed is not None and (keys or self._failed[0] <= time.monotonic()):
            keys = list(dict.fromkeys((*self._failed[1], *keys)))
            self._failed = None
        if not keys:
            return
        try:
            self._arrived(keys)
        except Exception as error:
            self._failed = (time.monotonic() + _RETRY, keys)
            self._say_once(f"what arrived cannot be taken in yet, and is tried again: {error}")

    def _look(self, key: str) -> Stamp | None:
        try:
            status = os.stat(self._root / key)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Stamp(status.st_size, status.st_mtime_ns)

    def _below(self, folder: str) -> Iterator[str]:
        """The keys of all files in and below a folder that count."""
        for path, folders, names in os.walk(self._root / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            prefix = os.path.relpath(path, self._root) + "/"
            prefix = "" if prefix == "./" else prefix
            yield from (prefix + name for name in names if self._arrives(prefix + name))

    # --- where changes are told from ----------------------------------------------------------

    def _open(self) -> Source:
        if sys.platform == "linux" and not self.polling:
            try:
                source = Inotify(self._root)
            except OSError as error:
                if error.errno not in _LIMITS:
                    raise
                self._say_once(_advice(error))
                self.polling = True
            else:
                for folder in sorted(source.unreadable):
                    self._say_once(f"{folder} cannot be watched: permission denied")
                return source
        return Notifications(self._root, polling=self.polling)

    def _reopen(self, error: OSError) -> list[Change]:
        """Watch anew after a failure, once the folder is there; everything must be looked at."""
        self._let_go()
        if error.errno in _LIMITS:
            self._say_once(_advice(error))
            self.polling = True
        missing = False
        while not self._stopping.is_set():
            try:
                opened = self._open()
            except OSError as why:
                if not missing:
                    self._say(f"{self._root} cannot be watched, and is waited for: {why.strerror}")
                missing = True
                self._stopping.wait(_RETRY)
                continue
            with self._lock:
                self._source = opened
            if missing:
                self._say(f"{self._root} is watched again")
            return [Change(Kind.LOST, "")]
        return []

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


class Notifications:
    """Changes as watchfiles tells of them, natively or by polling.

    It cannot tell a rename from a write, and drops what happens between two calls at an unlucky
    moment; so all files are looked at from time to time.
    """

    def __init__(self, root: Path, *, polling: bool) -> None:
        self._root = root
        self._arguments = ([str(root)], False, polling, int(POLL_EVERY * 1000), True, True)
        self._rust = self._listen()
        self._bell = threading.Event()
        self._swept = time.monotonic()

    def read(self, timeout: float | None) -> list[Change]:
        """As ``Source.read``; raises FileNotFoundError once the root is gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._bell.is_set():
            now = time.monotonic()
            if not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
            if now - self._swept >= SWEEP_EVERY:
                self._swept = now
                return [Change(Kind.LOST, "")]
            if until is not None and until <= now:
                return []
            left = 0.2 if until is None else min(0.2, until - now)
            try:
                told = self._rust.watch(5 * _STEP, _STEP, max(1, int(left * 1000)), None)
            except WatchfilesRustInternalError:  # such as for a name that is not UTF-8
                self._rust.close()
                self._rust = self._listen()
                return [Change(Kind.LOST, "")]
            if isinstance(told, set) and told:
                return sorted(self._translated(told), key=lambda change: change.key)
        self._bell.clear()
        return []

    def wake(self) -> None:
        """As ``Source.wake``."""
        self._bell.set()

    def close(self) -> None:
        """As ``Source.close``."""
        self._rust.close()

    def _listen(self) -> RustNotify:
        try:
            return RustNotify(*self._arguments)
        except WatchfilesRustInternalError as error:
            raise OSError(errno.EIO, str(error), str(self._root)) from error

    def _translated(self, told: Iterable[tuple[int, str]]) -> Iterator[Change]:
        for kind, path in told:
            key = os.path.relpath(path, self._root)
            if key == "." or any(part.startswith(".") for part in key.split(os.sep)):
                continue
            if kind == Seen.deleted and not os.path.lexists(path):
                yield Change(Kind.GONE, key)
            elif os.path.isdir(path):
                yield Change(Kind.FOLDER, key)
            else:
                yield Change(Kind.CHANGED, key)


def _advice(error: OSError) -> str:
    name = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}.get(
        error.errno or 0
    )
    if name is None:
        return f"changes cannot be watched ({error.strerror}): the folder is polled instead"
    return (
        f"the system's limit fs.inotify.{name} is reached: the folder is polled instead, which "
        f"takes longer; raise it with `sudo sysctl fs.inotify.{name}=1048576` and start again"
    )
