"""The runs of jobs, on their way through the queue; each step is one transaction.

Chosen runs wait with their job, and few of them are in the queue at a time: so a job can be paused,
and runs that nobody waits for stand in nobody's way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tidegate.runtime.jobs import Job, JobCounts, with_end
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import FINISHED, Run
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.ledger.jobs import change_job, with_state
from tidegate.targets.local.ledger.runs import read_run
from tidegate.targets.local.queue import put_entry

JOB = -2
"""The queue priority of a job's runs: after new arrivals, and after files that wait from before."""


class JobQueue:
    """Puts the runs of jobs into the queue, takes them out again, and counts their ends."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    def feed(self, id: str, count: int, now: datetime) -> int:
        """Queue up to so many chosen runs of a job that is running; returns how many."""
        with self._ledger.database.writing() as db:
            # Read here, and not before: a job that was paused meanwhile must not be fed.
            job = change_job(db, id, lambda job: job)
            if job is None or job.state != "running":
                return 0
            rows = db.execute(WAITING, (id, count)).fetchall()
            for rowid, text in rows:
                run = replace(loads(Run, text), again=True, arrived=now)
                text = dumps(run)
                put_entry(db, run, run.key, text, now, JOB)
                db.execute("UPDATE job_runs SET queued = 1, run = ? WHERE rowid = ?", (text, rowid))
        return len(rows)

    def collect(self, id: str, seconds: float) -> Job | None:
        """Count the runs of a job that have ended; ``seconds`` is how long it was at work."""
        with self._ledger.database.reading() as db:
            rows = db.execute(LEFT_QUEUE, (id,)).fetchall()
        if not rows and not seconds:
            return self._ledger.jobs.get(id)
        with self._ledger.database.writing() as db:
            gone = [rowid for (rowid,) in rows]

            def count(job: Job) -> Job:
                counts = job.counts
                for rowid in gone:
                    counts = _with_end_of(db, rowid, counts)
                return replace(job, counts=counts, worked=job.worked + seconds)

            return change_job(db, id, count)

    def pause(self, id: str, now: datetime, message: str = "") -> Job | None:
        """Start no more runs of a job; those that wait in the queue leave it."""
        with self._ledger.database.writing() as db:
            job = change_job(
                db, id, _if_running(lambda job: with_state(job, "paused", now, message))
            )
            if job is not None and job.state == "paused":
                _take_back(db, id)
            return job

    def resume(self, id: str, now: datetime) -> Job | None:
        """Go on with a job that was paused."""
        return self._ledger.jobs.update(id, lambda job: with_state(job, "running", now))

    def cancel(self, id: str, now: datetime) -> Job | None:
        """End a job early; runs that are being carried out end, and are counted by nobody."""
        with self._ledger.database.writing() as db:
            job = change_job(db, id, lambda job: with_state(job, "cancelled", now))
            if job is not None and job.state == "cancelled":
                _take_back(db, id)
                db.execute("DELETE FROM job_runs WHERE job = ?", (id,))
            return job


WAITING = "SELECT rowid, run FROM job_runs WHERE job = ? AND queued = 0 ORDER BY rowid LIMIT ?"

LEFT_QUEUE = """
    SELECT rowid FROM job_runs
    WHERE job = ? AND queued = 1 AND NOT EXISTS (SELECT 1 FROM queue WHERE key = job_runs.key)
"""

# These stay: entries that someone else wants too, which have a higher priority, and runs that are
# tried again by themselves.
ENTRIES = """
    SELECT queue.seq, job_runs.rowid
    FROM job_runs
    CROSS JOIN queue ON queue.key = job_runs.key AND queue.taken = 0 AND queue.priority = :priority
    WHERE job_runs.job = :job AND job_runs.queued = 1
        AND NOT EXISTS (
            SELECT 1 FROM job_runs AS other
            WHERE other.key = queue.key AND other.queued = 1 AND other.job <> :job
        )
        AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.key = queue.key AND state = 'retrying')
"""


def _if_running(change: Callable[[Job], Job]) -> Callable[[Job], Job]:
    return lambda job: change(job) if job.state == "running" else job


def _with_end_of(db: sqlite3.Connection, rowid: int, counts: JobCounts) -> JobCounts:
    """The counts with the end of one run, which is forgotten; unchanged if that was done before."""
    row = db.execute("SELECT key, run FROM job_runs WHERE rowid = ?", (rowid,)).fetchone()
    if row is None:
        return counts
    db.execute("DELETE FROM job_runs WHERE rowid = ?", (rowid,))
    stored, asked = read_run(db, row[0]), loads(Run, row[1])
    record = stored.record if stored else None
    # An answer to this request, or to a later one for the same run.
    answered = record.run.arrived if record else None
    if record is None or record.state not in FINISHED:
        return with_end(counts, None)
    if asked.arrived is not None and (answered is None or answered < asked.arrived):
        return with_end(counts, None)
    return with_end(counts, record)


def _take_back(db: sqlite3.Connection, id: str) -> None:
    """Take a job's waiting entries out of the queue; they are chosen runs again."""
    rows = db.execute(ENTRIES, {"job": id, "priority": JOB}).fetchall()
    db.executemany("DELETE FROM queue WHERE seq = ?", [(seq,) for seq, _ in rows])
    db.executemany(
        "UPDATE job_runs SET queued = 0 WHERE rowid = ?", [(rowid,) for _, rowid in rows]
    )
