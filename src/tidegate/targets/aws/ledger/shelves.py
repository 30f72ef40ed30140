"""Which shelves exist, and which kinds and scales of products each datastream has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from tidegate.runtime.ledger_rules import to_micros
from tidegate.runtime.runs import Product
from tidegate.targets.aws.ledger import times
from tidegate.targets.aws.ledger.keys import (
    changes_name,
    plain,
    scale_of,
    shelf_at,
    shelf_length,
    shelf_name,
    shelf_number,
    to_key,
)
from tidegate.targets.aws.ledger.table import WRITTEN_AT_ONCE, Table
from tidegate.targets.aws.ledger.times import DAY, LATEST, ZERO
from tidegate.targets.aws.ledger.values import pack, unpack

FEW = 4
"""So many shelves are queried without asking first which of them exist."""
_WITHOUT_TIMES = "#"


class Shelves:
    """The shelves for products and for changes.

    A shelf is noted before anything is put on it. So a reader may query an empty shelf, but never
    misses a product. Each process notes a shelf once.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._noted: set[tuple[str, int]] = set()
        self._noted_kinds: set[tuple[str, str]] = set()

    def add_products(self, products: Iterable[Product]) -> None:
        """Note the shelves, datastreams, kinds and scales of products that will be written."""
        kinds, shelves = set(), set()
        today = shelf_at(times.now_micros(), DAY)
        for product in products:
            scale = scale_of(product)
            if scale is None or product.begin is None:
                kinds.add((product.datastream, _WITHOUT_TIMES))
                continue
            kinds.add((product.datastream, f"{product.kind}#{scale}"))
            name = shelf_name(product.kind, scale, product.datastream)
            shelves.add((name, shelf_at(to_micros(product.begin), shelf_length(scale))))
            if product.kind == "data":
                shelves.add((changes_name(product.datastream), today))
        self.add(shelves, kinds)

    def add(
        self, shelves: Iterable[tuple[str, int]], kinds: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Note shelves by name and number, and kinds with scales by datastream."""
        new = sorted(set(shelves) - self._noted)
        new_kinds = sorted(set(kinds) - self._noted_kinds)
        writes = [self._table.put(to_key(f"D#{name}", shelf_number(shelf))) for name, shelf in new]
        writes += [
            self._table.update(
                to_key("NAMES", f"D#{plain(stream)}"),
                "ADD filed :filed SET #name = if_not_exists(#name, :name)",
                {
                    ":filed": {"SS": [kind for _, kind in found]},
                    ":name": {"B": pack(json.dumps(stream))},
                },
                {"#name": "name"},
            )
            for stream, found in groupby(new_kinds, key=itemgetter(0))
        ]
        for n in range(0, len(writes), WRITTEN_AT_ONCE):
            self._table.write_surely(writes[n : n + WRITTEN_AT_ONCE])
        with self._lock:
            self._noted.update(new)
            self._noted_kinds.update(new_kinds)

    def between(self, name: str, length: int, low: int, high: int) -> Iterable[int]:
        """The numbers of the shelves from time ``low`` to ``high``, µs.

        Where these are many, only those that exist.
        """
        first, last = shelf_at(max(low, -ZERO), length), shelf_at(min(high, LATEST), length)
        if last - first < FEW:
            return range(first, last + 1)
        numbers = (shelf_number(first), shelf_number(last))
        return [int(item["sk"]["S"]) for item in self._table.query(f"D#{name}", between=numbers)]

    def scales(self, stream: str, kinds: Iterable[str]) -> list[tuple[str, int]]:
        """The kinds and scales of a datastream's products with times."""
        item = self._table.item("NAMES", f"D#{plain(stream)}")
        filed = sorted(text.split("#") for text in item["filed"]["SS"]) if item else []
        return [(kind, int(scale)) for kind, scale in filed if kind in kinds]

    def streams(self) -> Iterator[str]:
        """All datastreams."""
        for item in self._table.query("NAMES"):
            yield json.loads(unpack(item["name"]["B"]))
