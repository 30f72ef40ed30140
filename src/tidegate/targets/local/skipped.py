"""Files below the input folder that are not taken, or not as expected, and why."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.runtime.manifest import Config
from tidegate.runtime.select import is_ignored, under
from tidegate.runtime.wording import quantity
from tidegate.targets.local.inputs import FolderInputs, RawFile

_EXAMPLES = 3
_CLOCKS_DIFFER = 60.0

LINK = "links"
UNREADABLE = "cannot be read"
SPECIAL = "not regular files"
TEMPORARY = "temporary names"
IGNORED = "names in `ignore`"
NO_CONFIG = "in no config's folder"
FUTURE = "with a time in the future"

_NEXT = {
    LINK: "changes behind a link are not noticed: name the folder with `input:` in the config",
    UNREADABLE: "give the user that Tidegate runs as permission to read them",
    SPECIAL: "only regular files are run",
    TEMPORARY: "they are run once they have their final names",
    IGNORED: "the config says so",
    NO_CONFIG: "add a config with that `input_bucket_path`, or move them",
    FUTURE: "they are run, but their order is not known: correct the clock of what writes them",
}


@dataclass(frozen=True)
class Skipped:
    """Files that are not taken for one reason."""

    reason: str
    """Why, in a few words."""
    count: int
    """How many files there are; a folder that is not entered counts once."""
    examples: tuple[str, ...]
    """The keys of the first ones."""
    next: str
    """What to do about it, or what will happen."""

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        files = f"{quantity(self.count, 'file')} ({', '.join(self.examples)}{more})"
        return f"{self.reason}: {files}; {self.next}"


class SkippedFiles:
    """Collects, by reason, what a look through the input folder finds and is not taken."""

    def __init__(
        self, root: Path, configs: Sequence[Config], *, now: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self._configs = configs
        self._latest = now() + _CLOCKS_DIFFER
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}
        self._folder: tuple[str | None, list[Config]] = (None, [])

    def left_out(self, key: str, status: os.stat_result | None) -> None:
        """Note what does not count as arrived; see ``FolderInputs.scan``."""
        if status is None:
            self._add(TEMPORARY, key)
        else:
            self._add(LINK if stat.S_ISLNK(status.st_mode) else SPECIAL, key)

    def unreadable(self, key: str, error: OSError) -> None:
        """Note a file or folder that cannot be read."""
        self._add(UNREADABLE, key or ".")

    def note(self, file: RawFile, *, known: bool = False) -> bool:
        """Note a file if it is not taken, or not as expected; whether any config takes it.

        One that is ``known`` was read before, and has not changed since.
        """
        takers = self._takers(file.key.rpartition("/")[0])
        if all(is_ignored(config, file.key) for config in takers):
            self._add(IGNORED if takers else NO_CONFIG, file.key)
            return False
        if not known and not os.access(self._root / file.key, os.R_OK):
            self._add(UNREADABLE, file.key)
        elif file.mtime_ns / 1e9 > self._latest:
            self._add(FUTURE, file.key)
        return True

    def _takers(self, folder: str) -> list[Config]:
        """The configs with an input path above the files of a folder, whatever they ignore."""
        if self._folder[0] != folder:
            below = f"{folder}/x" if folder else "x"
            configs = [c for c in self._configs if c.input_path is not None]
            takers = [c for c in configs if under(c.input_path or "", below)]
            self._folder = folder, takers
        return self._folder[1]

    def found(self) -> list[Skipped]:
        """What was noted so far."""
        return [
            Skipped(reason, self._counts[reason], tuple(self._examples[reason]), _NEXT[reason])
            for reason in _NEXT
            if reason in self._counts
        ]

    def _add(self, reason: str, key: str) -> None:
        """Count a file; the first ones by name are examples, in whatever order they are found."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES or key < examples[-1]:
            examples.append(key)
            examples.sort()
            del examples[_EXAMPLES:]


def find_skipped(
    root: Path, configs: Sequence[Config], *, now: Callable[[], float] = time.time
) -> list[Skipped]:
    """All files below ``root`` that are not taken, by reason; none if it is no folder."""
    skipped = SkippedFiles(root, configs, now=now)
    for file in FolderInputs(root).scan("", skipped.unreadable, skipped.left_out):
        skipped.note(file)
    return skipped.found()
