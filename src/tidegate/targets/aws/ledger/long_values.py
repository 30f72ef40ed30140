"""Values that are too long for one item: they are stored in parts beside it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime

from tidegate.targets.aws.clients import Missing
from tidegate.targets.aws.ledger.keys import expiry, to_key
from tidegate.targets.aws.ledger.table import Table
from tidegate.targets.aws.ledger.values import Item, pack, unpack

PART = 350_000
"""Bytes of one part; DynamoDB's items hold up to 400 kB."""


class LongValues:
    """Values in an attribute, or in parts of their own where they are too long for that."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def store(self, text: str, longest: int, expires: datetime | None) -> Item:
        """The attribute for a value: the value itself up to ``longest`` bytes, else its address.

        The parts are written at once.
        """
        packed = pack(text)
        if len(packed) <= longest:
            return {"B": packed}
        token = new_token()
        parts = range(0, len(packed), PART)
        for n, begin in enumerate(parts):
            part = {"part": {"B": packed[begin : begin + PART]}, **expiry(expires)}
            self._table.transact([self._table.put({**_part_key(token, n), **part})])
        return {"S": f"{token}#{len(parts)}"}

    def read(self, value: Item) -> str:
        """The value of an attribute; raises Missing when its parts have been replaced."""
        if "B" in value:
            return unpack(value["B"])
        token, _, count = value["S"].partition("#")
        parts = [item["part"]["B"] for item in self._table.query(f"B#{token}")]
        if len(parts) != int(count):
            raise Missing(token)
        return unpack(b"".join(parts))

    def delete(self, addresses: Iterable[str]) -> None:
        """Delete the parts of values that have been replaced."""
        for token, _, count in (address.partition("#") for address in addresses):
            for n in range(int(count)):
                write = self._table.delete(_part_key(token, n))
                self._table.call("delete_item", **write["Delete"])


def _part_key(token: str, n: int) -> Item:
    return to_key(f"B#{token}", f"{n:04d}")


def new_token() -> str:
    """Random text that no other item has."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()
