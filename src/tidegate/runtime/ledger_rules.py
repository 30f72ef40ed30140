"""The decisions that every ledger makes in the same way, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import overload

from tidegate.runtime.protocols import Claim, Span
from tidegate.runtime.runs import SETTLED, Product, Run, RunRecord, State

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


# Claims.


def decide_claim(
    run: Run,
    before: RunRecord | None,
    lease_until: datetime | None,
    *,
    owner: str,
    now: datetime,
    release: str,
) -> Claim:
    """The answer to ``Ledger.claim``, given the present record and its lease."""
    if before is not None and not run.again:
        if before.state in SETTLED:
            return Claim(False, "done", before)
        if before.state == "failed":
            return Claim(False, "failed", before)
    held = before is not None and before.state == "running" and lease_until and lease_until > now
    if held and before is not None and before.owner != owner:
        return Claim(False, "busy", before, busy_until=lease_until)
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
    died = before is not None and before.state == "running"
    return Claim(True, "new", replace(record, publishing=left), left, owner_died=died)


def is_new_request(run: Run, before: RunRecord) -> bool:
    """Whether this is a request after the one that ``before`` is about."""
    return run.again and run.arrived != before.run.arrived


def is_claimed_by(record: RunRecord, owner: str, attempt: int) -> bool:
    """Whether the run is running, and this attempt of that owner is the one that runs it."""
    return (record.state, record.owner, record.attempt) == ("running", owner, attempt)


def add_publishing(record: RunRecord, products: Sequence[str]) -> RunRecord:
    """The record after ``Ledger.intend``: it names the products that are about to be published."""
    return replace(record, publishing=tuple(dict.fromkeys((*record.publishing, *products))))


# The end of a run.


@dataclass(frozen=True)
class FinishChanges:
    """What ``Ledger.finish`` changes."""

    record: RunRecord
    """The run's record from now on."""
    replaced: tuple[str, ...]
    """Keys of earlier runs; those that are settled become superseded."""
    products: Mapping[str, Product | None]
    """By product key: the new product, or None where it is retired."""


def finish_changes(record: RunRecord, stored: RunRecord) -> FinishChanges:
    """What changes when a run ends with ``record``, given the record stored at its claim.

    An attempt that failed may have published some of its products. Their keys stay on record, and
    the next claim reports them as ``left``.
    """
    products: dict[str, Product | None] = {product.key: product for product in record.products}
    for key in record.retired:
        products.setdefault(key, None)
    replaced = tuple(key for key in dict.fromkeys(record.replaces) if key != record.key)
    if record.state not in SETTLED:
        record = add_publishing(record, stored.publishing)
    return FinishChanges(record, replaced, products)


def superseded(record: RunRecord) -> RunRecord | None:
    """The record of a run that a later one has replaced; None where it was not settled."""
    return replace(record, state="superseded") if record.state in SETTLED else None


# Runs and products.


def matches(record: RunRecord, *, config: str | None, states: Sequence[State], prefix: str) -> bool:
    """Whether ``Ledger.records`` with these arguments lists that record."""
    return (
        (config is None or record.run.config == config)
        and (not states or record.state in states)
        and record.key.startswith(prefix)
    )


def start_and_key(record: RunRecord) -> tuple[datetime, str]:
    """The sort key of records; ``Ledger.records`` lists them in reverse."""
    return record.started, record.key


def overlaps(product: Product, begin: datetime | None, end: datetime | None) -> bool:
    """Whether a product's times, both inclusive, touch [begin, end); without times, never."""
    if product.begin is None or product.end is None:
        return begin is None and end is None
    return (end is None or product.begin < end) and (begin is None or product.end >= begin)


def changed_spans(before: Product | None, after: Product | None) -> list[tuple[str, Span]]:
    """The times that replacing a product touches, by datastream: of both versions.

    Plots and products without times touch none.
    """
    spans = (
        (product.datastream, Span(product.begin, product.end))
        for product in (before, after)
        if product and product.kind == "data" and product.begin and product.end
    )
    return list(dict.fromkeys(spans))


# Times: ledgers store them as microseconds since 1970, UTC. Those are exact; a float is not.


@overload
def to_micros(moment: datetime) -> int: ...


@overload
def to_micros(moment: datetime | None) -> int | None: ...


def to_micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970; None for None."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return _EPOCH + micros * _MICROSECOND
