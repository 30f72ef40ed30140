"""Work that waits in the ledger, because it is too much for a queue.

Each config has a list of entries. A function takes the first that is free, for a limited time; then
it removes the entry, or puts back what is left of it. If it dies, the next function takes the entry
when that time is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tidegate.runtime.ledger_rules import to_micros
from tidegate.targets.aws.clients import ConditionFailed, Missing
from tidegate.targets.aws.ledger import times
from tidegate.targets.aws.ledger.keys import to_key
from tidegate.targets.aws.ledger.long_values import LongValues, new_token
from tidegate.targets.aws.ledger.table import Table
from tidegate.targets.aws.ledger.times import sortable
from tidegate.targets.aws.ledger.values import Item

_LONGEST = 150_000
"""Bytes of an entry that is stored in its own item."""
_PAGE = 20


@dataclass(frozen=True)
class Entry:
    """A part of the work, taken from the list."""

    place: str
    """Its place in the list."""
    text: str
    """What is to be done."""
    parts: tuple[str, ...] = ()
    """Addresses of its text, if it did not fit into its item."""


class Backlog:
    """The lists of all configs."""

    def __init__(self, table: Table, values: LongValues) -> None:
        self._table = table
        self._values = values

    def add(self, config: str, texts: Iterable[str]) -> None:
        """Add entries at the end of a config's list."""
        now = sortable(times.now_micros())
        for n, text in enumerate(texts):
            self._write(config, f"{now}#{n:06d}#{new_token()}", text)

    def take(self, config: str, now: datetime, until: datetime) -> Entry | None:
        """The first free entry, which nobody else gets before ``until``; None if there is none."""
        for item in self._table.query(_partition(config), page=_PAGE):
            if int(item["until"]["N"]) > to_micros(now):
                continue
            place = item["sk"]["S"]
            write = self._table.update(
                to_key(_partition(config), place),
                "SET #until = :until",
                {":until": {"N": str(to_micros(until))}, ":old": item["until"]},
                {"#until": "until"},
            )
            write["Update"]["ConditionExpression"] = "#until = :old"
            try:
                self._table.transact([write])
                return Entry(place, self._values.read(item["value"]), _parts_of(item))
            except (ConditionFailed, Missing):
                continue  # another function has taken it
        return None

    def put_back(self, config: str, entry: Entry, text: str) -> None:
        """Replace an entry by what is left of it; everybody may take it."""
        self._write(config, entry.place, text)
        self._values.delete(entry.parts)

    def remove(self, config: str, entry: Entry) -> None:
        """Remove an entry: it is done."""
        self._table.call(
            "delete_item",
            TableName=self._table.name,
            Key=to_key(_partition(config), entry.place),
        )
        self._values.delete(entry.parts)

    def has_free(self, config: str, now: datetime) -> bool:
        """Whether there is an entry that may be taken."""
        entries = self._table.query(_partition(config), page=_PAGE)
        return any(int(item["until"]["N"]) <= to_micros(now) for item in entries)

    def is_empty(self, config: str) -> bool:
        """Whether there are no entries, taken ones included."""
        return next(iter(self._table.query(_partition(config), page=1)), None) is None

    def _write(self, config: str, place: str, text: str) -> None:
        item: Item = {
            **to_key(_partition(config), place),
            "until": {"N": "0"},
            "value": self._values.store(text, _LONGEST, None),
        }
        self._table.transact([self._table.put(item)])


def _partition(config: str) -> str:
    return f"W#{config}"


def _parts_of(item: Item) -> tuple[str, ...]:
    return (item["value"]["S"],) if "S" in item["value"] else ()
