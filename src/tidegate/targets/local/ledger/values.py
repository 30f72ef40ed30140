"""Values as SQLite stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from tidegate.runtime.records import loads

T = TypeVar("T")

NO_LIMIT = 1 << 62
"""More than any time in microseconds, and more than any number of rows."""

_BATCH = 300  # rows of a statement; with three variables each, below SQLite's old limit of 999


class UnreadableEntry(Exception):
    """An entry of the ledger is not what it should be: the file is damaged."""


def load(cls: type[T], text: str) -> T:
    """A record from its JSON; raises UnreadableEntry."""
    try:
        return loads(cls, text)
    except ValueError as error:
        raise UnreadableEntry(f"an entry is not a {cls.__name__}: {error}") from error


def to_sql(value: Any) -> Any:
    """A value as SQLite takes it: text that is not UTF-8 (a file name may be) becomes bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def to_text(value: str | bytes) -> str:
    """The text that ``to_sql`` was given."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists that are short enough for one statement."""
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
