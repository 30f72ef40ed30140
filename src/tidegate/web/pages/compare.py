"""Two products side by side: what differs, and a picture of both and of the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from tidegate.quality.datasets import is_dataset
from tidegate.quality.product_changes import Changes
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Product
from tidegate.web.endpoints import Endpoint, NotFound, Page, Parameter, Parameters, midnight
from tidegate.web.pages.products import (
    find_product,
    first_variable,
    require_datastream,
    streams,
)
from tidegate.web.reader import Version
from tidegate.web.site import Site

_MOST = 500
"""Products of one datastream on one day."""


@dataclass(frozen=True)
class Side:
    """One of the two products that are compared, and those that could be chosen instead."""

    datastream: str
    """The datastream."""
    day: date
    """The day on which the product begins."""
    products: tuple[Product, ...]
    """The products that begin on that day."""
    chosen: Product | None
    """The product; None if there is none on that day."""


def compare(site: Site, parameters: Parameters) -> Page:
    """The form to choose two products, and what differs between them."""
    known = streams(site)
    first = _side(site, parameters, ("first", "datastream", "day"), None)
    second = _side(site, parameters, ("second", "other", "other_day"), first)
    require_datastream(site, first.datastream, known)
    require_datastream(site, second.datastream, known)
    earlier = first.chosen is not None and _wants_earlier(site, parameters)
    pair = _versions(site, first, second, earlier=earlier)
    changes = site.reader.changes(*pair) if pair else None
    names = _drawable(changes) if changes else []
    asked = parameters.text("variable")
    chosen = asked if asked in names else _first_changed(changes, pair[0].product) if pair else ""
    listed = {stream.name for stream in known} | {first.datastream, second.datastream}
    return Page(
        "compare.html",
        "Compare products",
        {
            "names": sorted(listed - {""}),
            "first": first,
            "second": second,
            "pair": pair,
            "earlier": earlier,
            "changes": changes,
            "variables": names,
            "chosen": chosen,
        },
        {
            "first": pair[0].product.key if pair else None,
            "second": pair[1].product.key if pair else None,
            "earlier": earlier,
            "equal": changes.equal if changes else None,
            "changes": to_json(changes),
        },
    )


def chosen_versions(site: Site, parameters: Parameters) -> tuple[Version, Version]:
    """The two products that a request names by ``first`` and ``second``, or by ``earlier``.

    Raises:
        NotFound: one of them is not on record, or cannot be compared.
    """
    first = find_product(site, parameters.text("first"))
    if _wants_earlier(site, parameters):
        return Version(first, site.earlier), Version(first)
    return Version(first), Version(find_product(site, parameters.text("second")))


def _wants_earlier(site: Site, parameters: Parameters) -> bool:
    if not parameters.one_of("earlier", ("yes",)):
        return False
    if site.earlier is None:
        raise NotFound(
            "earlier versions are not known to this dashboard",
            why="Tidegate keeps no products that were replaced",
            next="make a copy of output/ before you reprocess, then `tidegate web --earlier COPY`",
        )
    return True


def _side(
    site: Site, parameters: Parameters, names: tuple[str, str, str], beside: Side | None
) -> Side:
    """What a request says about one side; without anything, the newest day or the day before."""
    key, stream, day = names
    given = parameters.text(key)
    product = find_product(site, given) if given else None
    name, when = parameters.text(stream), parameters.day(day)
    if product is not None and not is_dataset(product.key):
        raise NotFound(
            f"{given[-200:]} is not netCDF or zarr", next="choose a data product to compare"
        )
    if product is not None and not name:
        name = product.datastream
    if product is not None and when is None and product.begin is not None:
        when = product.begin.date()
    if not name:
        name = beside.datastream if beside else next((s.name for s in streams(site)), "")
    if when is None:
        when = beside.day - timedelta(days=1) if beside else _newest_day(site, name)
    found = _products_of(site, name, when)
    chosen = next((p for p in found if given and p.key == given), None)
    if chosen is None and product is not None and not (parameters.text(stream) or found):
        chosen = product  # it has no times
    return Side(name, when, tuple(found), chosen or next(iter(found), None))


def _newest_day(site: Site, name: str) -> date:
    known = (stream.day for stream in streams(site) if stream.name == name and stream.day)
    return next(known, site.now().date())


def _products_of(site: Site, name: str, day: date) -> list[Product]:
    """The datasets of a datastream that begin on a day."""
    if not name:
        return []
    begin = midnight(day)
    end = begin + timedelta(days=1)
    found = site.ledger.overlapping(name, begin, end)
    begun = (p for p in found if p.begin is not None and begin <= p.begin < end)
    return [product for product in begun if is_dataset(product.key)][:_MOST]


def _versions(
    site: Site, first: Side, second: Side, *, earlier: bool
) -> tuple[Version, Version] | None:
    if first.chosen is None:
        return None
    if earlier:
        return Version(first.chosen, site.earlier), Version(first.chosen)
    return None if second.chosen is None else (Version(first.chosen), Version(second.chosen))


def _drawable(changes: Changes) -> list[str]:
    """The variables of both products, those that differ first."""
    changed = [one.name for one in changes.variables if not one.only_in]
    return [*changed, *changes.unchanged]


def _first_changed(changes: Changes | None, product: Product) -> str:
    """The variable to show first: one with other numbers, or else the main one of the product."""
    if changes is None:
        return ""
    numbers: Iterator[str] = (
        one.name
        for one in changes.variables
        if one.values is not None and one.values.mean is not None and one.name != "time"
    )
    names = _drawable(changes)
    main = first_variable(product)
    return next(numbers, main if main in names else next(iter(names), ""))


ENDPOINTS = (
    Endpoint(
        "compare",
        "/compare",
        "What differs between two products, or between a product and its earlier version.",
        compare,
        (
            Parameter("first", "The key of the first product."),
            Parameter("second", "The key of the second product."),
            Parameter("datastream", "The datastream of the first product, instead of its key."),
            Parameter("day", "The day on which the first product begins."),
            Parameter("other", "The datastream of the second product, instead of its key."),
            Parameter("other_day", "The day on which the second product begins."),
            Parameter("earlier", "yes: compare the first product with its earlier version."),
            Parameter("variable", "The variable of the picture."),
        ),
    ),
)
