"""Reports files that have arrived in a folder: renamed into place, or no longer written to.

One thread waits for changes, and for files to settle. On Linux it uses inotify, which tells renames
from writes and says when it has lost events (see ``inotify.py``). It uses watchfiles on other
systems; file systems without events are polled (see ``folder_polling.py``). Events get lost
everywhere, so all files are looked at every few minutes (``scanning.py``).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tidegate.runtime.select import counts
from tidegate.targets.local.folder_polling import FolderPolling
from tidegate.targets.local.inotify import Change, Inotify, Kind
from tidegate.targets.local.inputs import RawFile
from tidegate.targets.local.mounts import network_folders
from tidegate.targets.local.open_files import OpenFiles
from tidegate.targets.local.polling import Notifications, WithPolling
from tidegate.targets.local.scanning import Scanner
from tidegate.targets.local.settling import Settling, Stamp

POLL_EVERY = 5.0
"""How often a file system without events is polled, s."""
SWEEP_EVERY = 300.0
"""How often all files are scanned, because a change may have been missed, s; see ``Scanner``."""
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
        max_wait: A file that does not settle, or stays open for writing, is reported this often, s.
        arrives: Whether a file of that key counts at all.
        done: Which of some files need not be reported when a scan finds them.
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
        max_wait: Callable[[str], float] = lambda key: 3600.0,
        arrives: Callable[[str], bool] = counts,
        done: Callable[[list[str]], Collection[str]] = lambda keys: (),
        say: Callable[[str], None] = lambda text: None,
        force_polling: bool = False,
    ) -> None:
        self._root = Path(os.path.realpath(root))
        self._arrived = arrived
        self._arrives = arrives
        self._say = say
        self._settle = settle
        self._settling = Settling(settle, max_wait)
        self._open_files = OpenFiles(self._root)
        self._lock = threading.Lock()  # over what other threads hand in
        self._given: list[tuple[str, Stamp, float]] = []
        self._found: list[str] = []
        self._stopping = threading.Event()
        self._said: set[str] = set()
        self._repeats = 0  # how many times in a row only known files changed
        self._failed: tuple[float, list[str]] | None = None
        self._next_mounts = time.monotonic() + SWEEP_EVERY
        self._done = done
        self._scanner = Scanner(
            self._root, arrives=arrives, done=done, found=self._take_found, every=SWEEP_EVERY
        )
        self._network: dict[Path, str] = {}
        self.polling = force_polling
        """Whether the whole folder is scanned regularly."""
        self._source: Source | None = self._open()
        self._thread = threading.Thread(target=self._run, name="tidegate-watch", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()
        self._scanner.start()

    def stop(self) -> None:
        """Stop; files that have not settled are left to the next start."""
        self._stopping.set()
        self._scanner.close()
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
        now, open_keys = time.time_ns(), self._open_files.current()
        rested: list[RawFile] = []
        others: list[tuple[str, Stamp, float]] = []
        for file in found:
            age = (now - file.mtime_ns) / 1e9
            if age >= self._settle(file.key) and file.key not in open_keys:
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
                if time.monotonic() >= self._next_mounts:
                    changes = [*changes, *self._look_at_mounts()]
                self._note(changes)
                self._take_given()
                now, open_keys = time.monotonic(), self._open_files.current
                self._report(self._settling.ready(now, self._stamp, open_keys))
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
        retry = self._failed[0] if self._failed else None
        deadlines = [self._next_mounts, self._settling.next_deadline(), retry]
        waits = [deadline - time.monotonic() for deadline in deadlines if deadline is not None]
        assert self._source is not None
        return self._source.read(max(0.0, min(waits)))

    def _look_at_mounts(self) -> list[Change]:
        """Open the source again if a network drive has been mounted or unmounted."""
        self._next_mounts = time.monotonic() + SWEEP_EVERY
        if network_folders(self._root) != self._network:
            return self._reopen(OSError(errno.ESTALE, "file systems were mounted or unmounted"))
        return []

    def _note(self, changes: list[Change]) -> None:
        now = time.monotonic()
        last = self._last(changes)
        news = any(key not in self._settling for key in last)
        self._repeats = 0 if news or not changes else self._repeats + 1
        for key, kind in last.items():
            if kind is Kind.MOVED:
                self._settling.moved(key, now)
            elif kind is Kind.GONE:
                self._settling.gone(key)
            elif kind is Kind.FOUND and key in self._settling:
                continue
            elif (stamp := self._stamp(key)) is not None:
                # A file found by a scan may be old; one that was reported has just changed.
                age = (time.time_ns() - stamp.mtime_ns) / 1e9 if kind is Kind.FOUND else 0.0
                self._settling.changed(key, stamp, now, rested=age)
        if self._repeats >= _MANY_REPEATS:
            # A fast writer causes an event at each write: wait, so that they come together.
            self._stopping.wait(_CALM)

    def _last(self, changes: Iterable[Change]) -> dict[str, Kind]:
        """The last change of each file; FOUND if a scan has found it."""
        with self._lock:
            found, self._found = self._found, []
        last = dict.fromkeys(found, Kind.FOUND)
        for kind, key in changes:
            if kind in (Kind.LOST, Kind.FOLDER):
                self._scanner.scan(key)
            elif self._arrives(key):
                last[key] = kind
        return last

    def _take_found(self, keys: list[str]) -> None:
        """The scanner calls this with files that it has found."""
        with self._lock:
            self._found += keys
            if self._source is not None:
                self._source.wake()

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
            status = os.lstat(self._root / key)  # links do not count, nor does what is behind them
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Stamp(status.st_size, status.st_mtime_ns)

    # --- where changes come from ----------------------------------------------------------------

    def _open(self) -> Source:
        self._network = network_folders(self._root)
        for place, kind in self._network.items():
            self._say_once(
                f"{place} is on a network file system ({kind}), which does not report what other "
                f"machines write: it is scanned every {POLL_EVERY:.0f} s"
            )
        if sys.platform == "linux" and not self.polling and self._root not in self._network:
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
                return self._with_polling(source)
        if self.polling or self._root in self._network:
            return FolderPolling(self._root, [self._root], every=POLL_EVERY, done=self._done)
        return Notifications(self._root)

    def _with_polling(self, source: Inotify) -> Source:
        """The source, and the network file systems that are mounted below the folder."""
        if not self._network:
            return source
        try:
            folders = list(self._network)
            polled = FolderPolling(self._root, folders, every=POLL_EVERY, done=self._done)
        except OSError as error:  # such as a server that does not answer: sweeps find the files
            self._say_once(f"{error.filename} cannot be scanned: {error.strerror}")
            return source
        return WithPolling(source, polled)

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
