"""End a run: its record, its products and their changes.

That is one transaction. DynamoDB takes 100 items at once; a run with more products is written in
several, its record last, each on condition that the run still belongs to its owner. After a crash
between two of them, the next attempt writes all of it again, and all that was written is noted as
changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidegate.runtime.ledger_rules import FinishChanges, finish_changes, superseded
from tidegate.runtime.protocols import Overtaken
from tidegate.runtime.runs import Product, RunRecord
from tidegate.targets.aws.clients import ConditionFailed
from tidegate.targets.aws.ledger.changes import Changes
from tidegate.targets.aws.ledger.claims import ROOM_OF_A_RUN, Claims
from tidegate.targets.aws.ledger.keys import run_key
from tidegate.targets.aws.ledger.long_values import LongValues, new_token
from tidegate.targets.aws.ledger.product_items import ProductItems, Unit, group_units
from tidegate.targets.aws.ledger.recent_reads import RecentReads
from tidegate.targets.aws.ledger.run_items import RunItems, StoredRun
from tidegate.targets.aws.ledger.shelves import Shelves
from tidegate.targets.aws.ledger.table import ROUNDS, WRITTEN_AT_ONCE, Table, contended, pause
from tidegate.targets.aws.ledger.values import Item, unpack_product


class Finishing:
    """The ends of runs."""

    def __init__(
        self,
        table: Table,
        values: LongValues,
        runs: RunItems,
        claims: Claims,
        products: ProductItems,
        shelves: Shelves,
        recent: RecentReads,
    ) -> None:
        self._table = table
        self._values = values
        self._runs = runs
        self._claims = claims
        self._products = products
        self._shelves = shelves
        self._changes = Changes(table, shelves)
        self._recent = recent

    def finish(self, record: RunRecord) -> None:
        """See ``Ledger.finish``."""
        self._shelves.add_products(record.products)
        for turn in range(ROUNDS):
            before = self._claims.owned(record.key, record.owner, record.attempt)
            changes = finish_changes(record, before.record)
            made = dict.fromkeys(before.made)
            for key, product in changes.products.items():
                if product is None:
                    made.pop(key, None)
                else:
                    made[key] = None
            after = StoredRun(changes.record, new_token(), None, tuple(made), before.sure)
            present = self._present_products(changes.products)
            if self._write(after, before, changes, present):
                return
            self._check_overtaken(record, present)
            pause(turn)
        raise contended(f"end the run {record.key[:12]}")

    def _check_overtaken(self, record: RunRecord, before: Mapping[str, Item | None]) -> None:
        """Raise Overtaken if another run has written a product since it was read."""
        for key, item in self._products.read_items(list(before)).items():
            old = before[key]
            if item is None or (old is not None and old["revision"] == item["revision"]):
                continue
            if unpack_product(item).run != record.key:
                raise Overtaken(key)

    def _write(
        self,
        after: StoredRun,
        before: StoredRun,
        changes: FinishChanges,
        present: Mapping[str, Item | None],
    ) -> bool:
        """Write the end in as few transactions as possible, the record of the run last."""
        runs = self._runs.read_many([run_key(key) for key in changes.replaced]).values()
        replaced = [(run, record) for run in runs if (record := superseded(run.record))]
        units = [self._superseding_unit(run, record) for run, record in replaced]
        units += self._product_units(changes.products, present)
        groups = list(group_units(units, WRITTEN_AT_ONCE - ROOM_OF_A_RUN)) or [[]]
        for group in groups[:-1]:
            try:
                self._table.transact([self._runs.check(before), *self._writes_of(group)])
            except ConditionFailed:
                self._recent.keep_owned(before.record.key, None)
                return False
        if not self._claims.write(after, before, self._writes_of(groups[-1])):
            return False
        for run, _ in replaced:
            self._values.delete(run.parts)
        return True

    def _superseding_unit(self, run: StoredRun, record: RunRecord) -> Unit:
        after = replace(run, record=record, revision=new_token(), parts=())
        return Unit((self._runs.put(after, run), *self._runs.move_in_lists(after, run)), ())

    def _present_products(self, products: Mapping[str, Product | None]) -> dict[str, Item | None]:
        """The versions that are replaced: as this process read them when it published."""
        kept = self._recent.take_products(list(products))
        # No write is on condition that a retired key is absent, so an absence is read again.
        present = {key: item for key, item in kept.items() if item or products[key] is not None}
        present.update(self._products.read_items([key for key in products if key not in present]))
        return present

    def _product_units(
        self, products: Mapping[str, Product | None], present: Mapping[str, Item | None]
    ) -> list[Unit]:
        """The writes of each product, given the versions that it replaces."""
        return [
            self._products.unit(key, product, present[key])
            for key, product in products.items()
            if product is not None or present[key] is not None
        ]

    def _writes_of(self, units: Iterable[Unit]) -> list[Item]:
        """The writes of a group, with one change for each datastream, noted as of now."""
        units = list(units)
        spans = [span for unit in units for span in unit.spans]
        return [write for unit in units for write in unit.writes] + self._changes.writes_of(spans)
