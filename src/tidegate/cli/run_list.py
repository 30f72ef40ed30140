"""How ``tidegate runs`` and ``tidegate products`` list: on a terminal, and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from tidegate.cli import view
from tidegate.cli.listing import Row, print_list
from tidegate.cli.view import View, file_name, plain
from tidegate.runtime.runs import Product, Run, RunRecord

_WIDE = 110
_SHORT = {"succeeded with warnings": "warnings", "succeeded, plots failed": "no plots"}


def show_runs(
    out: View,
    waiting: Sequence[tuple[Run, datetime]],
    records: Sequence[RunRecord],
    *,
    full: bool,
    empty: str,
) -> None:
    """List finished runs, and then waiting ones; ``full`` shows whole paths."""
    if not out.out.is_terminal or not (waiting or records):
        rows = [view.run_row(record, full=full) for record in records]
        rows += [view.queued_row(run, due, full=full) for run, due in waiting]
        out.table(view.RUN_COLUMNS, rows, empty=empty)
        return
    found = [_run(record, full=full, wide=out.out.width >= _WIDE) for record in records]
    found += [_waiting(run, due, full=full) for run, due in waiting]
    print_list(out.out, found)


def _run(record: RunRecord, *, full: bool, wide: bool) -> Row:
    reason = record.failure.message if record.failure else record.plots_failed
    colour = view.outcome_colour(record)
    started = record.started.astimezone(timezone.utc)
    cells = [
        view.short_key(record.key),
        f"{started:%H:%M}",
        f"[{colour}]{_SHORT.get(record.outcome, record.outcome)}[/]",
        plain(record.run.config),
    ]
    if wide:
        took = view.duration(record.seconds.get("total", 0.0))
        cells += [view.product_words(record.products), took]
    below = [f"[{colour}]{plain(reason[:300])}[/]"] if reason else []
    return Row(
        tuple(cells), view.about(record.run, full=full), f"{started:%Y-%m-%d} (UTC)", tuple(below)
    )


def _waiting(run: Run, due: datetime, *, full: bool) -> Row:
    state = f"[{view.COLOURS['queued']}]queued[/]"
    at = f"{due.astimezone(timezone.utc):%H:%M}"
    cells = (view.short_key(run.key), at, state, plain(run.config))
    return Row(cells, view.about(run, full=full), "waiting, by when they are due (UTC)")


def show_products(out: View, products: Sequence[Product], *, full: bool) -> None:
    """List products below their datastreams; those with the newest data first."""
    if not out.out.is_terminal or not products:
        rows = [view.product_row(product, full=full) for product in products]
        out.table(view.PRODUCT_COLUMNS, rows, empty="no products yet")
        return
    streams = dict.fromkeys((product.datastream, product.config) for product in products)
    rank = {stream: number for number, stream in enumerate(streams)}
    ordered = sorted(products, key=lambda one: rank[one.datastream, one.config])
    header = Row(("run", "data (UTC)", "size", "bad"), "file")
    print_list(out.out, [header, *(_product(product, full=full) for product in ordered)])


def _product(product: Product, *, full: bool) -> Row:
    cells = (
        view.short_key(product.run),
        _span(product.begin, product.end),
        view.size(product.size),
        view.bad_share(product),
    )
    stream = f"{product.datastream}."  # the heading says it already
    name = view.printable(product.key) if full else file_name(product.key).removeprefix(stream)
    return Row(cells, name, f"{plain(product.datastream or 'other')}  ({plain(product.config)})")


def _span(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return "-"
    begin, end = begin.astimezone(timezone.utc), end.astimezone(timezone.utc)
    if begin.date() == end.date():
        return f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M}"
    if (end - timedelta(microseconds=1)).date() == begin.date():
        return f"{begin:%Y-%m-%d %H:%M} to 24:00"
    return f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}"
