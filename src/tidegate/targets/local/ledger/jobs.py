"""Jobs, and those of their runs that were chosen and have not ended.

Each step of a job is one transaction: choosing runs moves its cursor, queueing them marks them, and
counting an end forgets them. So a crash at any moment loses nothing, and counts nothing twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from tidegate.runtime.jobs import OPEN, Job, JobState
from tidegate.runtime.ledger_rules import to_micros
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Run
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.values import load


class Jobs:
    """The jobs in the ledger's file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job) -> None:
        """Put a new job on record."""
        with self._database.writing() as db:
            db.execute(
                "INSERT INTO jobs (id, open, asked, job) VALUES (?, 1, ?, ?)",
                (job.id, to_micros(job.asked), dumps(job)),
            )

    def get(self, id: str) -> Job | None:
        """The job with that id."""
        with self._database.reading() as db:
            return read_job(db, id)

    def beginning_with(self, prefix: str) -> list[Job]:
        """The jobs with ids that begin so."""
        rows = self._database.rows(
            "SELECT job FROM jobs WHERE id >= ? AND id < ? ORDER BY id", (prefix, prefix + "~")
        )
        return [load(Job, text) for (text,) in rows]

    def open(self) -> list[Job]:
        """The jobs that are running or paused, the oldest first."""
        rows = self._database.rows("SELECT job FROM jobs WHERE open = 1 ORDER BY asked, id")
        return [load(Job, text) for (text,) in rows]

    def latest(self, limit: int) -> list[Job]:
        """The jobs that were asked for last, the latest first."""
        rows = self._database.rows("SELECT job FROM jobs ORDER BY asked DESC, id LIMIT ?", (limit,))
        return [load(Job, text) for (text,) in rows]

    def update(self, id: str, change: Callable[[Job], Job]) -> Job | None:
        """Change a job, as it is on record now, in one transaction; None if there is none."""
        with self._database.writing() as db:
            return change_job(db, id, change)

    def choose(self, job: Job, then: Job, runs: Sequence[Run]) -> bool:
        """Note chosen runs, and move the cursor from that of ``job`` to that of ``then``.

        False, and nothing is noted, if the job was changed meanwhile by someone else.
        """
        with self._database.writing() as db:
            now = read_job(db, job.id)
            if now is None or now.state != "running" or _place(now) != _place(job):
                return False
            added = db.executemany(
                "INSERT OR IGNORE INTO job_runs (job, key, queued, run) VALUES (?, ?, 0, ?)",
                [(job.id, run.key, dumps(run)) for run in runs],
            ).rowcount
            counts = replace(now.counts, planned=now.counts.planned + max(added, 0))
            write_job(
                db,
                replace(
                    now, stage=then.stage, position=then.position, cursor=then.cursor, counts=counts
                ),
            )
        return True

    def left(self, id: str) -> tuple[int, int]:
        """How many chosen runs of a job are not queued yet, and how many are queued."""
        rows = dict(
            self._database.rows(
                "SELECT queued, count(*) FROM job_runs WHERE job = ? GROUP BY queued", (id,)
            )
        )
        return rows.get(0, 0), rows.get(1, 0)

    def queued_keys(self, id: str) -> list[str]:
        """The keys of the runs of a job that are queued."""
        rows = self._database.rows("SELECT key FROM job_runs WHERE job = ? AND queued = 1", (id,))
        return [key for (key,) in rows]


def _place(job: Job) -> tuple[int, int, str]:
    return job.stage, job.position, job.cursor


# Within the caller's transaction.


def read_job(db: sqlite3.Connection, id: str) -> Job | None:
    """The job with that id."""
    row = db.execute("SELECT job FROM jobs WHERE id = ?", (id,)).fetchone()
    return None if row is None else load(Job, row[0])


def write_job(db: sqlite3.Connection, job: Job) -> None:
    """Replace what is on record of a job."""
    db.execute(
        "UPDATE jobs SET open = ?, job = ? WHERE id = ?", (job.state in OPEN, dumps(job), job.id)
    )


def change_job(db: sqlite3.Connection, id: str, change: Callable[[Job], Job]) -> Job | None:
    """Change a job as it is on record now; None if there is none."""
    before = read_job(db, id)
    if before is None:
        return None
    after = change(before)
    if after != before:
        write_job(db, after)
    return after


def with_state(job: Job, state: JobState, now: datetime, message: str = "") -> Job:
    """The job in another state; one that has ended stays as it is."""
    if job.state not in OPEN:
        return job
    finished = None if state in OPEN else now
    return replace(job, state=state, finished=finished, message=message)
