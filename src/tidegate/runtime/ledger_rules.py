"""The decisions that every ledger makes in the same way; pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tidegate.runtime.protocols import Claim
from tidegate.runtime.runs import SETTLED, Product, Run, RunRecord


def overlaps(product: Product, begin: datetime | None, end: datetime | None) -> bool:
    """Whether a product's times, both inclusive, touch [begin, end); without times, never."""
    if product.begin is None or product.end is None:
        return begin is None and end is None
    return (end is None or product.begin < end) and (begin is None or product.end >= begin)


def decide_claim(
    run: Run,
    before: RunRecord | None,
    lease_until: datetime | None,
    *,
    owner: str,
    now: datetime,
    release: str,
) -> Claim:
    """The rule of ``Ledger.claim``, given what is on record: the same for every ledger."""
    if before is not None and not run.again:
        if before.state in SETTLED:
            return Claim(False, "done", before)
        if before.state == "failed":
            return Claim(False, "failed", before)
    held = before is not None and before.state == "running" and lease_until and lease_until > now
    if held and before is not None and before.owner != owner:
        return Claim(False, "busy", before)
    tries = 1
    if (
        before is not None
        and before.state in ("running", "retrying")
        and not is_new_request(run, before)
    ):
        tries = before.tries + (before.state == "retrying")
    record = RunRecord(
        run=run,
        state="running",
        attempt=before.attempt + 1 if before else 1,
        tries=tries,
        started=now,
        owner=owner,
        release=release,
    )
    left = before.publishing if before is not None else ()
    return Claim(True, "new", replace(record, publishing=left), left)


def ended(record: RunRecord, stored: RunRecord) -> RunRecord:
    """The record to keep at ``Ledger.finish``, given what is on record: the same for every ledger.

    An attempt that did not get to the end may have published some of what it set out to: those
    keys stay on record, for the next claim to tell as ``left``.
    """
    if record.state in SETTLED:
        return record
    both = tuple(dict.fromkeys((*record.publishing, *stored.publishing)))
    return replace(record, publishing=both)


def is_new_request(run: Run, before: RunRecord) -> bool:
    """Whether someone asked for this run once more, after the request that ``before`` is about."""
    return run.again and run.arrived != before.run.arrived
