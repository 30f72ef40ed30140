"""Checks that a ledger describes the outputs that are used: the same id is in both.

It finds other outputs, an empty folder where a disk is not mounted, and a new ledger. Without this
check, work would count as done although its products are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Literal

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product

STATE = "outputs"
"""The name of the ledger's state value with the id."""
_SAMPLE = 20

Judgement = Literal["bound", "new", "other ledger", "emptied", "other outputs"]


def judge(ledger_id: str, outputs_id: str, *, recorded: bool, present: bool) -> Judgement:
    """How a ledger and outputs with these ids ("" for none) belong together.

    ``recorded``: whether products are on record. ``present``: whether any of a sample of them is
    in the outputs.

        bound           they belong together
        new             one of them has no id yet
        other ledger    the outputs have the id of another ledger, and this one is empty
        emptied         they belong together, but the products are gone
        other outputs   the products on record are not in these outputs
    """
    same = bool(ledger_id) and ledger_id == outputs_id
    if recorded and not present:
        return "emptied" if same else "other outputs"
    if same:
        return "bound"
    return "other ledger" if outputs_id and not recorded else "new"


def sample(ledger: Ledger) -> Iterator[Product]:
    """Some products on record: the first, and the latest."""
    return chain(ledger.products(limit=_SAMPLE), latest(ledger))


def latest(ledger: Ledger) -> Iterator[Product]:
    """The products of the latest runs, as they were published."""
    records = ledger.records(states=("succeeded",), limit=_SAMPLE)
    return islice((p for record in records for p in record.products), _SAMPLE)


def explain(judgement: Judgement, place: str) -> str:
    """The problem and what to do about it; "" if there is none."""
    if judgement == "other outputs":
        return f"{place} is not the place that the ledger describes: no product on record is there"
    if judgement == "emptied":
        return (
            f"no product on record is in {place} any more; `tidegate verify --repair` makes them "
            "again"
        )
    if judgement == "other ledger":
        return (
            f"{place} belongs to another ledger, and this one is empty: was the other one deleted? "
            "`tidegate adopt` records the products that are there"
        )
    return ""
