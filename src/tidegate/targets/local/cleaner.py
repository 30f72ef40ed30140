"""Deletes work folders in threads of its own.

On a busy disk, each folder that is deleted waits until the file system's journal is written, which
takes some milliseconds, and a run has a dozen folders: its worker was idle meanwhile. What several
threads delete waits for the same write.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import threading
from pathlib import Path

_THREADS = 8
_MOST = 200
"""At most so many folders may wait to be deleted; then ``discard`` waits."""


class Cleaner:
    """Renames folders at once, and deletes them later."""

    def __init__(self) -> None:
        self._folders: queue.Queue[Path | None] = queue.Queue(_MOST)
        self._numbers = itertools.count(1)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for number in range(_THREADS):
            name = f"tidegate-cleaner-{number}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def discard(self, folder: Path) -> None:
        """Have a folder deleted; its name is free when this returns. From any thread."""
        away = folder.with_name(f"gone-{next(self._numbers)}")
        try:
            os.rename(folder, away)
        except OSError:  # it was deleted already, or cannot be renamed
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self._folders.put(away)

    def close(self) -> None:
        """Delete what waits, and end the threads."""
        for _ in self._threads:
            self._folders.put(None)
        while self._threads:
            self._threads.pop().join()

    def _work(self) -> None:
        while (folder := self._folders.get()) is not None:
            shutil.rmtree(folder, ignore_errors=True)
