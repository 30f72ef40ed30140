"""Waiting for an edit: which files a run depends on, and when one of them is saved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import watchfiles

from tidegate.runtime.code_files import SHARED
from tidegate.workspace.repository import digest, folder_files, pipeline_folders

_STEP = 50
"""How often changes are collected, ms: an edit is seen after about two of these."""
_ANYWAY = 2000
"""Look at the files themselves after so many ms, whatever the file system tells."""


class Watcher:
    """Knows what the files of one config looked like, and waits until they look different."""

    def __init__(self, repository: Path, config_file: str, inputs: Iterable[Path] = ()) -> None:
        self._repository = repository
        self._config_file = config_file
        self._inputs = list(inputs)
        self._seen: tuple[str, ...] = ()

    def look(self) -> bool:
        """Read the files, and say whether they have changed since the last time."""
        before, self._seen = self._seen, self._digest()
        return before != self._seen

    def wait(self) -> None:
        """Wait until a file is saved; Ctrl-C raises KeyboardInterrupt."""
        for _ in watchfiles.watch(
            *(folder for folder in self._folders() if folder.exists()),
            debounce=2 * _STEP,
            step=_STEP,
            rust_timeout=_ANYWAY,
            yield_on_timeout=True,
            raise_interrupt=True,
        ):
            if self.look():
                return

    def _folders(self) -> list[Path]:
        names = (*SHARED, *pipeline_folders(self._repository, [self._config_file]))
        return [self._repository / name for name in names]

    def _digest(self) -> tuple[str, ...]:
        """What is in the code and config; of inputs, which may be large, size and time."""
        files: list[Path] = []
        for name in (*SHARED, *pipeline_folders(self._repository, [self._config_file])):
            files += folder_files(self._repository, name)
        return (digest(self._repository, files), *(_stamp(path) for path in self._inputs))


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
