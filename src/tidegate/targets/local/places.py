"""The folders that a local service works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import StorageError


@dataclass(frozen=True)
class Places:
    """Where everything of one workspace is; all paths are absolute."""

    input: Path
    """Where raw files arrive."""
    output: Path
    """Where products go."""
    ledger: Path
    """The ledger, an SQLite database."""
    logs: Path
    """The logs of runs."""
    work: Path
    """Where runs get their work folders."""

    def prepare(self) -> None:
        """Make the folders that are missing.

        Raises:
            StorageError: one cannot be made.
        """
        for folder in (self.input, self.output, self.logs, self.work):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"cannot make the folder {folder}",
                    why=str(error),
                    next="make the workspace writable, or free some space",
                ) from error
