"""The present products: by key, by run, by datastream or config, and by time.

*By time.* Each product is indexed by the scale of its length: powers of eight in microseconds.
A query searches each scale from one length of that scale before its window. So a product that
covers a year does not make the search for others read a year.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Product
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.values import NO_LIMIT, batches, load, to_sql, to_text

_PAGE = 200
_SCALE_BITS = 3
_SCALES = 21
"""8**20 microseconds is more than the range of datetime."""
_LATEST = to_micros(datetime(9999, 12, 1, tzinfo=timezone.utc))


# One product.


def read_product(db: sqlite3.Connection, key: str) -> Product | None:
    """The present product of that key."""
    row = db.execute("SELECT product FROM products WHERE key = ?", (to_sql(key),)).fetchone()
    return None if row is None else load(Product, row[0])


def write_product(db: sqlite3.Connection, product: Product) -> None:
    """Make it the present product of its key."""
    db.execute(
        "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            to_sql(product.key),
            product.kind,
            to_sql(product.datastream),
            product.config,
            product.run,
            _scale(product),
            to_micros(product.begin),
            to_micros(product.end),
            dumps(product),
        ),
    )


def delete_product(db: sqlite3.Connection, key: str) -> None:
    """Forget the product of that key."""
    db.execute("DELETE FROM products WHERE key = ?", (to_sql(key),))


def _scale(product: Product) -> int | None:
    begin, end = to_micros(product.begin), to_micros(product.end)
    if begin is None or end is None:
        return None
    bits = max(end - begin, 0).bit_length()
    return (bits + _SCALE_BITS - 1) // _SCALE_BITS


# Many products.


def read_products_at(db: sqlite3.Connection, keys: Iterable[str]) -> dict[str, Product]:
    """See ``Ledger.products_at``."""
    found = {key: read_product(db, key) for key in dict.fromkeys(keys)}
    return {key: product for key, product in found.items() if product is not None}


def read_products_of_run(db: sqlite3.Connection, key: str) -> list[Product]:
    """See ``Ledger.made_by``."""
    statement = "SELECT product FROM products WHERE run = ? ORDER BY key"
    return [load(Product, text) for (text,) in db.execute(statement, (to_sql(key),)).fetchall()]


def read_overlapping(
    db: sqlite3.Connection, datastream: str, begin: datetime, end: datetime
) -> list[Product]:
    """See ``Ledger.overlapping``."""
    given = {"datastream": to_sql(datastream), "begin": to_micros(begin), "end": to_micros(end)}
    return [load(Product, text) for (text,) in db.execute(OVERLAPPING, given).fetchall()]


def read_extent(db: sqlite3.Connection, datastream: str) -> tuple[datetime, datetime] | None:
    """The first time in the data products of a datastream, and a time that none ends after."""
    row = db.execute(EXTENT, {"datastream": to_sql(datastream)}).fetchone()
    return None if row[0] is None else (from_micros(row[0]), from_micros(min(row[1], _LATEST)))


def read_keys_by_run(db: sqlite3.Connection, runs: Iterable[str]) -> dict[str, list[str]]:
    """The keys of the present products of those runs, by run."""
    found: dict[str, list[str]] = {}
    for batch in batches(runs):
        marks = ",".join("?" * len(batch))
        statement = f"SELECT run, key FROM products WHERE run IN ({marks})"
        for run, key in db.execute(statement, batch).fetchall():
            found.setdefault(run, []).append(to_text(key))
    return found


def read_datastreams(db: sqlite3.Connection) -> list[str]:
    """See ``Ledger.datastreams``."""
    return sorted(to_text(name) for (name,) in db.execute(DATASTREAMS).fetchall())


DATASTREAMS = """
    WITH RECURSIVE names (name) AS (
        SELECT min(datastream) FROM products WHERE datastream > ''
        UNION ALL
        SELECT (SELECT min(datastream) FROM products WHERE datastream > names.name)
        FROM names WHERE names.name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL
"""
"""One step in the index for each name, however many products there are."""


def read_products(
    database: Database,
    *,
    datastream: str | None,
    config: str | None,
    begin: datetime | None,
    end: datetime | None,
    limit: int | None,
) -> Iterator[Product]:
    """See ``Ledger.products``; a page at a time."""
    statement, given = products_statement(
        datastream=datastream, config=config, begin=begin, end=end
    )
    after: Any = -1  # SQLite sorts numbers before all text
    left = NO_LIMIT if limit is None else limit
    while left > 0:
        page = min(left, _PAGE)
        rows = database.rows(statement, {**given, "after": after, "page": page})
        with database.explained():
            for row in rows:
                yield load(Product, row[1])
        if len(rows) < page:
            return
        after = rows[-1][0]
        left -= page


# Statements.


def _time_scales(kinds: Sequence[str]) -> str:
    """Where to search in ``products_by_time``: kind, scale, and the length of the scale in µs."""
    scales = (f"('{k}',{s},{1 << _SCALE_BITS * s})" for k in kinds for s in range(_SCALES))
    return f"scales (kind, scale, length) AS (VALUES {','.join(scales)})"


_IN_TIME = """
    FROM scales CROSS JOIN products INDEXED BY products_by_time
        ON products.datastream = :datastream
        AND products.kind = scales.kind AND products.scale = scales.scale
        AND products."begin" >= :begin - scales.length AND products."begin" < :end
        AND products."end" >= :begin
"""

OVERLAPPING = f"""
    WITH {_time_scales(["data"])}
    SELECT products.product {_IN_TIME} ORDER BY products."begin", products.key
"""


EXTENT = f"""
    WITH {_time_scales(["data"])}
    SELECT min(first), max(last) FROM (
        SELECT
            (SELECT min("begin") FROM products WHERE datastream = :datastream
                AND products.kind = scales.kind AND products.scale = scales.scale) AS first,
            (SELECT max("begin") + scales.length FROM products WHERE datastream = :datastream
                AND products.kind = scales.kind AND products.scale = scales.scale) AS last
        FROM scales
    )
"""
"""Two steps in the index for each scale. The last time may be later than that of any product."""


def products_statement(
    *,
    datastream: str | None,
    config: str | None,
    begin: datetime | None,
    end: datetime | None,
) -> tuple[str, dict[str, Any]]:
    """The statement for a page of ``products``, and its fixed parameters."""
    given: dict[str, Any] = {"config": config, "datastream": to_sql(datastream)}
    timed = begin is not None or end is not None
    given["begin"] = -NO_LIMIT // 2 if begin is None else to_micros(begin)
    given["end"] = NO_LIMIT if end is None else to_micros(end)
    where = ["products.key > :after"]
    source = "FROM products"
    if timed and datastream is not None:
        source = _IN_TIME
    elif timed:
        where.append("""products.scale IS NOT NULL""")
        where.append("""products."begin" < :end AND products."end" >= :begin""")
    if config is not None:
        where.append("products.config = :config")
    if datastream is not None:
        where.append("products.datastream = :datastream")
    scales = f"WITH {_time_scales(['data', 'ancillary'])}" if source is _IN_TIME else ""
    statement = f"{scales} SELECT products.key, products.product {source}"
    return f"{statement} WHERE {' AND '.join(where)} ORDER BY products.key LIMIT :page", given
