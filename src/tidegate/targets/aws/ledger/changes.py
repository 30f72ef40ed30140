"""Which times of a datastream were touched.

A change is stored under the time of its writing, on the shelf of that day. Clocks differ and writes
take time, so a change may become visible after a later one. Therefore a cursor starts ``OVERLAP``
before the last change, and names those since then that were already reported. Many changes are read
in parts: then the cursor also has the place up to which they were read. That place is older than
``OVERLAP``, so no change becomes visible before it later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.protocols import MOST_CHANGES, Span
from tidegate.targets.aws.ledger import times
from tidegate.targets.aws.ledger.keys import changes_name, on_shelf, shelf_at, to_key
from tidegate.targets.aws.ledger.long_values import new_token
from tidegate.targets.aws.ledger.shelves import Shelves
from tidegate.targets.aws.ledger.table import Table
from tidegate.targets.aws.ledger.times import DAY, LATEST, ZERO, from_sortable, sortable
from tidegate.targets.aws.ledger.values import Item, pack, unpack

OVERLAP = timedelta(minutes=10)
"""By how much the clocks of two writers, and the time that a write takes, may differ."""

_MOST_NAMED = 2000
_MICROSECOND = timedelta(microseconds=1)


class Changes:
    """The changes of datastreams."""

    def __init__(self, table: Table, shelves: Shelves) -> None:
        self._table = table
        self._shelves = shelves

    def writes_of(self, spans: Iterable[tuple[str, Span]]) -> list[Item]:
        """The writes that note touched times as of now: one item for each datastream.

        They belong into the transaction that touches them.
        """
        by_stream: dict[str, set[tuple[int, int]]] = {}
        for stream, span in spans:
            touched = (to_micros(span.begin), to_micros(span.end))
            by_stream.setdefault(stream, set()).add(touched)
        now = times.now_micros()
        shelf = shelf_at(now, DAY)
        self._shelves.add((changes_name(stream), shelf) for stream in by_stream)
        place = f"{sortable(now)}#{new_token()}"
        return [
            self._table.put(
                {
                    **to_key(on_shelf(shelf, changes_name(stream)), place),
                    "spans": {"B": pack(json.dumps(sorted(touched)))},
                }
            )
            for stream, touched in by_stream.items()
        ]

    def read(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """See ``Ledger.changes``."""
        since, reported, read = _read_cursor(cursor)
        name, now = changes_name(datastream), times.now_micros()
        # "!" sorts before all characters of a place, so what follows the place is read.
        low, first = (f"{read}!", _time_of(read)) if read else (sortable(since), since)
        found = (
            item
            for shelf in self._shelves.between(name, DAY, first, LATEST)
            for item in self._table.query(on_shelf(shelf, name), between=(low, "~"))
        )
        spans: dict[Span, None] = {}
        places: list[str] = []
        last = since
        for item in found:
            place = item["sk"]["S"]
            last = max(last, _time_of(place))
            places.append(place)
            if _short_name(place) not in reported:
                for begin, end in json.loads(unpack(item["spans"]["B"])):
                    spans[Span(from_micros(begin), from_micros(end))] = None
                if len(spans) >= MOST_CHANGES and last < now - OVERLAP // _MICROSECOND:
                    return list(spans), _write_cursor(since, sorted(reported), place)
        # If a clock once ran ahead, the cursor must not pass what is written from now on.
        safe = max(since, min(last, now) - OVERLAP // _MICROSECOND)
        named = [_short_name(place) for place in places if place >= sortable(safe)]
        return list(spans), _write_cursor(safe, named[-_MOST_NAMED:])


def _read_cursor(cursor: str) -> tuple[int, set[str], str]:
    """The time to start from, µs, the names of the changes since then that were reported, and the
    place up to which all were read; "" if it starts from the time."""
    since, _, rest = cursor.partition(":")
    reported, _, place = rest.partition(":")
    return int(since) if since else -ZERO, set(reported.split(",")) if reported else set(), place


def _write_cursor(since: int, reported: Sequence[str], place: str = "") -> str:
    return f"{since}:{','.join(reported)}{f':{place}' if place else ''}"


def _time_of(place: str) -> int:
    """The time under which a change is stored, µs."""
    return from_sortable(place.partition("#")[0])


def _short_name(place: str) -> str:
    """A name for a change: a part of the random text in its key."""
    return place.split("#")[1][:10]
