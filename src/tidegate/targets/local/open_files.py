"""Files that some process has open for writing, as Linux lists them."""

from __future__ import annotations

import os
import time
from pathlib import Path

PROCESSES = Path("/proc")
_KEEP = 1.0
_WRITING = os.O_WRONLY | os.O_RDWR


class OpenFiles:
    """The files below a folder that are open for writing.

    Only processes that this user may look into are seen: all of them for root, else the user's own.
    Elsewhere than on Linux there are none.
    """

    def __init__(self, root: Path, processes: Path = PROCESSES) -> None:
        self._below = os.path.join(os.path.realpath(root), "")
        self._processes = processes
        self._found: frozenset[str] = frozenset()
        self._until = 0.0

    def current(self) -> frozenset[str]:
        """Their paths below the folder; at most a second old."""
        now = time.monotonic()
        if now >= self._until:
            self._found = frozenset(self._scan())
            self._until = time.monotonic() + _KEEP
        return self._found

    def _scan(self) -> list[str]:
        found = []
        for process in _names(self._processes):
            if process.isdigit():
                folder = f"{self._processes}/{process}"
                for number in _names(Path(folder, "fd")):
                    target = _link(f"{folder}/fd/{number}")
                    inside = target.startswith(self._below)
                    if inside and _is_writing(f"{folder}/fdinfo/{number}"):
                        found.append(target[len(self._below) :])
        return found


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # the process has ended, or is another user's
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _is_writing(path: str) -> bool:
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return bool(int(flags, 8) & _WRITING)
