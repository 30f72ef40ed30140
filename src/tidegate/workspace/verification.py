"""Compare the ledger with the products in storage, and repair what differs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Literal

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product, Run
from tidegate.workspace.product_files import ProductFiles, StoredFile
from tidegate.workspace.rerun import requested

Kind = Literal["missing", "changed", "unknown"]
_ARCHIVE = ".zarr/"
_AT_ONCE = 8
NOT_PRODUCTS = ("tidegate/", "withdrawn/")
"""Prefixes of what Tidegate keeps beside products on AWS: logs, and products without inputs."""


@dataclass(frozen=True)
class Difference:
    """A product of which storage and ledger differ. The names of the fields are JSON keys."""

    key: str
    """The product's key."""
    kind: Kind
    """missing: on record, but not in storage. changed: another content is in storage. unknown: in
    storage, but not on record."""
    config: str = ""
    """The config that made it, if it is on record."""
    run: str = ""
    """The key of the run that made it, if it is on record."""


@dataclass
class Verification:
    """What was compared and found. The names of the fields are JSON keys."""

    place: str
    """The folder or bucket of the products."""
    products: int = 0
    """How many products are on record."""
    differences: list[Difference] = field(default_factory=list)
    """What differs, by key."""

    def of(self, *kinds: Kind) -> list[Difference]:
        """The differences of these kinds."""
        return [difference for difference in self.differences if difference.kind in kinds]


def verify(
    ledger: Ledger,
    store: ProductFiles,
    *,
    quick: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Verification:
    """Compare all products on record with storage; ``quick``: by names and sizes only.

    A service may be at work: what it has changed meanwhile is no difference.

    Raises:
        StorageError: the storage cannot be read.
    """
    files = stored_files(store, "")
    on_record = {product.key: product for product in ledger.products()}
    found = Verification(store.place, len(on_record))

    def compare(product: Product) -> Difference | None:
        kind = _compare(product, files.get(product.key), store, quick)
        advance(1)
        return None if kind is None else _difference(product, kind)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        differences = [d for d in pool.map(compare, on_record.values()) if d is not None]
    differences += [Difference(key, "unknown") for key in files if key not in on_record]
    found.differences = sorted(_confirmed(differences, on_record, ledger), key=lambda d: d.key)
    return found


def _compare(
    product: Product, file: StoredFile | None, store: ProductFiles, quick: bool
) -> Kind | None:
    if file is None:
        return "missing"
    same = file.size == product.size and (quick or store.is_version(file, product))
    return None if same else "changed"


def _difference(product: Product, kind: Kind) -> Difference:
    return Difference(product.key, kind, product.config, product.run)


def _confirmed(
    differences: Iterable[Difference], on_record: dict[str, Product], ledger: Ledger
) -> Iterator[Difference]:
    """Without those that a run has made since the products were read, or is making now."""
    differences = list(differences)
    now = ledger.products_at(difference.key for difference in differences)
    at_work = ledger.records(states=("running", "retrying"))
    publishing = {key for record in at_work for key in record.publishing}
    for difference in differences:
        if difference.key in publishing or now.get(difference.key) != on_record.get(difference.key):
            continue
        yield difference


def stored_files(store: ProductFiles, prefix: str) -> dict[str, StoredFile]:
    """The files in storage by key; a zarr folder counts as one file of the size of all in it."""
    found: dict[str, StoredFile] = {}
    for file in store.list(prefix):
        if file.key.startswith(NOT_PRODUCTS):
            continue
        head, archive, _ = file.key.partition(_ARCHIVE)
        key = head + archive.rstrip("/")
        before = found.get(key)
        size = file.size + (before.size if before and archive else 0)
        found[key] = file._replace(key=key, size=size)
    return found


def lost_runs(products: Iterable[Product], store: ProductFiles) -> frozenset[str]:
    """The keys of the runs that made products which are not in storage any more."""
    products = list(products)
    if not products:
        return frozenset()
    folders = [product.key.rpartition("/")[0].split("/") for product in products]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*folders))
    files = stored_files(store, "/".join(parts[0] for parts in shared))
    return frozenset(product.run for product in products if product.key not in files)


def repairing_runs(
    ledger: Ledger, differences: Iterable[Difference], configs: Collection[str], now: datetime
) -> tuple[list[Run], list[Difference]]:
    """The runs to repeat so that missing and changed products are made again.

    Returns them, and the differences that no run can repair: adopted products, and those of
    configs that are gone.
    """
    runs: dict[str, Run] = {}
    left: list[Difference] = []
    for difference in differences:
        record = ledger.record(difference.run) if difference.run else None
        run = record.run if record else None
        if run is None or run.config not in configs or run.adopted or run.withdrawn:
            left.append(difference)
        else:
            runs[run.key] = requested(run, now)
    return list(runs.values()), left
