"""Runs and their records.

A run is found by its key, by its state, and by its subjects: the files and windows it is about.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import ADOPTER, Input, Run, RunRecord, State
from tidegate.runtime.scope import PastRun
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.values import NO_LIMIT, batches, load, to_sql, to_text

_STATES: tuple[State, ...] = get_args(State)
_PAGE = 200


class StoredRun(NamedTuple):
    """A row of the table ``runs``."""

    id: int
    """The number of the row."""
    record: RunRecord
    """The run's record."""
    lease: datetime | None
    """Until when the run belongs to its owner."""


# One run.


def read_run(db: sqlite3.Connection, key: str) -> StoredRun | None:
    """The run with that key, if it is on record."""
    row = db.execute("SELECT id, record, lease FROM runs WHERE key = ?", (to_sql(key),)).fetchone()
    if row is None:
        return None
    lease = None if row[2] is None else from_micros(row[2])
    return StoredRun(row[0], load(RunRecord, row[1]), lease)


def find_claimed_run(db: sqlite3.Connection, key: str, owner: str, attempt: int) -> int | None:
    """The number of a run's row, if it is running, and this attempt of that owner runs it."""
    row = db.execute(CLAIMED, (to_sql(key), to_sql(owner), attempt)).fetchone()
    return None if row is None else int(row[0])


CLAIMED = """
    SELECT id FROM runs WHERE key = ? AND state = 'running' AND owner = ? AND attempt = ?
"""


def insert_run(db: sqlite3.Connection, record: RunRecord, lease: datetime) -> None:
    """Store a new run and what it is about."""
    id = db.execute(
        """
        INSERT INTO runs (key, config, state, owner, attempt, started, finished, lease, record)
        VALUES (:key, :config, :state, :owner, :attempt, :started, :finished, :lease, :record)
        """,
        {"key": record.key, "config": record.run.config, **_columns(record, lease)},
    ).lastrowid
    db.executemany(
        "INSERT OR IGNORE INTO subjects (config, subject, version, size, run) VALUES (?,?,?,?,?)",
        [(record.run.config, *subject, id) for subject in subject_rows(record.run)],
    )


def update_run(db: sqlite3.Connection, stored: StoredRun) -> None:
    """Replace the record and the lease of a run."""
    db.execute(
        """
        UPDATE runs SET state = :state, owner = :owner, attempt = :attempt,
            started = :started, finished = :finished, lease = :lease, record = :record
        WHERE id = :id
        """,
        {"id": stored.id, **_columns(stored.record, stored.lease)},
    )


def write_publishing(db: sqlite3.Connection, id: int, products: Iterable[str]) -> None:
    """Add to the ``publishing`` of a record; as a whole it is neither read nor written."""
    (text,) = db.execute(PUBLISHING, (id,)).fetchone()
    noted = json.loads(text) if text else []
    publishing = list(dict.fromkeys((*noted, *products)))
    if publishing != noted:
        db.execute(PUBLISH, (json.dumps(publishing), id))


PUBLISH = "UPDATE runs SET record = json_set(record, '$.publishing', json(?)) WHERE id = ?"
PUBLISHING = "SELECT json_extract(record, '$.publishing') FROM runs WHERE id = ?"


def _columns(record: RunRecord, lease: datetime | None) -> dict[str, Any]:
    return {
        "state": record.state,
        "owner": to_sql(record.owner),
        "attempt": record.attempt,
        "started": to_micros(record.started),
        "finished": to_micros(record.finished),
        "lease": to_micros(lease),
        "record": dumps(record),
    }


def subject_rows(run: Run) -> list[tuple[str | bytes, str | bytes, int]]:
    """What a run is about, as rows of ``subjects``: subject, version and size."""
    if run.window is None and run.inputs:
        return [(to_sql(i.key), to_sql(i.version), i.size) for i in run.files]
    return [(to_sql(subject), "", -1) for subject in run.subjects]


# Many runs.


def read_states(db: sqlite3.Connection, keys: Iterable[str]) -> dict[str, State]:
    """See ``Ledger.states``."""
    found: dict[str, State] = {}
    for batch in batches(keys):
        marks = ",".join("?" * len(batch))
        statement = f"SELECT key, state FROM runs WHERE key IN ({marks})"
        found.update(db.execute(statement, batch).fetchall())
    return found


def read_records(
    database: Database,
    *,
    config: str | None,
    states: Sequence[State],
    prefix: str,
    before: datetime | None,
    since: datetime | None,
    limit: int | None,
) -> Iterator[RunRecord]:
    """See ``Ledger.records``; a page at a time."""
    statement, given = records_statement(config, states, prefix)
    given["since"] = -NO_LIMIT if since is None else to_micros(since)
    started, key = (NO_LIMIT if before is None else to_micros(before)), ""
    left = NO_LIMIT if limit is None else limit
    while left > 0:
        page = min(left, _PAGE)
        rows = database.rows(statement, {**given, "started": started, "key": key, "page": page})
        with database.explained():
            for row in rows:
                yield load(RunRecord, row[2])
        if len(rows) < page:
            return
        started, key, _ = rows[-1]
        left -= page


