"""Which times of a datastream were touched, in the order in which it happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.protocols import Span
from tidegate.targets.local.ledger.values import to_sql

CHANGES = """
    SELECT id, "begin", "end" FROM changes WHERE datastream = ? AND id > ? ORDER BY id
"""


def write_changes(db: sqlite3.Connection, changes: Iterable[tuple[str, Span]]) -> None:
    """Note touched times by datastream, within the caller's transaction."""
    db.executemany(
        'INSERT INTO changes (datastream, "begin", "end") VALUES (?, ?, ?)',
        [(to_sql(name), to_micros(span.begin), to_micros(span.end)) for name, span in changes],
    )


def read_changes(db: sqlite3.Connection, datastream: str, cursor: str) -> tuple[list[Span], str]:
    """What was noted after ``cursor``, and the new cursor: the row's number as text."""
    rows = db.execute(CHANGES, (to_sql(datastream), int(cursor or 0))).fetchall()
    spans = [Span(from_micros(begin), from_micros(end)) for _, begin, end in rows]
    return spans, str(rows[-1][0]) if rows else cursor
