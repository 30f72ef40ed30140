"""Removes work folders on a thread of its own.

On a disk that others write to, each folder that is removed waits for the file system's journal: a
run's dozen took longer than its staging and publishing together, with its worker idle meanwhile.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import threading
from pathlib import Path

_MOST = 50
"""So many folders may wait; then whoever brings one more waits too."""


class Cleaner:
    """Takes folders out of the way at once, and removes them when there is time."""

    def __init__(self) -> None:
        self._folders: queue.Queue[Path | None] = queue.Queue(_MOST)
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._work, name="tidegate-cleaner", daemon=True)

    def start(self) -> None:
        """Begin to remove."""
        self._thread.start()

    def discard(self, folder: Path) -> None:
        """Have a folder removed; its name is free when this returns. From any thread."""
        away = folder.with_name(f"gone-{next(self._numbers)}")
        try:
            os.rename(folder, away)
        except OSError:  # it is gone, or cannot be renamed
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self._folders.put(away)

    def close(self) -> None:
        """Remove what waits, and end."""
        if self._thread.ident is not None:
            self._folders.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (folder := self._folders.get()) is not None:
            shutil.rmtree(folder, ignore_errors=True)
