"""The queue of runs, in the ledger's own database, so that both always agree.

A run is queued in the same transaction that notes the files and cursors that it was selected from;
it leaves the queue in the transaction that records its end (``SqliteLedger.finish``). So a crash at
any moment loses nothing, and queues nothing twice.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
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
        self._taking = threading.Lock()

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
        given: dict[str, Any] = {"now": to_micros(now)}
        given["excluded"] = json.dumps(sorted(exclude_configs))
        if only is not None:
            given["only"] = json.dumps(sorted(only))
        statement = NEXT if only is None else NEXT_OF
        with self._taking:  # so nothing that is found is taken meanwhile, or must not be any more
            while (found := self._find_next(statement, given, now)) is not None:
                config, priority, seq = found
                text = self._ledger.database.write(partial(_take, seq=seq))
                if text is not None:
                    self._turn += 1
                    self._turns[config, priority] = self._turn
                    return QueuedRun(loads(Run, text))
        return None

    def _find_next(
        self, statement: str, given: dict[str, Any], now: datetime
    ) -> tuple[str, int, int] | None:
        """The config, the priority and the number of the entry that is to be taken next."""
        database = self._ledger.database
        with database.reading() as db:
            set_back = db.execute(AHEAD, (to_micros(now + CLOCK_SLACK),)).fetchone()
        if set_back is not None:
            database.write(lambda db: _adjust_to_clock(db, now))
        with database.reading() as db:
            rows = db.execute(statement, given).fetchall()
        if not rows:
            return None

        def turn(row: Any) -> tuple[int, int, int, int]:
            config, priority, not_before, seq = row
            return -priority, self._turns.get((config, priority), 0), not_before, seq

        config, priority, _, seq = min(rows, key=turn)
        return config, priority, seq

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


# The first entry of each lane: a config and priority that waits. It is one index look-up for each
# lane, however many runs wait. To find the next lane takes two SELECTs: on (config, priority) >
# (?, ?) SQLite would step over all that are equal.
NEXT = """
    WITH RECURSIVE lanes (first) AS (
        SELECT (SELECT seq FROM queue WHERE taken = 0 ORDER BY config, priority LIMIT 1)
        UNION ALL
        SELECT coalesce(
            (
                SELECT seq FROM queue WHERE taken = 0
                    AND config = lane.config AND priority > lane.priority
                ORDER BY priority LIMIT 1
            ),
            (
                SELECT seq FROM queue WHERE taken = 0 AND config > lane.config
                ORDER BY config, priority LIMIT 1
            )
        )
        FROM lanes CROSS JOIN queue AS lane ON lane.seq = lanes.first
    )
    SELECT next.config, next.priority, next.not_before, next.seq
    FROM lanes
    CROSS JOIN queue AS lane ON lane.seq = lanes.first
    CROSS JOIN queue AS next ON next.seq = (
        SELECT seq FROM queue
        WHERE taken = 0 AND config = lane.config AND priority = lane.priority
            AND not_before <= :now
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
    )
    WHERE lane.config NOT IN (SELECT value FROM json_each(:excluded))
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

AHEAD = "SELECT 1 FROM queue WHERE asked > ? LIMIT 1"


def _take(db: sqlite3.Connection, seq: int) -> str | None:
    """Mark an entry as taken; its run, or None if it does not wait any more."""
    row = db.execute("SELECT run FROM queue WHERE seq = ? AND taken = 0", (seq,)).fetchone()
    if row is None:
        return None
    db.execute("UPDATE queue SET taken = 1 WHERE seq = ?", (seq,))
    return str(row[0])


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
