"""The queue of runs, in the ledger's own database, so that both always agree.

A run is queued in the same transaction that notes the files and cursors that it was selected from;
it leaves the queue in the transaction that records its end (``SqliteLedger.finish``). So a crash at
any moment loses nothing, and queues nothing twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.protocols import QueuedRun
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import SETTLED, Run
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.ledger.seen_files import write_seen
from tidegate.targets.local.ledger.state import write_state
from tidegate.targets.local.ledger.values import batches, to_sql

CLOCK_SLACK = timedelta(minutes=1)
"""An entry that was queued further in the future than this shows that the clock was set back."""

_PAGE = 200


@dataclass(frozen=True)
class Entry:
    """One entry of the queue."""

    run: Run
    """The run."""
    priority: int
    """Higher ones go first."""
    not_before: datetime
    """When it is due, UTC."""
    taken: bool
    """Whether it is being carried out."""


class SqliteQueue:
    """A durable queue: by priority; then configs take turns; then first due, first in, first out.

    Two runs of one config about the same subject (two versions of one file, say) never go on at
    the same time, and the one that was queued first goes first.
    """

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self._turns: dict[tuple[str, int], int] = {}  # by config and priority: the last turn
        self._turn = 0

    def put(
        self,
        runs: Sequence[Run],
        now: datetime,
        *,
        priority: int = 0,
        state: Sequence[tuple[str, str]] = (),
        seen: Sequence[SeenFile] = (),
    ) -> int:
        """Queue runs, keep ``state``, and note which files were ``seen``, in one transaction.

        Runs are left out that are queued already, that are done or failed, or that another process
        is at work on. ``Run.again`` overrides all of these: then a waiting entry becomes one to
        run again now, and a run that is at work is queued once more. Returns how many were queued.
        """
        rows = [(run, run.key, dumps(run)) for run in runs]
        count = 0
        with self._ledger.database.writing() as db:
            open_keys = _open_keys(db, [key for _, key, _ in rows], now)
            for run, key, text in rows:
                if run.again or key in open_keys:
                    count += put_entry(db, run, key, text, now, priority)
            write_seen(db, seen)
            write_state(db, state)
        return count

    def take(
        self,
        now: datetime,
        exclude_configs: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> QueuedRun | None:
        """The next run that is due, marked as taken; None if there is none.

        ``only`` names the keys of those that may be taken, where not all may.
        """
        if self._nothing_waits():
            return None
        with self._ledger.database.writing() as db:
            _adjust_to_clock(db, now)
            best: tuple[int, int, int, int] | None = None
            for config, priority in _lanes(db):
                if config in exclude_configs:
                    continue
                given: dict[str, Any] = {"config": config, "priority": priority}
                given["now"] = to_micros(now)
                if only is not None:
                    given["only"] = json.dumps(sorted(only))
                row = db.execute(NEXT if only is None else NEXT_OF, given).fetchone()
                if row is not None:
                    turn = (-priority, self._turns.get((config, priority), 0), *row)
                    if best is None or turn < best:
                        best, lane = turn, (config, priority)
            if best is None:
                return None
            seq = best[3]
            self._turn += 1
            self._turns[lane] = self._turn
            db.execute("UPDATE queue SET taken = 1 WHERE seq = ?", (seq,))
            (text,) = db.execute("SELECT run FROM queue WHERE seq = ?", (seq,)).fetchone()
        return QueuedRun(loads(Run, text))

    def postpone(self, run: Run, until: datetime, now: datetime) -> None:
        """Put a taken run back, to be due later."""
        with self._ledger.database.writing() as db:
            _put_back(db, "AND key = ?", (run.key,))
            db.execute(
                "UPDATE queue SET not_before = ?, asked = ? WHERE key = ? AND taken = 0",
                (to_micros(until), to_micros(now), run.key),
            )

    def drop(self, run: Run, *, given_up: bool = False) -> None:
        """Remove a taken run; ``SqliteLedger.finish`` has done so if the run has ended."""
        with self._ledger.database.reading() as db:
            statement = "SELECT 1 FROM queue WHERE key = ? AND taken = 1"
            if db.execute(statement, (run.key,)).fetchone() is None:
                return
        with self._ledger.database.writing() as db:
            db.execute("DELETE FROM queue WHERE key = ? AND taken = 1", (run.key,))

    def requeue_taken(self) -> int:
        """At the start: put back what an earlier process had taken; returns how many."""
        with self._ledger.database.writing() as db:
            return _put_back(db, "", ())

    def recover(self, now: datetime) -> int:
        """At the start: queue unfinished runs of the ledger that are not queued; returns how many.

        Processes that carried out a run without the queue, and died, leave such runs.
        """
        with self._ledger.database.reading() as db:
            rows = db.execute(STRANDED, (to_micros(now),)).fetchall()
        records = (self._ledger.record(key) for (key,) in rows)
        runs = [record.run for record in records if record is not None]
        return self.put([run for run in runs if not run.adopted], now)

    def with_earlier(self, keys: Iterable[str]) -> set[str]:
        """These keys, and those of runs about the same that were queued before: they go first."""
        wanted = set(keys)
        with self._ledger.database.reading() as db:
            rows = db.execute(WITH_EARLIER, (json.dumps(sorted(wanted)),)).fetchall()
        return wanted | {key for (key,) in rows}

    def pending(self, config: str | None = None) -> Iterator[Entry]:
        """All entries, taken ones included, in the order in which they were queued."""
        seq = 0
        statement = PENDING.format(only="" if config is None else "AND config = :config")
        while True:
            given = {"config": config, "seq": seq, "page": _PAGE}
            with self._ledger.database.reading() as db:
                rows = db.execute(statement, given).fetchall()
            for _, priority, not_before, taken, text in rows:
                yield Entry(loads(Run, text), priority, from_micros(not_before), bool(taken))
            if len(rows) < _PAGE:
                return
            seq = rows[-1][0]

    def waiting(self) -> dict[str, int]:
        """How many entries wait of each config; those that were taken do not count."""
        with self._ledger.database.reading() as db:
            return dict(db.execute(WAITING).fetchall())

    def count(self, config: str | None = None) -> int:
        """How many entries there are, those that were taken included."""
        only = "" if config is None else " WHERE taken IN (0, 1) AND config = :config"
        with self._ledger.database.reading() as db:
            row = db.execute(f"SELECT count(*) FROM queue{only}", {"config": config}).fetchone()
        return int(row[0])

    def _nothing_waits(self) -> bool:
        with self._ledger.database.reading() as db:
            return db.execute("SELECT 1 FROM queue WHERE taken = 0 LIMIT 1").fetchone() is None


NEXT = """
    SELECT not_before, seq FROM queue
    WHERE taken = 0 AND config = :config AND priority = :priority AND not_before <= :now
        AND NOT EXISTS (
            SELECT 1
            FROM queue_subjects AS mine
            CROSS JOIN queue_subjects AS other
                ON other.config = mine.config AND other.subject = mine.subject
            CROSS JOIN queue AS earlier ON earlier.seq = other.seq
            WHERE mine.seq = queue.seq AND other.seq <> mine.seq
                AND (earlier.seq < mine.seq OR earlier.taken = 1)
        )
    ORDER BY not_before, seq LIMIT 1
