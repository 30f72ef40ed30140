"""Has what a running service was started with changed? The config, or the pipelines' code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tidegate.workspace.repository import ENVIRONMENT_FILES, walk

EVERY = 5.0
"""How often to look, s."""


class Drift:
    """Looks at names, sizes and times only; tells of a change once."""

    def __init__(self, config: Path, repository: Path) -> None:
        self._config = config
        self._repository = repository
        self._seen = self._look()
        self._next = time.monotonic() + EVERY

    def told(self) -> str:
        """What to tell a person now, "" for nothing."""
        if time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + EVERY
        now = self._look()
        if now == self._seen:
            return ""
        changed = sorted(dict(now.items() ^ self._seen.items()))
        self._seen = now
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return (
            f"{changed[0]}{more} changed: the service goes on with what it was started with; "
            "stop it and start it again to use the change"
        )

    def _look(self) -> dict[str, tuple[int, int]]:
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
