"""The ledger's file: connections and transactions.

Each process has one connection that writes, behind a lock, and a few that read. Every change is one
``BEGIN IMMEDIATE`` transaction, so writers take turns; readers never wait for writers (WAL). No
cursor stays open between two steps of an iterator, so a slow consumer blocks nobody.

Do not use a ``Database`` across a ``fork``: SQLite connections do not survive it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tidegate.errors import LedgerError
from tidegate.targets.local.ledger import schema
from tidegate.targets.local.ledger.creation import create_if_missing
from tidegate.targets.local.ledger.file_errors import damaged, explain
from tidegate.targets.local.ledger.group_commits import Change, GroupCommits, T
from tidegate.targets.local.ledger.values import UnreadableEntry

BUSY_SECONDS = 60.0
"""How long one process waits for a transaction of another."""


class Database:
    """The SQLite file of a ledger; created when it is missing, migrated when it is older.

    Raises:
        LedgerError: the file is not a ledger, is damaged, was written by a newer Tidegate, or
            cannot be opened or written. It is left as it is.
        StorageError: a temporary reason, such as a full disk. Nothing of the transaction is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._idle_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._file = (0, 0)
        self._commits = GroupCommits(self.writing)
        create_if_missing(path)
        with self.explained():
            self._writer = self._connect()
            try:
                self._migrate()
                self._file = _identity(path)
            except BaseException:
                self._writer.close()
                raise

    def check_in_place(self) -> None:
        """Raise LedgerError if the file was deleted or replaced; its content is saved first."""
        if self._closed or self._file in ((0, 0), _identity(self.path)):
            return
        saved = self._save_content()
        raise LedgerError(
            f"{self.path} was deleted or replaced while it was in use",
            why=f"what was in it until now is saved in {saved.name}" if saved else "",
            next=f"stop all commands, and move {saved.name} to {self.path.name}; then start again"
            if saved
            else "put it back; then start again",
        )

    def _save_content(self) -> Path | None:
        """Write what the open file holds to a new file beside it."""
        saved = self.path.with_name(f"{self.path.stem}-saved-{self._file[1]}{self.path.suffix}")
        if saved.exists():
            return saved
        try:
            self._writer.execute("VACUUM INTO ?", (str(saved),))
        except sqlite3.Error:  # such as a transaction that is open, or a full disk
            return None
        return saved

    def close(self) -> None:
        """Close all connections; the last process to do so merges the log into the file."""
        with self._lock, self._idle_lock:
            self._closed = True
            for db in (*self._idle, self._writer):
                db.close()
            self._idle.clear()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write; an exception undoes all of it."""
        with self._lock, self.explained():
            self.check_in_place()
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    def write(self, change: Change[T]) -> T:
        """The result of ``change(connection)``, once it is committed; see ``GroupCommits``.

        For the small changes that many threads make: those that wait share one transaction.
        """
        return self._commits.write(change)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads; fetch all rows of a statement before the block ends."""
        with self.explained():
            db = self._take_idle()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._put_back(db)

    def rows(self, statement: str, given: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """All rows of a statement that only reads."""
        with self.reading() as db:
            return db.execute(statement, given).fetchall()

    def version(self) -> int:
        """A number that changes whenever another process, or another ``Database``, has written."""
        with self._lock, self.explained():
            return schema.read_pragma(self._writer, "data_version")

    def _take_idle(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            if self._idle:
                return self._idle.pop()
        db = self._connect()
        db.execute("PRAGMA query_only = 1")
        return db

    def _put_back(self, db: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed:
                self._idle.append(db)
                return
        db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = 1")
            db.execute("PRAGMA journal_size_limit = 16777216")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise what SQLite reports as LedgerError or StorageError."""
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):  # a fault in Tidegate
            raise
        except sqlite3.Error as error:
            raise explain(self.path, error) from error
        except UnreadableEntry as error:
            raise damaged(self.path, str(error)) from error

    def _migrate(self) -> None:
        db = self._writer
        if not schema.is_ledger(db):
            raise LedgerError(
                f"{self.path} is a database, but not a ledger of Tidegate",
                next="it is left as it is; move it away, or start in another folder",
            )
        if schema.version_of(db) < schema.latest_version():
            with self.writing():
                schema.migrate(db)
        version = schema.version_of(db)
        if version > schema.latest_version():
            raise LedgerError(
                f"{self.path} was written by a newer Tidegate",
                why=(
                    f"it has schema version {version}; this Tidegate knows versions up to "
                    f"{schema.latest_version()}"
                ),
                next="upgrade Tidegate; the ledger is left as it is",
            )


def _identity(path: Path) -> tuple[int, int]:
    """Identifies the file; (0, 0) if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
