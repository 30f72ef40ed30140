"""Claim runs, and end them: each function is one step of the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from tidegate.runtime.ledger_rules import (
    changed_spans,
    decide_claim,
    finish_changes,
    is_claimed_by,
    superseded,
)
from tidegate.runtime.protocols import Claim, ClaimLost
from tidegate.runtime.runs import FINISHED, SETTLED, Run, RunRecord
from tidegate.targets.local.ledger.changes import write_changes
from tidegate.targets.local.ledger.products import delete_product, read_product, write_product
from tidegate.targets.local.ledger.runs import (
    StoredRun,
    find_claimed_run,
    insert_run,
    read_run,
    update_run,
    write_publishing,
)
from tidegate.targets.local.ledger.values import to_sql


def claim_run(
    db: sqlite3.Connection, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
) -> Claim:
    """See ``Ledger.claim``."""
    stored = read_run(db, run.key)
    claim = decide_claim(
        run,
        stored.record if stored else None,
        stored.lease if stored else None,
        owner=owner,
        now=now,
        release=release,
    )
    if claim.granted and claim.record is not None:
        if stored is None:
            insert_run(db, claim.record, now + lease)
        else:
            update_run(db, StoredRun(stored.id, claim.record, now + lease))
    return claim


def note_publishing(
    db: sqlite3.Connection, key: str, *, owner: str, attempt: int, products: Sequence[str]
) -> None:
    """See ``Ledger.intend``."""
    id = _find_claimed(db, key, owner, attempt)
    write_publishing(db, id, products)


def finish_run(db: sqlite3.Connection, record: RunRecord) -> None:
    """See ``Ledger.finish``; the run also leaves the queue."""
    if record.state in SETTLED:  # then nothing of the stored record is needed
        id, stored = _find_claimed(db, record.key, record.owner, record.attempt), record
    else:
        id, stored, _ = _read_claimed(db, record.key, record.owner, record.attempt)
    changes = finish_changes(record, stored)
    update_run(db, StoredRun(id, changes.record, None))
    for key in changes.replaced:
        _supersede(db, key)
    for key, product in changes.products.items():
        write_changes(db, changed_spans(read_product(db, key), product))
        if product is None:
            delete_product(db, key)
        else:
            write_product(db, product)
    if record.state in FINISHED:
        # A waiting request to run it again stays; a waiting first request is answered.
        db.execute("DELETE FROM queue WHERE key = ? AND (taken = 1 OR again = 0)", (record.key,))


def _read_claimed(db: sqlite3.Connection, key: str, owner: str, attempt: int) -> StoredRun:
    stored = read_run(db, key)
    if stored is None or not is_claimed_by(stored.record, owner, attempt):
        raise ClaimLost(key)
    return stored


def _find_claimed(db: sqlite3.Connection, key: str, owner: str, attempt: int) -> int:
    """The number of the run's row; as ``_read_claimed``, without reading the record."""
    id = find_claimed_run(db, key, owner, attempt)
    if id is None:
        raise ClaimLost(key)
    return id


def _supersede(db: sqlite3.Connection, key: str) -> None:
    stored = read_run(db, key)
    record = superseded(stored.record) if stored else None
    if stored is not None and record is not None:
        update_run(db, StoredRun(stored.id, record, None))


def end_leases(db: sqlite3.Connection, owner_prefix: str) -> int:
    """End the leases of all owners with that prefix; returns how many runs there were."""
    return db.execute(
        """
        UPDATE runs SET lease = NULL
        WHERE state = 'running' AND lease IS NOT NULL AND substr(owner, 1, ?) = ?
        """,
        (len(owner_prefix), to_sql(owner_prefix)),
    ).rowcount
