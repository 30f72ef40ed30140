"""Forget old runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime

from tidegate.runtime.ledger_rules import to_micros
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.runs import subject_rows
from tidegate.targets.local.ledger.values import load

_PAGE = 200

_CANDIDATES = """
    SELECT id, record FROM runs
    WHERE id > ? AND finished < ? AND state NOT IN ('running', 'retrying')
        AND NOT EXISTS (SELECT 1 FROM products WHERE products.run = runs.key)
    ORDER BY id LIMIT ?
"""

_LATER_RUN = """
    SELECT 1 FROM subjects JOIN runs ON runs.id = subjects.run
    WHERE subjects.config = ? AND subject = ? AND runs.id <> ? AND started > ? LIMIT 1
"""


def prune_runs(database: Database, before: datetime, stopped: Callable[[], bool]) -> int:
    """Forget runs that ended before then and that nothing needs; returns how many.

    A run is kept while one of its products is present. It is also kept until later runs exist about
    each of its subjects; without it, its files would count as new and run again.
    """
    pruned, last = 0, 0
    while not stopped() and (rows := database.rows(_CANDIDATES, (last, to_micros(before), _PAGE))):
        last = rows[-1][0]
        with database.writing() as db:
            for id, text in rows:
                pruned += _forget_if_outdated(db, id, load(RunRecord, text))
    return pruned


def _forget_if_outdated(db: sqlite3.Connection, id: int, record: RunRecord) -> bool:
    config, subjects = record.run.config, subject_rows(record.run)
    started = to_micros(record.started)
    for subject, _, _ in subjects:
        if db.execute(_LATER_RUN, (config, subject, id, started)).fetchone() is None:
            return False
    db.executemany(
        "DELETE FROM subjects WHERE config=? AND subject=? AND version=? AND size=? AND run=?",
        [(config, *subject, id) for subject in subjects],
    )
    db.execute("DELETE FROM runs WHERE id = ?", (id,))
    return True
