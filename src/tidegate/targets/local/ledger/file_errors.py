"""What SQLite's errors mean for a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tidegate.errors import LedgerError, StorageError, TidegateError


def explain(path: Path, error: sqlite3.Error) -> TidegateError:
    """The error to raise instead: StorageError where waiting or free space helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    why = f"SQLite says: {error} ({name})"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageError(
            f"the ledger {path} cannot be written",
            why=why,
            next="check that its disk works and has free space; the ledger is unchanged",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"the ledger {path} is locked by another process",
            why=why,
            next="look for a process that hangs, or for a disk that does not answer",
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerError(
            f"the ledger {path} cannot be opened for writing",
            why=why,
            next="make it, its -wal and -shm files and their folder readable and writable",
        )
    return damaged(path, why)


def damaged(path: Path, why: str) -> LedgerError:
    """The error for a file that is not a ledger, or not a whole one."""
    return LedgerError(
        f"the ledger {path} is damaged, or not a ledger",
        why=why,
        next=(
            "nothing was changed or moved; restore it from a copy, or move it away together with "
            f"{path.name}-wal and {path.name}-shm: Tidegate then starts a new ledger and runs all "
            "files in the input folder again"
        ),
    )
