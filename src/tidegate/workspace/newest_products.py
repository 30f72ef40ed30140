"""The products with the newest data, without reading all of them where there are many."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product

_STEPS = (1, 10, 100, 1000)
_OLDEST = datetime(1, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ProductFilter:
    """Which products are wanted; None stands for all."""

    datastream: str | None = None
    """Of this datastream."""
    config: str | None = None
    """Made by this config."""
    begin: datetime | None = None
    """With data at or after this time."""
    end: datetime | None = None
    """That begin before this time."""


def newest_products(ledger: Ledger, wanted: ProductFilter, limit: int) -> list[Product]:
    """At most ``limit`` products, by the end of their data, the newest first.

    Products without times come last. The ledger finds products by time, so the last days are
    asked for first, and more of the past only if that does not give enough.
    """
    last = wanted.end or datetime.now(timezone.utc)
    for days in _STEPS:
        begin = last - timedelta(days=days)
        if wanted.begin is not None and begin <= wanted.begin:
            break
        found = _newest(_products(ledger, wanted, begin), limit)
        if len(found) == limit:
            return found
    return _newest(_products(ledger, wanted, wanted.begin), limit)


def _products(ledger: Ledger, wanted: ProductFilter, begin: datetime | None) -> Iterable[Product]:
    return ledger.products(
        datastream=wanted.datastream, config=wanted.config, begin=begin, end=wanted.end
    )


def _newest(products: Iterable[Product], limit: int) -> list[Product]:
    return heapq.nlargest(limit, products, key=_order)


def _order(product: Product) -> tuple[datetime, bool, str]:
    return product.end or _OLDEST, product.kind == "data", product.key