"""

NEXT_OF = NEXT.replace(
    "AND NOT EXISTS", "AND key IN (SELECT value FROM json_each(:only)) AND NOT EXISTS", 1
)

WITH_EARLIER = """
    WITH RECURSIVE found (seq) AS (
        SELECT seq FROM queue WHERE key IN (SELECT value FROM json_each(?))
        UNION
        SELECT other.seq
        FROM found
        CROSS JOIN queue_subjects AS mine ON mine.seq = found.seq
        CROSS JOIN queue_subjects AS other
            ON other.config = mine.config AND other.subject = mine.subject
        WHERE other.seq < mine.seq
    )
    SELECT key FROM found JOIN queue USING (seq)
"""

STRANDED = """
    SELECT key FROM runs
    WHERE (state = 'retrying' OR (state = 'running' AND (lease IS NULL OR lease <= ?)))
        AND key NOT IN (SELECT key FROM queue)
    ORDER BY started
"""

WAITING = "SELECT config, count(*) FROM queue WHERE taken = 0 GROUP BY config"

PENDING = """
    SELECT seq, priority, not_before, taken, run FROM queue
    WHERE seq > :seq {only}
    ORDER BY seq LIMIT :page
"""

# Two statements: on (config, priority) > (?, ?) SQLite would step over all that are equal.
NEXT_PRIORITY = """
    SELECT config, priority FROM queue
    WHERE taken = 0 AND config = ? AND priority > ? ORDER BY priority LIMIT 1
