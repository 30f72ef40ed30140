"""Small durable values by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tidegate.targets.local.ledger.values import to_sql, to_text


def read_state(db: sqlite3.Connection, name: str) -> str | None:
    """The value of that name, if there is one."""
    row = db.execute("SELECT value FROM state WHERE name = ?", (to_sql(name),)).fetchone()
    return None if row is None else to_text(row[0])


def write_state(db: sqlite3.Connection, values: Iterable[tuple[str, str]]) -> None:
    """Store values by name, within the caller's transaction."""
    rows = [(to_sql(name), to_sql(value)) for name, value in values]
    db.executemany("INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", rows)
