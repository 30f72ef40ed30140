"""Raw files that were hashed, so that unchanged files need not be read again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from tidegate.runtime.runs import Input
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.values import batches, to_sql, to_text

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class SeenFile(NamedTuple):
    """A raw file that was hashed, and what its inode said at that time."""

    key: str
    """Its path below the root of the inputs."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When its content was last written, ns since 1970."""
    ctime_ns: int
    """When its inode last changed, ns since 1970."""
    inode: int
    """The number of its inode."""
    sha256: str
    """Of its content, in hexadecimal."""

    def to_input(self) -> Input:
        """The file at this version."""
        modified = _EPOCH + timedelta(microseconds=self.mtime_ns // 1000)
        return Input(self.key, self.sha256, self.size, modified)


class SeenFiles:
    """The files that were hashed, in the ledger's file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def below(self, prefix: str = "") -> Iterator[SeenFile]:
        """The files whose keys start with ``prefix``, a page at a time."""
        # Keys that are not UTF-8 are stored as bytes, which sort after all text.
        for start in dict.fromkeys((to_sql(prefix), prefix.encode("utf-8", "surrogatepass"))):
            yield from self._from(start)

    def _from(self, prefix: Any) -> Iterator[SeenFile]:
        after, operator = prefix, ">="
        while rows := self._database.rows(
            f"SELECT * FROM seen WHERE key {operator} ? ORDER BY key LIMIT 1000", (after,)
        ):
            for row in rows:
                if type(row[0]) is not type(prefix) or not row[0].startswith(prefix):
                    return
                yield _from_row(row)
            after, operator = rows[-1][0], ">"

    def at(self, keys: Iterable[str]) -> dict[str, SeenFile]:
        """The files with those keys, by key; those that were hashed."""
        found = {}
        for batch in batches(keys):
            marks = ",".join("?" * len(batch))
            statement = f"SELECT * FROM seen WHERE key IN ({marks})"
            for row in self._database.rows(statement, [to_sql(key) for key in batch]):
                file = _from_row(row)
                found[file.key] = file
        return found

    def unchanged(self, files: Iterable[tuple[str, int, int, int, int]]) -> set[str]:
        """The keys of those files that were hashed as they are now.

        Each is (key, size, mtime_ns, ctime_ns, inode), as a ``RawFile`` is.
        """
        found = set()
        for batch in batches(files):
            now = {to_sql(file[0]): file for file in batch}
            marks = ",".join("?" * len(now))
            columns = "key, size, mtime_ns, ctime_ns, inode"
            statement = f"SELECT {columns} FROM seen WHERE key IN ({marks})"
            for row in self._database.rows(statement, list(now)):
                file = now[row[0]]
                if row[1:] == tuple(file[1:]):
                    found.add(file[0])
        return found

    def add(self, files: Iterable[SeenFile]) -> None:
        """Note files that were hashed, in one transaction."""
        files = list(files)  # if they are hashed only now, that must not block other writers
        with self._database.writing() as db:
            write_seen(db, files)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget the files with those keys."""
        gone = [(to_sql(key),) for key in keys]
        with self._database.writing() as db:
            db.executemany("DELETE FROM seen WHERE key = ?", gone)


def write_seen(db: sqlite3.Connection, files: Iterable[SeenFile]) -> None:
    """Note files that were hashed, within the caller's transaction."""
    db.executemany(
        "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)",
        [(to_sql(file.key), *file[1:5], bytes.fromhex(file.sha256)) for file in files],
    )


def _from_row(row: Sequence[Any]) -> SeenFile:
    return SeenFile(to_text(row[0]), row[1], row[2], row[3], row[4], row[5].hex())
