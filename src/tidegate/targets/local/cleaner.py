"""Deletes work folders in a thread of its own.

On a busy disk, deleting a folder waits for the file system's journal: deleting the dozen folders of
a run took longer than staging and publishing it, and its worker was idle meanwhile.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import threading
from pathlib import Path

_MOST = 50
"""At most so many folders may wait to be deleted; then ``discard`` waits."""


class Cleaner:
    """Renames folders at once, and deletes them later."""

    def __init__(self) -> None:
        self._folders: queue.Queue[Path | None] = queue.Queue(_MOST)
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._work, name="tidegate-cleaner", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

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
        """Delete what waits, and end the thread."""
        if self._thread.ident is not None:
            self._folders.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (folder := self._folders.get()) is not None:
            shutil.rmtree(folder, ignore_errors=True)
