"""What is wrong with a product although its run did not fail: empty variables, less data; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Failure, Product, RunRecord

_MUCH = 0.5
"""A variable is clearly poorer when its valid share has fallen by more than this."""
_NAMED = 5


def with_empty(product: Product, retrieved: Collection[str]) -> Product:
    """The product with the names of its retrieved variables that have no valid value.

    Without ``retrieved`` names, all its variables count as retrieved.
    """
    names = [
        name
        for name, share in product.valid.items()
        if share == 0 and (not retrieved or name in retrieved)
    ]
    return replace(product, empty=tuple(names))


def empty_warnings(products: Sequence[Product]) -> tuple[str, ...]:
    """A sentence for each product with variables that are entirely empty."""
    return tuple(
        f"{product.key}: no valid value in {_listed(product.empty)}"
        for product in products
        if product.empty
    )


def poorer(before: Product, after: Product) -> str:
    """In what way a product is clearly poorer than the one that it replaces; "" if it is not.

    It has lost a variable, half of a variable's valid share, or more than half of its times.
    """
    lost = [name for name in before.valid if after.valid and name not in after.valid]
    if lost:
        return f"it has no {_listed(lost)}"
    fallen = [
        f"{name} {100 * share:.0f} % → {100 * after.valid[name]:.0f} %"
        for name, share in before.valid.items()
        if name in after.valid and share - after.valid[name] > _MUCH
    ]
    if fallen:
        return f"fewer valid values: {_listed(fallen)}"
    times = before.dimensions.get("time", 0), after.dimensions.get("time", 0)
    if times[1] < times[0] * (1 - _MUCH):
        return f"{times[1]} times instead of {times[0]}"
    return ""


def poorer_products(made: Sequence[Product], present: Mapping[str, Product]) -> dict[str, str]:
    """By key, in what way data products are clearly poorer than the present ones."""
    found = {
        product.key: poorer(present[product.key], product)
        for product in made
        if product.kind == "data" and product.key in present
    }
    return {key: how for key, how in found.items() if how}


def empty_failure(record: RunRecord, config: Config, products: Sequence[Product]) -> Failure | None:
    """The failure of a run with empty variables, where the config has ``on_empty: fail``."""
    warnings = empty_warnings(products)
    if config.on_empty != "fail" or not warnings:
        return None
    return Failure(
        "bad-input",
        warnings[0] + (f"; and {len(warnings) - 1} more products" if warnings[1:] else ""),
        next=f"see the log (`tidegate show {record.key[:10]}`): was a column renamed, or is a"
        " package missing? `on_empty: warn` publishes such products",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