"""

NEXT_CONFIG = """
    SELECT config, priority FROM queue
    WHERE taken = 0 AND config > ? ORDER BY config, priority LIMIT 1
"""


def _lanes(db: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Each config and priority that waits: one index lookup for each, however many runs wait."""
    lane: tuple[str, int] | None = db.execute(NEXT_CONFIG, ("",)).fetchone()
    while lane is not None:
        yield lane
        lane = (
            db.execute(NEXT_PRIORITY, lane).fetchone()
            or db.execute(NEXT_CONFIG, lane[:1]).fetchone()
        )


def _open_keys(db: sqlite3.Connection, keys: Sequence[str], now: datetime) -> set[str]:
    """Those that are not recorded as done, failed, or at work."""
    closed = set()
    moment = to_micros(now)
    for batch in batches(keys):
        marks = ",".join("?" * len(batch))
        rows = db.execute(f"SELECT key, state, lease FROM runs WHERE key IN ({marks})", batch)
        for key, state, lease in rows.fetchall():
            held = state == "running" and lease is not None and lease > moment
            if held or state == "failed" or state in SETTLED:
                closed.add(key)
    return {key for key in keys if key not in closed}


def put_entry(
    db: sqlite3.Connection, run: Run, key: str, text: str, now: datetime, priority: int
) -> bool:
    """Add one entry, or turn a waiting one into one to run again; whether either was done."""
    entries = dict(db.execute("SELECT taken, again FROM queue WHERE key = ?", (key,)).fetchall())
    if entries and (not run.again or entries.get(0) == 1):
        # It is wanted by someone else too: it goes as early as he wants, and outlives a job. With
        # the time of the latest request it is an answer to all of them.
        db.execute(
            """
            UPDATE queue SET priority = max(priority, :priority),
                run = CASE WHEN :again THEN :run ELSE run END
            WHERE key = :key AND taken = 0
            """,
            {"priority": priority, "again": run.again, "run": text, "key": key},
        )
        return False
    if 0 in entries:
        db.execute(
            """
            UPDATE queue SET again = 1, run = ?, priority = max(priority, ?),
                not_before = ?, asked = ?
            WHERE key = ? AND taken = 0
            """,
            (text, priority, to_micros(now), to_micros(now), key),
        )
        return True
    seq = db.execute(
        """
        INSERT INTO queue (key, config, priority, not_before, asked, again, taken, run)
        VALUES (?, ?, ?, ?, ?, ?, 0, ?)
        """,
        (key, run.config, priority, to_micros(now), to_micros(now), run.again, text),
    ).lastrowid
    db.executemany(
        "INSERT OR IGNORE INTO queue_subjects (config, subject, seq) VALUES (?, ?, ?)",
        [(run.config, to_sql(subject), seq) for subject in run.subjects],
    )
    return True


def _put_back(db: sqlite3.Connection, only: str, given: Sequence[Any]) -> int:
    """Put taken entries back; a run that was requested again meanwhile is queued already."""
    twins = "SELECT key FROM queue WHERE taken = 0"
    merged = db.execute(
        f"DELETE FROM queue WHERE taken = 1 {only} AND key IN ({twins})", given
    ).rowcount
    return merged + db.execute(f"UPDATE queue SET taken = 0 WHERE taken = 1 {only}", given).rowcount


def _adjust_to_clock(db: sqlite3.Connection, now: datetime) -> None:
    """A clock that was set back must not delay what was queued before."""
    given = {"now": to_micros(now), "ahead": to_micros(now + CLOCK_SLACK)}
    db.execute(
        "UPDATE queue SET not_before = min(not_before, :now), asked = :now WHERE asked > :ahead",
        given,
    )
