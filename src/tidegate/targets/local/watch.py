"""Reports files that have arrived in a folder: renamed into place, or no longer written to.

One thread waits for changes, and for files to settle. On Linux it uses inotify, which tells renames
from writes and says when it has lost events (see ``inotify.py``). It uses watchfiles on other
systems, and for file systems that must be polled.
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

from watchfiles import Change as WatchfilesChange
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from tidegate.runtime.select import counts
from tidegate.targets.local.inotify import Change, Inotify, Kind
from tidegate.targets.local.inputs import RawFile
from tidegate.targets.local.settling import Settling, Stamp

POLL_EVERY = 5.0
"""How often a file system without events is scanned, s."""
SWEEP_EVERY = 300.0
"""How often all files are scanned where changes may be missed, s."""
_STEP = 20
_RETRY = 1.0
_CALM = 0.005
_MANY_REPEATS = 10
_LIMITS = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS)


class Source(Protocol):
    """Where changes are read from."""

    def read(self, timeout: float | None) -> list[Change]:
        """The next changes, in order; none after ``timeout`` seconds or ``wake``."""

    def wake(self) -> None:
        """Make ``read`` return; from any thread."""

    def close(self) -> None:
        """Release everything."""


class Watcher:
    """Calls ``arrived`` with the keys of files that arrive below ``root``, in batches.

    It watches from the moment it is created, and reports on a thread of its own once it is started
    (``start`` or ``with``). A file may be reported twice, and one that is deleted at once may be
    left out, but no file that stays is: who creates a Watcher and then scans the folder sees every
    file. If ``arrived`` raises an error, it is called again with the same keys after a second.

    Args:
        root: The folder. If it vanishes, the watcher waits for it to come back.
        arrived: Called with keys: paths below ``root``, with ``/``.
        settle: For how long the file of that key must stay unchanged, s.
        arrives: Whether a file of that key counts at all.
        say: Called with sentences for a person.
        force_polling: Scan the folder regularly, for file systems without events.

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
        self._repeats = 0  # how many times in a row only known files changed
        self._failed: tuple[float, list[str]] | None = None
        self.polling = force_polling
        """Whether the folder is scanned regularly."""
        self._source: Source | None = self._open()
        self._thread = threading.Thread(target=self._run, name="tidegate-watch", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; files that have not settled are left to the next start."""
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
        """Those of these files that have settled; the others are reported once they have.

        From any thread. If a file's modification time is in the future, its waiting time begins
        now.
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
                self._report(self._settling.ready(time.monotonic(), self._stamp))
        except Exception as error:
            self._say(f"new files are no longer seen: watching ended with {error!r}")
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
        self._repeats = 0 if news or not changes else self._repeats + 1
        for key, kind in last.items():
            if kind is Kind.MOVED and not os.path.islink(self._root / key):
                self._settling.moved(key, now)
            elif kind is Kind.GONE:
                self._settling.gone(key)
            elif kind is Kind.FOLDER and key in self._settling:
                continue
            elif (stamp := self._stamp(key)) is not None:
                # A file found by a scan may be old; one that was reported has just changed.
                age = (time.time_ns() - stamp.mtime_ns) / 1e9 if kind is Kind.FOLDER else 0.0
                self._settling.changed(key, stamp, now, rested=age)
        if self._repeats >= _MANY_REPEATS:
            # A fast writer causes an event at each write: wait, so that they come together.
            self._stopping.wait(_CALM)

    def _last(self, changes: Iterable[Change]) -> dict[str, Kind]:
        """The last change of each file; FOLDER if the file was found by a scan of its folder."""
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

    def _report(self, keys: list[str]) -> None:
        if self._failed is not None and (keys or self._failed[0] <= time.monotonic()):
            keys = list(dict.fromkeys((*self._failed[1], *keys)))
            self._failed = None
        if not keys:
            return
        try:
            self._arrived(keys)
        except Exception as error:
            self._failed = (time.monotonic() + _RETRY, keys)
            self._say_once(f"new files cannot be processed yet, and are tried again: {error}")

    def _stamp(self, key: str) -> Stamp | None:
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

    # --- where changes come from ----------------------------------------------------------------

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
        """Watch again after a failure, once the folder exists; then everything must be scanned."""
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
                    self._say(f"{self._root} cannot be watched: {why.strerror}; waiting for it")
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
    """Changes from watchfiles, by events or by polling.

    It does not tell a rename from a write, and may lose what happens between two calls; so all
    files are scanned from time to time.
    """

    def __init__(self, root: Path, *, polling: bool) -> None:
        self._root = root
        self._arguments = ([str(root)], False, polling, int(POLL_EVERY * 1000), True, True)
        self._rust = self._listen()
        self._wake = threading.Event()
        self._swept = time.monotonic()

    def read(self, timeout: float | None) -> list[Change]:
        """As ``Source.read``; raises FileNotFoundError once the root is gone."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._wake.is_set():
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
