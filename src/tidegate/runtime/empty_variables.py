"""Which empty variables are reported: those that had values before.

A buoy without a sensor has a variable that is always empty: a warning at each run would be of no
use. So earlier products of the same datastream are read from the ledger: the one at the same time,
those of the last hour, and those of one hour at some times of the last year. The number of queries
is fixed, however many products there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product

_HOURS_BEFORE = (0, 2, 6, 12, *(24 * days for days in (1, 2, 4, 7, 14, 28, 91, 364)))
"""Some hours, then multiples of a day and of a week: where daily and weekly products are."""
_AROUND = timedelta(minutes=30)
_FIRST_YEAR = 2


def only_new(ledger: Ledger, products: Sequence[Product]) -> tuple[Product, ...]:
    """The products, with only those ``empty`` variables that were not always empty before."""
    return tuple(
        replace(product, empty=new_empty(product, _earlier(ledger, product)))
        if product.empty
        else product
        for product in products
    )


def new_empty(product: Product, earlier: Iterable[Product]) -> tuple[str, ...]:
    """Those empty variables that had values in an earlier product, or were in none.

    ``earlier`` is read only as far as it is needed.
    """
    undecided, always, new = set(product.empty), set[str](), set[str]()
    for before in earlier:
        for name in undecided & set(before.valid):
            (new if before.valid[name] > 0 else always).add(name)
        undecided -= new
        if not undecided:
            break
    return tuple(name for name in product.empty if name in new or name not in always)


def _earlier(ledger: Ledger, product: Product) -> Iterator[Product]:
    yield from ledger.products_at([product.key]).values()
    if product.begin is None or product.end is None or not product.datastream:
        return
    for hours in _HOURS_BEFORE:
        begin = _before(product.begin, timedelta(hours=hours))
        end = _before(product.end if hours else product.begin, timedelta(hours=hours))
        found = ledger.overlapping(product.datastream, begin - _AROUND, end + _AROUND)
        yield from (other for other in reversed(found) if other.key != product.key)


def _before(moment: datetime, time: timedelta) -> datetime:
    """So much earlier; not before the calendar begins."""
    earliest = datetime(_FIRST_YEAR, 1, 1, tzinfo=timezone.utc)
    return moment - time if moment - earliest > time else earliest
