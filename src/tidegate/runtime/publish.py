"""Publishes a run's products from its work folder, and removes products that they replace.

Where two inputs give products of the same name, the input that arrived later wins, whatever ran
last: the caller holds the keys of ``keys_to_change`` from before ``publish`` until after
``Ledger.finish``, and ``publish`` leaves out what a later input has made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tidegate.runtime.manifest import OnEmpty
from tidegate.runtime.product_checks import empty_warnings, poorer_products
from tidegate.runtime.protocols import Ledger, Target
from tidegate.runtime.runs import Compared, Product, Run, RunRecord

STORE = "store"
"""The folder inside a work folder below which products lie under their keys."""


def keys_to_change(ledger: Ledger, record: RunRecord, products: Sequence[Product]) -> set[str]:
    """The keys of all products that ``publish`` may write or remove."""
    earlier = (record.key, *replaced_runs(ledger, record))
    old = {product.key for key in earlier for product in ledger.made_by(key)}
    return {product.key for product in products} | old | set(record.publishing)


def publish(
    target: Target,
    record: RunRecord,
    products: Sequence[Product],
    work: Path,
    now: datetime,
    on_empty: OnEmpty = "warn",
) -> RunRecord:
    """Publish a run's products; returns the record with them, ready for ``Ledger.finish``.

    The keys are noted in the ledger first: after a crash, the next attempt knows which keys may
    have been published. Products that a later input has made are left as they are, with a warning.
    With ``on_empty="keep"``, a run that made an empty or a clearly poorer product replaces no
    present product.

    Raises:
        StorageError: the outputs cannot be written.
        ClaimLost: another owner has taken over the run.
    """
    made = tuple(
        replace(product, run=record.key, config=record.run.config, made=now) for product in products
    )
    later = _made_by_later(target.ledger, record, made)
    made = tuple(product for product in made if product.key not in later)
    present = target.ledger.products_at(product.key for product in made)
    worse = poorer_products(made, present)
    warnings = record.warnings + _in_one_line(tuple(later.values()))
    warnings += _in_one_line(empty_warnings(made))
    kept: frozenset[str] = frozenset()
    if on_empty == "keep" and (worse or any(p.empty for p in made if p.key in present)):
        kept = frozenset(present)
        made = tuple(product for product in made if product.key not in kept)
    new = "is kept, since the new one is" if kept else "is replaced by one that is"
    warnings += _in_one_line(
        tuple(f"{key} {new} clearly poorer: {why}" for key, why in worse.items())
    )
    if kept and not worse:
        warnings += ("the older product is kept (`on_empty: keep`)",)
    target.ledger.intend(
        record.key, owner=record.owner, attempt=record.attempt, products=[p.key for p in made]
    )
    warnings += _in_one_line(_taken_over(target.ledger, record, made, present))
    target.outputs.publish([(product, work / STORE / product.key) for product in made])
    replaces = replaced_runs(target.ledger, record)
    retired = retired_keys(target.ledger, record, replaces, {p.key for p in made} | kept)
    target.outputs.remove(retired)
    return replace(
        record,
        products=made,
        replaces=replaces,
        retired=retired,
        compared="changed" if retired else compare(made, present),
        warnings=warnings,
        publishing=(),
    )


def compare(made: Sequence[Product], present: Mapping[str, Product]) -> Compared:
    """How the data products that were made differ from those ``present``: the worst case."""
    found: set[Compared] = set()
    for product in made:
        if product.kind == "data":
            before = present.get(product.key)
            if before is None:
                found.add("new")
            elif not before.content or not product.content:
                found.add("unknown")
            else:
                found.add("equal" if before.content == product.content else "changed")
    order: tuple[Compared, ...] = ("changed", "unknown", "new", "equal")
    return next((kind for kind in order if kind in found), "")


def replaced_runs(ledger: Ledger, record: RunRecord) -> tuple[str, ...]:
    """The keys of other runs about the same subjects, or about some of them.

    A run of several files is only replaced by a run of all of them.
    """
    subjects = set(record.run.subjects)
    keys = {
        before.key
        for subject in record.run.subjects
        for before in ledger.about(record.run.config, subject, but=record.key)
        if set(before.run.subjects) <= subjects
    }
    return tuple(sorted(keys))


def retired_keys(
    ledger: Ledger, record: RunRecord, replaces: Sequence[str], current: Collection[str]
) -> tuple[str, ...]:
    """Keys that the replaced runs published, and that are not ``current`` any more.

    A key that another run has published since then belongs to that run.
    """
    earlier = {record.key, *replaces}
    old = {product.key for key in sorted(earlier) for product in ledger.made_by(key)}
    present = ledger.products_at(record.publishing)
    for key in record.publishing:
        if key not in present or present[key].run in earlier:
            old.add(key)
    return tuple(sorted(old - set(current)))


def _made_by_later(ledger: Ledger, record: RunRecord, made: Sequence[Product]) -> dict[str, str]:
    """By key, the products that an input has made which arrived later; and a warning for each.

    Versions of one file follow each other in the order in which they were queued, not by time.
    """
    mine, later = record.run.arrival, {}
    if mine is None:
        return {}
    present = ledger.products_at(product.key for product in made)
    makers = {key: ledger.record(key) for key in {p.run for p in present.values()} - {record.key}}
    for key, product in present.items():
        maker = makers.get(product.run)
        if maker is None or set(maker.run.subjects) & set(record.run.subjects):
            continue
        other = maker.run.arrival
        if other is not None and other > mine:
            later[key] = (
                f"{key} was not replaced: {other[1]}, from which {maker.run.config} made it, "
                f"arrived later than {mine[1]}"
            )
    return later


def _taken_over(
    ledger: Ledger, record: RunRecord, made: Sequence[Product], there: Mapping[str, Product]
) -> tuple[str, ...]:
    """A warning for each product that replaces one made from other inputs."""
    warnings = []
    makers = {key: ledger.record(key) for key in {p.run for p in there.values()} - {record.key}}
    for product in made:
        present = there.get(product.key)
        if present is None or present.run == record.key or product.kind != "data":
            continue
        maker = makers[present.run]
        if maker and not maker.run.adopted and not _same_series(maker.run, record.run):
            warnings.append(
                f"{product.key} replaces the product that {maker.run.config} made from "
                f"{maker.run.title}: both have the same name (if one run must see both files, "
                "see `group_by`)"
            )
    return tuple(warnings)


def _in_one_line(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """The first of several warnings of one sort, and how many more there are."""
    if len(warnings) <= 1:
        return warnings
    return (f"{warnings[0]}; and {len(warnings) - 1} more products",)


def _same_series(one: Run, other: Run) -> bool:
    """Whether ``other`` is meant to replace the products of ``one``.

    Such as a repeated scheduled run, or a run of the same files and more.
    """
    if one.config != other.config:
        return False
    return set(one.subjects) <= set(other.subjects) or (
        one.due is not None and other.due is not None
    )


def content_hash(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file, or of a folder such as a zarr archive.

    A folder's hash is that of the lines ``relative path NUL sha256`` of its files, in order.
    """
    if not path.is_dir():
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
        return size, digest.hexdigest()
    total, lines = 0, hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        size, sha256 = content_hash(file_path)
        total += size
        name = file_path.relative_to(path).as_posix()
        lines.update(f"{name}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    return total, lines.hexdigest()
