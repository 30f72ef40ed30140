"""The items of products, and the writes that replace them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tidegate.runtime.ledger_rules import changed_spans, to_micros
from tidegate.runtime.protocols import Span
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Product
from tidegate.targets.aws.ledger.keys import plain, product_key, time_key, to_key, unchanged
from tidegate.targets.aws.ledger.long_values import new_token
from tidegate.targets.aws.ledger.table import Table
from tidegate.targets.aws.ledger.values import Item, pack, unpack_product


@dataclass(frozen=True)
class Unit:
    """The writes of one product or of one older run; never divided between transactions."""

    writes: tuple[Item, ...]
    """For ``Table.transact``."""
    spans: tuple[tuple[str, Span], ...]
    """The times that they touch, by datastream."""


class ProductItems:
    """Reads items of products, and says how to replace them."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read_items(self, keys: Sequence[str]) -> dict[str, Item | None]:
        """The items of products, None where there is none."""
        found = self._table.items([product_key(key) for key in dict.fromkeys(keys)])
        return {key: found.get(product_key(key)) for key in keys}

    def unit(self, key: str, new: Product | None, old: Item | None) -> Unit:
        """Put, replace or delete one product, on condition that it is unchanged since it was read.

        Its index entries ``one`` and ``two`` are its datastream and its config.
        """
        before = None if old is None else unpack_product(old)
        condition = unchanged(old and old["revision"])
        writes: list[Item] = []
        place_before = time_key(before) if before is not None else None
        place_after = time_key(new) if new is not None else None
        if new is not None:
            packed = {"product": {"B": pack(dumps(new))}}
            item = {
                **to_key(*product_key(key)),
                **packed,
                "revision": {"S": new_token()},
                "one": {"S": f"P#{plain(new.datastream)}"},
                "two": {"S": f"C#{new.config}"},
                "place": {"S": plain(key) or "-"},
            }
            writes.append(self._table.put(item, **condition))
            if place_after is not None:
                end = {"N": str(to_micros(new.end))}
                writes.append(self._table.put({**to_key(*place_after), **packed, "until": end}))
        else:
            writes.append(self._table.delete(to_key(*product_key(key)), **condition))
        if place_before is not None and place_before != place_after:
            writes.append(self._table.delete(to_key(*place_before)))
        return Unit(tuple(writes), tuple(changed_spans(before, new)))


def group_units(units: Iterable[Unit], room: int) -> Iterator[list[Unit]]:
    """Units in groups that fit into ``room`` writes, with one change for each datastream."""
    group: list[Unit] = []
    writes, streams = 0, set[str]()
    for unit in units:
        more = {stream for stream, _ in unit.spans}
        if group and writes + len(unit.writes) + len(streams | more) > room:
            yield group
            group, writes, streams = [], 0, set()
        group.append(unit)
        writes, streams = writes + len(unit.writes), streams | more
    if group:
        yield group
