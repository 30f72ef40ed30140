"""Create the ledger's file."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tidegate.errors import LedgerError
from tidegate.targets.local.ledger import schema
from tidegate.targets.local.ledger.file_errors import explain


def create_if_missing(path: Path) -> None:
    """Create an empty ledger where there is no file.

    It is written under another name and then linked into place. So a file without content is a
    damaged ledger, never one that is still being created.

    Raises:
        LedgerError: something else is in its place, or its folder cannot be written.
        StorageError: the disk is full.
    """
    if path.is_dir():
        raise LedgerError(
            f"{path} is a folder, but the ledger has to be there", next="move it away"
        )
    if os.path.lexists(path):
        return
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not path.exists():
        raise LedgerError(
            f"{path} is missing, but its log {log.name} is there",
            why="a new ledger together with the log of an old one would be corrupt",
            next=f"put {path.name} back, or move {log.name} away as well",
        )
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            db.execute("BEGIN IMMEDIATE")
            schema.migrate(db)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
        _link(new, path)
    except sqlite3.Error as error:
        raise explain(path, error) from error
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger {path}",
            why=str(error),
            next="make its folder writable, and check that its disk has free space",
        ) from error
    finally:
        for leftover in (new, Path(f"{new}-journal"), Path(f"{new}-wal"), Path(f"{new}-shm")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def _link(new: Path, path: Path) -> None:
    try:
        os.link(new, path)
    except FileExistsError:  # another process was first
        return
    except OSError:  # a file system without links
        if not path.exists():
            os.rename(new, path)
