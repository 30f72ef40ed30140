"""Looks through folders for files of which no event was seen, in a thread of its own."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

MOST_CPU, MOST_TIME = 1 / 100, 1 / 5
"""A sweep may take this part of one core, and of the time, in the long run."""
_STEP = 500
_SPARING = 3.0
_END = 5.0


class Scanner:
    """Calls ``found`` with files below ``root``: of folders that are named, and regularly with all.

    A listing may take long, on a network drive or with many files: events need not wait for it.

    Args:
        root: The folder that keys are relative to.
        arrives: Whether a file of that key counts at all.
        done: Which of some files need not be reported.
        found: Called with keys, a few hundred at a time.
        every: How often all files are looked at, s; less often if there are so many that it would
            take more than its part of a core.
    """

    def __init__(
        self,
        root: Path,
        *,
        arrives: Callable[[str], bool],
        done: Callable[[list[str]], Collection[str]],
        found: Callable[[list[str]], None],
        every: float,
    ) -> None:
        self._root = root
        self._arrives = arrives
        self._done = done
        self._found = found
        self._every = every
        self._changed = threading.Condition()
        self._folders: deque[str] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tidegate-scan", daemon=True)

    def start(self) -> None:
        """Start the thread; the first sweep begins after ``every`` seconds."""
        self._thread.start()

    def scan(self, folder: str) -> None:
        """Look through a folder soon; "" is the root. From any thread."""
        with self._changed:
            if folder not in self._folders:
                self._folders.append(folder)
            self._changed.notify()

    def close(self) -> None:
        """End the thread; a listing that takes long is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(_END)

    def _run(self) -> None:
        next_sweep = time.monotonic() + self._every
        while True:
            with self._changed:
                self._wait(next_sweep - time.monotonic())
            if self._closed:
                return
            self._scan_named()
            if time.monotonic() >= next_sweep:
                next_sweep = time.monotonic() + max(self._every, self._sweep())

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to do, at most so long."""
        self._changed.wait_for(lambda: self._folders or self._closed, timeout=max(0.0, seconds))

    def _scan_named(self) -> None:
        while not self._closed:
            with self._changed:
                if not self._folders:
                    return
                folder = self._folders.popleft()
            keys = self._below(folder)
            while self._step(keys) and not self._closed:
                pass

    def _sweep(self) -> float:
        """Look through all files; how long to wait until the next time at least, s."""
        keys, cpu, seconds = self._below(""), time.thread_time(), 0.0
        more = True
        while more and not self._closed:
            began = time.monotonic()
            more = self._step(keys)
            took = time.monotonic() - began
            seconds += took
            with self._changed:  # others have most of the time
                self._wait(_SPARING * took)
            self._scan_named()
        return max((time.thread_time() - cpu) / MOST_CPU, seconds / MOST_TIME)

    def _step(self, keys: Iterator[str]) -> bool:
        """Report some of these files; False if there are no more."""
        batch = list(itertools.islice(keys, _STEP))
        if self._closed:
            return False
        done = self._done(batch)
        if left := [key for key in batch if key not in done]:
            self._found(left)
        return len(batch) == _STEP

    def _below(self, folder: str) -> Iterator[str]:
        """The keys of all files in and below a folder that count."""
        for path, folders, names in os.walk(self._root / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            prefix = os.path.relpath(path, self._root) + "/"
            prefix = "" if prefix == "./" else prefix
            yield from (prefix + name for name in names if self._arrives(prefix + name))
