"""Detect changes of the config and of the pipelines' code while a service runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tidegate.workspace.repository import ENVIRONMENT_FILES, walk

EVERY = 5.0
"""The time between two checks, s."""


class RepositoryChange:
    """Compares names, sizes and times of files; reports each change once."""

    def __init__(self, config: Path, repository: Path) -> None:
        self._config = config
        self._repository = repository
        self._seen = self._scan()
        self._next = time.monotonic() + EVERY

    def check(self) -> str:
        """A message about what changed since the last check; "" for no change."""
        if time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + EVERY
        now = self._scan()
        if now == self._seen:
            return ""
        changed = sorted(dict(now.items() ^ self._seen.items()))
        self._seen = now
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return (
            f"{changed[0]}{more} changed; the running service still uses the previous version:"
            " restart it to use the change"
        )

    def _scan(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self._files():
            try:
                status = path.stat()
            except OSError:
                continue
            name = path.name if path == self._config else str(path.relative_to(self._repository))
            found[name] = (status.st_size, status.st_mtime_ns)
        return found

    def _files(self) -> Iterator[Path]:
        yield self._config
        yield from (self._repository / name for name in ENVIRONMENT_FILES)
        for folder in ("pipelines", "shared", "utils"):
            yield from walk(self._repository / folder)
