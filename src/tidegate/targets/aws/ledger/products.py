"""The present products: by key, by run, by datastream or config, and by time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice

from tidegate.runtime.ledger_rules import overlaps, to_micros
from tidegate.runtime.runs import Product
from tidegate.targets.aws.ledger.keys import (
    Key,
    on_shelf,
    plain,
    product_key,
    scale_length,
    shelf_length,
    shelf_name,
)
from tidegate.targets.aws.ledger.product_items import ProductItems
from tidegate.targets.aws.ledger.recent_reads import RecentReads
from tidegate.targets.aws.ledger.run_items import RunItems
from tidegate.targets.aws.ledger.shelves import FEW, Shelves
from tidegate.targets.aws.ledger.table import (
    BY_CONFIG,
    BY_DATASTREAM,
    PAGE,
    QUERIES_AT_ONCE,
    READ_AT_ONCE,
    Table,
)
from tidegate.targets.aws.ledger.times import LATEST, ZERO, sortable
from tidegate.targets.aws.ledger.values import unpack_product

_KINDS = ("data", "ancillary")


class Products:
    """Questions about products."""

    def __init__(
        self,
        table: Table,
        items: ProductItems,
        runs: RunItems,
        shelves: Shelves,
        recent: RecentReads,
    ) -> None:
        self._table = table
        self._items = items
        self._runs = runs
        self._shelves = shelves
        self._recent = recent

    def read(self, key: str) -> Product | None:
        """See ``Ledger.product``."""
        item = self._table.item(*product_key(key))
        return unpack_product(item) if item else None

    def read_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """See ``Ledger.products_at``."""
        items = self._items.read_items(list(dict.fromkeys(keys)))
        self._recent.keep_products(items)
        return {key: unpack_product(item) for key, item in items.items() if item}

    def read_made_by(self, key: str) -> list[Product]:
        """See ``Ledger.made_by``."""
        run = self._recent.owned(key) or self._runs.read(key)
        found = self.read_at(run.made) if run else {}
        return sorted((p for p in found.values() if p.run == key), key=_product_key)

    def read_all(
        self,
        *,
        datastream: str | None,
        config: str | None,
        begin: datetime | None,
        end: datetime | None,
        limit: int | None,
    ) -> Iterator[Product]:
        """See ``Ledger.products``."""
        found: Iterator[Product] | list[Product]
        if begin is not None or end is not None:
            streams = list(self._shelves.streams()) if datastream is None else [datastream]
            found = [
                product
                for stream in streams
                for product in self._within(stream, _KINDS, begin, end)
            ]
            found.sort(key=_product_key)
        elif datastream is None and config is not None:
            found = self._listed(self._table.index(BY_CONFIG, f"C#{config}", limit), limit)
        else:
            streams = list(self._shelves.streams()) if datastream is None else [datastream]
            places = [
                self._table.index(BY_DATASTREAM, f"P#{plain(stream)}", limit) for stream in streams
            ]
            found = self._listed(heapq.merge(*places), limit)
        fitting = (
            product
            for product in found
            if (datastream is None or product.datastream == datastream)
            and (config is None or product.config == config)
        )
        yield from islice(fitting, limit)

    def _listed(self, places: Iterator[tuple[str, Key]], limit: int | None) -> Iterator[Product]:
        while page := list(islice(places, min(limit or PAGE, READ_AT_ONCE))):
            found = self._table.items([key for _, key in page])
            for _, key in page:
                if key in found:
                    yield unpack_product(found[key])

    def read_datastreams(self) -> list[str]:
        """See ``Ledger.datastreams``."""
        return sorted(stream for stream in self._shelves.streams() if stream)

    def read_overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        """See ``Ledger.overlapping``."""
        return sorted(self._within(datastream, ("data",), begin, end), key=_begin_and_key)

    def _within(
        self, stream: str, kinds: Sequence[str], begin: datetime | None, end: datetime | None
    ) -> list[Product]:
        shelves = [
            (kind, scale, shelf)
            for kind, scale in self._shelves.scales(stream, kinds)
            for shelf in self._shelves_of(stream, kind, scale, begin, end)
        ]

        def read(shelf: tuple[str, int, int]) -> list[Product]:
            return list(self._on_shelf(stream, *shelf, begin, end))

        if len(shelves) <= FEW:
            return [product for shelf in shelves for product in read(shelf)]
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as pool:
            return [product for found in pool.map(read, shelves) for product in found]

    def _shelves_of(
        self, stream: str, kind: str, scale: int, begin: datetime | None, end: datetime | None
    ) -> Iterable[int]:
        """The shelves of one scale on which products may be that overlap [begin, end)."""
        low = -ZERO if begin is None else to_micros(begin) - scale_length(scale)
        high = LATEST if end is None else to_micros(end)
        return self._shelves.between(
            shelf_name(kind, scale, stream), shelf_length(scale), low, high
        )

    def _on_shelf(
        self,
        stream: str,
        kind: str,
        scale: int,
        shelf: int,
        begin: datetime | None,
        end: datetime | None,
    ) -> Iterator[Product]:
        """Products on one shelf that overlap [begin, end), with one query."""
        low = -ZERO if begin is None else to_micros(begin) - scale_length(scale)
        high = LATEST if end is None else to_micros(end)
        between = (sortable(max(low, -ZERO)), sortable(max(high, -ZERO)))
        until = None if begin is None else to_micros(begin)
        pk = on_shelf(shelf, shelf_name(kind, scale, stream))
        for item in self._table.query(pk, between=between, until=until):
            product = unpack_product(item)
            if overlaps(product, begin, end):
                yield product


def _product_key(product: Product) -> str:
    return product.key


def _begin_and_key(product: Product) -> tuple[datetime, str]:
    assert product.begin is not None
    return product.begin, product.key
