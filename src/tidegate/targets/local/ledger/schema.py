"""The tables of the ledger's file, and how an older file gets them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tidegate.runtime.ledger_rules import to_micros
from tidegate.runtime.records import loads
from tidegate.runtime.runs import RunRecord

APPLICATION_ID = 0x54494445
"""``TIDE``: distinguishes a ledger from other SQLite files."""

_PAGE = 200

_VERSION_1 = (
    """
    CREATE TABLE runs (
        id      INTEGER PRIMARY KEY,
        key     TEXT    NOT NULL UNIQUE,
        config  TEXT    NOT NULL,
        state   TEXT    NOT NULL,
        owner   TEXT    NOT NULL,
        attempt INTEGER NOT NULL,
        started INTEGER NOT NULL,  -- times are microseconds since 1970, UTC
        lease   INTEGER,           -- until when a running one is its owner's
        record  TEXT    NOT NULL   -- the RunRecord as canonical JSON
    )
    """,
    "CREATE INDEX runs_by_state ON runs (state, started, key)",
    "CREATE INDEX runs_by_config ON runs (config, state, started, key)",
    """
    CREATE TABLE subjects (
        config  TEXT    NOT NULL,
        subject         NOT NULL,
        version         NOT NULL,
        size    INTEGER NOT NULL,  -- -1 when the subject is not a file
        run     INTEGER NOT NULL,  -- runs.id
        PRIMARY KEY (config, subject, version, size, run)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE products (
        key                NOT NULL PRIMARY KEY,
        kind       TEXT    NOT NULL,
        datastream         NOT NULL,
        config     TEXT    NOT NULL,
        run        TEXT    NOT NULL,
        scale      INTEGER,        -- NULL when it has no times
        "begin"    INTEGER,
        "end"      INTEGER,
        product    TEXT    NOT NULL
    )
    """,
    "CREATE INDEX products_by_datastream ON products (datastream, key)",
    "CREATE INDEX products_by_config ON products (config, key)",
    "CREATE INDEX products_by_run ON products (run, key)",
    """CREATE INDEX products_by_time ON products (datastream, kind, scale, "begin")""",
    """
    CREATE TABLE changes (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        datastream         NOT NULL,
        "begin"    INTEGER NOT NULL,
        "end"      INTEGER NOT NULL
    )
    """,
    "CREATE INDEX changes_by_datastream ON changes (datastream, id)",
    "CREATE TABLE state (name NOT NULL PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
)

_VERSION_2 = (
    "ALTER TABLE runs ADD COLUMN finished INTEGER",
    """
    CREATE TABLE queue (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        key        TEXT    NOT NULL,
        config     TEXT    NOT NULL,
        priority   INTEGER NOT NULL,
        not_before INTEGER NOT NULL,
        asked      INTEGER NOT NULL,  -- when it was queued or postponed, by the clock of then
        again      INTEGER NOT NULL,
        taken      INTEGER NOT NULL,
        run        TEXT    NOT NULL   -- the Run as canonical JSON
    )
    """,
    "CREATE UNIQUE INDEX queue_by_key ON queue (key, taken)",
    "CREATE INDEX queue_by_turn ON queue (taken, config, priority, not_before, seq)",
    "CREATE INDEX queue_by_time ON queue (taken, not_before)",
    "CREATE INDEX queue_by_asked ON queue (asked)",
    """
    CREATE TABLE queue_subjects (
        config  TEXT    NOT NULL,
        subject         NOT NULL,
        seq     INTEGER NOT NULL REFERENCES queue (seq) ON DELETE CASCADE,
        PRIMARY KEY (config, subject, seq)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX queue_subjects_by_seq ON queue_subjects (seq)",
    """
    CREATE TABLE seen (
        key              NOT NULL PRIMARY KEY,
        size     INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode    INTEGER NOT NULL,
        sha256   BLOB    NOT NULL
    ) WITHOUT ROWID
    """,
)

_VERSION_3 = (
    """
    CREATE TABLE jobs (
        id    TEXT    NOT NULL PRIMARY KEY,
        open  INTEGER NOT NULL,  -- whether it is running or paused
        asked INTEGER NOT NULL,
        job   TEXT    NOT NULL   -- the Job as canonical JSON
    ) WITHOUT ROWID
    """,
    "CREATE INDEX jobs_by_open ON jobs (open, asked)",
    "CREATE INDEX jobs_by_asked ON jobs (asked)",
    """
    CREATE TABLE job_runs (
        job    TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        key    TEXT    NOT NULL,
        queued INTEGER NOT NULL,
        run    TEXT    NOT NULL,  -- the Run as canonical JSON
        PRIMARY KEY (job, key)
    )
    """,
    "CREATE INDEX job_runs_by_turn ON job_runs (job, queued)",
    "CREATE INDEX job_runs_by_key ON job_runs (key)",
)


def _to_version_1(db: sqlite3.Connection) -> None:
    for statement in _VERSION_1:
        db.execute(statement)


def _to_version_2(db: sqlite3.Connection) -> None:
    for statement in _VERSION_2:
        db.execute(statement)
    last = 0
    while rows := db.execute(
        "SELECT id, record FROM runs WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE)
    ).fetchall():
        finished = [(to_micros(loads(RunRecord, text).finished), id) for id, text in rows]
        db.executemany("UPDATE runs SET finished = ? WHERE id = ?", finished)
        last = rows[-1][0]


def _to_version_3(db: sqlite3.Connection) -> None:
    for statement in _VERSION_3:
        db.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _to_version_1,
    _to_version_2,
    _to_version_3,
)
"""Step n turns version n - 1 into version n, in one transaction. A released step never changes."""


def is_ledger(db: sqlite3.Connection) -> bool:
    """Whether the file is a ledger of Tidegate's, of whatever version."""
    return read_pragma(db, "application_id") == APPLICATION_ID


def version_of(db: sqlite3.Connection) -> int:
    """The version of the file's tables."""
    return read_pragma(db, "user_version")


def latest_version() -> int:
    """The version that this Tidegate writes."""
    return len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables up to date, within the caller's transaction."""
    for version in range(version_of(db), len(MIGRATIONS)):
        MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version = {version + 1}")


def read_pragma(db: sqlite3.Connection, name: str) -> int:
    """The value of a SQLite setting that is a number."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
