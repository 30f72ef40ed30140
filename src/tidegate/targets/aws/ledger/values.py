"""Values as the table stores them: compressed JSON, and its errors."""

from __future__ import annotations

import zlib
from typing import Any

from tidegate.errors import LedgerError
from tidegate.runtime.records import loads
from tidegate.runtime.runs import Product

Item = dict[str, Any]
"""An item of DynamoDB, its key, or the arguments of a write."""


def pack(text: str) -> bytes:
    """JSON, compressed."""
    return zlib.compress(text.encode("ascii"), 6)


def unpack(data: bytes) -> str:
    """The JSON that ``pack`` was given."""
    return zlib.decompress(data).decode("ascii")


def unpack_product(item: Item) -> Product:
    """The product of an item; raises LedgerError."""
    try:
        return loads(Product, unpack(item["product"]["B"]))
    except (ValueError, KeyError, zlib.error) as error:
        raise damaged(item, error) from error


def damaged(item: Item, error: object) -> LedgerError:
    """The error for an item that cannot be read."""
    return LedgerError(
        f"an item of the ledger cannot be read: {item.get('pk')}, {item.get('sk')}",
        why=str(error),
        next="restore the table from a backup (point-in-time recovery)",
    )
