"""The products of a datastream, and one product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from tidegate.quality.datasets import is_dataset
from tidegate.runtime.records import to_json
from tidegate.runtime.release_notes import packages_of_run
from tidegate.runtime.runs import Product, RunRecord
from tidegate.web.endpoints import Endpoint, NotFound, Page, Parameter, Parameters, midnight
from tidegate.web.reader import Version
from tidegate.web.site import Site
from tidegate.web.texts import file_name

PLOTS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
"""The endings of files that browsers show as pictures."""

_LISTED = 500
_DAYS = 31
_MADE_FROM_IT = 100


@dataclass(frozen=True)
class Stream:
    """A datastream, as the latest run of its config has it."""

    name: str
    """Its name."""
    config: str
    """The config that makes it."""
    newest: datetime | None
    """The last time in its newest product."""
    day: date | None
    """The day on which that product begins."""


def streams(site: Site) -> list[Stream]:
    """The datastreams that the latest runs have made; the cost depends on the configs only."""
    found: dict[str, Stream] = {}
    for state in site.states():
        for end in state.last_products.streams if state.last_products else ():
            if end.name not in found or _later(end.newest, found[end.name].newest):
                found[end.name] = Stream(end.name, state.config.id, end.newest, end.day)
    return [found[name] for name in sorted(found)]


def require_datastream(site: Site, name: str, known: Iterable[Stream]) -> None:
    """Raise NotFound if a datastream is named of which no product is on record."""
    names = [stream.name for stream in known]
    if not name or name in names or any(site.ledger.products(datastream=name, limit=1)):
        return
    raise NotFound(
        f"there are no products of a datastream {name[:200]}",
        next=f"choose one of {', '.join(names)}" if names else "run a pipeline first",
    )


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)


def products(site: Site, parameters: Parameters) -> Page:
    """The datastreams, or the products of one in a span of days."""
    name = parameters.text("datastream")
    known = streams(site)
    require_datastream(site, name, known)
    first, last = chosen_days(site, parameters, name, known)
    found: list[Product] = []
    if name:
        begin, end = midnight(first), midnight(last) + timedelta(days=1)
        found = list(site.ledger.products(datastream=name, begin=begin, end=end, limit=_LISTED + 1))
        found.sort(key=lambda p: (p.begin or begin, p.key))
    return Page(
        "products.html",
        name or "Products",
        {
            "streams": known,
            "datastream": name,
            "first": first,
            "last": last,
            "days": (last - first).days + 1,
            "products": found[:_LISTED],
            "more": len(found) > _LISTED,
            "is_plot": is_plot,
            "one_day": timedelta(days=1),
        },
        {
            "datastreams": [to_json(stream) for stream in known],
            "products": [to_json(product) for product in found[:_LISTED]],
            "more": len(found) > _LISTED,
        },
    )


def chosen_days(
    site: Site, parameters: Parameters, stream: str, known: Sequence[Stream]
) -> tuple[date, date]:
    """The first and last day that are shown: as asked, or up to the newest data."""
    newest = next((s.day for s in known if s.name == stream and s.day), site.now().date())
    begin, end = parameters.day("begin"), parameters.day("end")
    last = end or (begin + timedelta(days=_DAYS - 1) if begin else newest)
    first = begin or last - timedelta(days=_DAYS - 1)
    return min(first, last), max(first, last)


def is_plot(product: Product) -> bool:
    """Whether a browser shows it as a picture."""
    return product.key.lower().endswith(PLOTS)


def product(site: Site, parameters: Parameters) -> Page:
    """One product: what is known of it, its quality, what it was made from, what was made of it."""
    found = find_product(site, parameters.text("key"))
    run = site.ledger.record(found.run) if found.run else None
    siblings = site.ledger.made_by(found.run) if found.run else []
    users = _users(site, found)
    packages = packages_of_run(site.ledger, run) if run else []
    return Page(
        "product.html",
        file_name(found.key),
        {
            "product": found,
            "run": run,
            "siblings": [p for p in siblings if p.key != found.key],
            "made_from": site.ledger.products_at(p.key for p in run.run.products) if run else {},
            "users": users,
            "packages": packages,
            "is_plot": is_plot,
            "is_dataset": is_dataset(found.key),
            "variables": _variables(found),
            "has_earlier": Version(found, site.earlier).exists if site.earlier else False,
            "chosen": parameters.text("variable") or first_variable(found),
        },
        {
            **to_json(found),
            "release": run.release if run else "",
            "packages": packages,
            "inputs": to_json(run.run.inputs) if run else [],
            "made_from": [p.key for p in run.run.products] if run else [],
            "used_by": [record.key for record in users],
        },
    )


def find_product(site: Site, key: str) -> Product:
    """The present product of a key; raises NotFound."""
    found = site.ledger.product(key)
    if found is None:
        raise NotFound(
            f"there is no product {key[-200:]}",
            why="it is not on record, or it was replaced by one with another name",
            next="look for its day in the list of products",
        )
    return found


def _users(site: Site, found: Product) -> list[RunRecord]:
    """Latest runs of VAPs that had it as input, among the hundred latest of each VAP."""
    users = []
    for config in site.manifest.configs:
        if config.kind != "VAP" or found.kind != "data":
            continue
        records = site.ledger.records(config=config.id, states=("succeeded",), limit=_MADE_FROM_IT)
        users += [r for r in records if any(p.key == found.key for p in r.run.products)]
    return users[:20]


def _variables(found: Product) -> list[dict[str, Any]]:
    """For each variable: its valid share, and how many of its values are bad."""
    checked = {quality.variable: quality for quality in found.quality}
    names = sorted({*checked, *found.valid})
    return [
        {"name": name, "quality": checked.get(name), "valid": found.valid.get(name)}
        for name in names
    ]


def first_variable(found: Product) -> str:
    """The variable to show first: the first of those with the most checked values."""
    most = max((quality.samples for quality in found.quality), default=0)
    names = [quality.variable for quality in found.quality if quality.samples == most]
    return next(iter([*names, *found.valid]), "")


def content(site: Site, parameters: Parameters) -> Page:
    """What is in the file of a product: attributes, and variables with their quality tests."""
    found = find_product(site, parameters.text("key"))
    if not is_dataset(found.key):
        raise NotFound(
            f"{file_name(found.key)} is not netCDF or zarr",
            next="download it, or look at the page of the product",
        )
    inside = site.reader.content(found)
    return Page(
        "content.html",
        f"Content of {file_name(found.key)}",
        {"product": found, "content": inside},
        to_json(inside),
    )


ENDPOINTS = (
    Endpoint(
        "products",
        "/products",
        "The datastreams, or the products of one of them in a span of days.",
        products,
        (
            Parameter("datastream", "The datastream."),
            Parameter("begin", "The first day, such as 2026-11-28."),
            Parameter("end", "The last day."),
        ),
        heading="Products",
    ),
    Endpoint(
        "product",
        "/products/{key:path}",
        "One product: times, quality, what it was made from and what was made of it.",
        product,
        (
            Parameter("key", "The product's key, its path below output/.", True),
            Parameter("variable", "The variable of the quick look."),
        ),
    ),
    Endpoint(
        "content",
        "/contents/{key:path}",
        "What is in the file of a product: attributes, and variables with their quality tests.",
        content,
        (Parameter("key", "The product's key.", True),),
    ),
)