def records_statement(
    config: str | None, states: Sequence[State], prefix: str
) -> tuple[str, dict[str, Any]]:
    """The statement for a page of ``records``, and its fixed parameters.

    It is a UNION of one SELECT for each state. Each SELECT follows an index, the latest run first,
    and SQLite merges them, so a page costs the same however many runs are on record.
    """
    wanted = dict.fromkeys(states or _STATES)
    given: dict[str, Any] = {f"state{n}": state for n, state in enumerate(wanted)}
    if config is not None:
        given["config"] = config
    columns = "SELECT started, key, record FROM runs"
    order = "ORDER BY started DESC, key DESC LIMIT :page"
    if prefix:  # the unary pluses keep SQLite on the index of the keys
        given |= {"prefix": prefix, "beyond": prefix + "\U0010ffff"}
        named = ",".join(f":state{n}" for n in range(len(wanted)))
        where = f"key >= :prefix AND key < :beyond AND +state IN ({named})"
        where += " AND (+started, +key) < (:started, :key) AND +started >= :since"
        where += " AND +config = :config" if config is not None else ""
        return f"{columns} WHERE {where} {order}", given
    where = "(started, key) < (:started, :key) AND started >= :since"
    where += " AND config = :config" if config is not None else ""
    selects = (f"{columns} WHERE {where} AND state = :state{n}" for n in range(len(wanted)))
    return f"{' UNION ALL '.join(selects)} {order}", given


def read_runs_about(
    db: sqlite3.Connection, config: str, subject: str, *, but: str
) -> list[RunRecord]:
    """See ``Ledger.about``."""
    rows = db.execute(ABOUT, (config, to_sql(subject))).fetchall()
    records = (load(RunRecord, text) for (text,) in rows)
    return [record for record in records if record.key != but]


ABOUT = """
    SELECT record FROM runs
    WHERE id IN (SELECT run FROM subjects WHERE config = ? AND subject = ?)
    ORDER BY started DESC, key DESC
"""


def read_latest(db: sqlite3.Connection, config: str, subjects: Iterable[str]) -> dict[str, PastRun]:
    """See ``History.latest``; records are not read as a whole, which would take most time."""
    found: dict[str, tuple[tuple[int, str], PastRun]] = {}
    for batch in batches(subjects):
        asked = ",".join("(?)" for _ in batch)
        rows = db.execute(LATEST.format(asked=asked), [*map(to_sql, batch), config]).fetchall()
        for name, key, state, started, release, begin, end in rows:
            subject, order = to_text(name), (started, key)
            if subject not in found or found[subject][0] < order:
                span = (None, None) if begin is None else (from_micros(begin), from_micros(end))
                found[subject] = order, PastRun(key, state, release or "", *span)
    return {subject: past for subject, (_, past) in found.items()}


LATEST = """
    WITH asked (subject) AS (VALUES {asked})
    SELECT asked.subject, runs.key, runs.state, runs.started,
        json_extract(runs.record, '$.release'),
        (SELECT min("begin") FROM products WHERE products.run = runs.key),
        (SELECT max("end") FROM products WHERE products.run = runs.key)
    FROM asked
    CROSS JOIN subjects ON subjects.config = ? AND subjects.subject = asked.subject
    CROSS JOIN runs ON runs.id = subjects.run
"""


def find_untaken(db: sqlite3.Connection, config: str, inputs: Iterable[Input]) -> list[Input]:
    """See ``Ledger.untaken``."""
    untaken: list[Input] = []
    for batch in batches(inputs):
        asked = ",".join(f"({n},?,?,?)" for n in range(len(batch)))
        given = [to_sql(part) for i in batch for part in (i.key, i.version, i.size)]
        rows = db.execute(UNTAKEN.format(asked=asked), (*given, config)).fetchall()
        taken = {n for (n,) in rows}
        untaken += [input for n, input in enumerate(batch) if n not in taken]
    return untaken


UNTAKEN = """
    WITH asked (n, subject, version, size) AS (VALUES {asked})
    SELECT asked.n
    FROM asked
    CROSS JOIN subjects ON subjects.config = ? AND subjects.subject = asked.subject
        AND subjects.version = asked.version AND subjects.size = asked.size
    CROSS JOIN runs ON runs.id = subjects.run
    WHERE runs.state <> 'superseded'
"""


# Figures.


def count_runs(db: sqlite3.Connection) -> dict[str, dict[State, int]]:
    """How many runs each config has in each state."""
    counts: dict[str, dict[State, int]] = {}
    statement = "SELECT config, state, count(*) FROM runs GROUP BY config, state"
    for config, state, count in db.execute(statement).fetchall():
        counts.setdefault(config, {})[state] = count
    return counts


def average_duration(db: sqlite3.Connection, config: str, runs: int) -> float | None:
    """The average duration of the latest successful runs of a config, s; None without any."""
    row = db.execute(
        """
        SELECT avg(max(finished - started, 0)) / 1e6 FROM (
            SELECT started, finished FROM runs
            WHERE config = ? AND state = 'succeeded' AND owner <> ?
            ORDER BY started DESC LIMIT ?
        )
        """,
        (config, ADOPTER, runs),
    ).fetchone()
    average: float | None = row[0]
    return average
