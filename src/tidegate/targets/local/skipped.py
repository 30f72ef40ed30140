"""Files below the input folder that are not taken, or not as expected, and why."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.runtime.manifest import Config
from tidegate.runtime.select import is_ignored, under
from tidegate.runtime.temporary_names import is_temporary
from tidegate.runtime.wording import quantity

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


def find_skipped(
    root: Path, configs: Sequence[Config], *, now: Callable[[], float] = time.time
) -> list[Skipped]:
    """All files below ``root`` that are not taken, by reason; none if it is no folder."""
    found: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    latest = now() + _CLOCKS_DIFFER
    for key, entry in _entries(root):
        reason = _reason(key, entry, configs, latest)
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
            found.setdefault(reason, []).append(key)
            del found[reason][_EXAMPLES:]
    return [Skipped(r, counts[r], tuple(found[r]), _NEXT[r]) for r in _NEXT if r in found]


def _entries(root: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Each file, link and hidden folder, in order; None for a folder that cannot be read."""
    stack = [""]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(root / folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError:
            yield folder or ".", None
            continue
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False) and not is_temporary(key):
                stack.append(key)
            else:
                yield key, entry


def _reason(
    key: str, entry: os.DirEntry[str] | None, configs: Sequence[Config], latest: float
) -> str:
    """Why a file is not taken; "" if it is."""
    if entry is None:
        return UNREADABLE
    if is_temporary(key):
        return TEMPORARY
    if entry.is_symlink():
        return LINK
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return ""
    except OSError:
        return UNREADABLE
    if not stat.S_ISREG(status.st_mode):
        return SPECIAL
    takers = [c for c in configs if c.input_path is not None and under(c.input_path, key)]
    if not takers:
        return NO_CONFIG
    if all(is_ignored(config, key) for config in takers):
        return IGNORED
    if not os.access(entry.path, os.R_OK):
        return UNREADABLE
    return FUTURE if status.st_mtime > latest else ""
