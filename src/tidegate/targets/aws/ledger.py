"""The ledger in one DynamoDB table. No question is answered by a scan.

Items, by partition key (``pk``) and sort key (``sk``); D(x) is a digest of x:

    RUN#first 4 digits of its key   its key               a run: its state, owner, lease and record
    R#config#state, R#state         start#run's key       the runs of a config, and of all
    A#config#D(subject)             a run's key           a run about that subject
    T#config#D(input)               T                     which runs took that input
    P#product key                   P                     the present product of that key
    shelf#S#kind#scale#datastream   begin#D(product key)  the same, by time
    shelf#L#datastream              time#random           what changed, when
    D#S#… and D#L#…                 shelf                 which shelves there are
    NAMES                           D#datastream          which kinds and scales it has
    STATE#name                      STATE                 a small value
    B#token                         0000, 0001, …         the parts of a value too long for one item

Two indexes that hold keys only list products by datastream (``by-one``) and by config (``by-two``),
for people: they lag by moments. All else is read from the table itself, consistently.

*Products by time.* Each is filed under the scale of its length, powers of eight minutes, and on the
shelf of its begin: so many days of that scale. What overlaps a window begins before its end, and
after its begin less one scale's length; so a query or two a scale find it. A product that covers
ten years does not make the others' queries longer, nor does the length of the history.

*Changes.* A change is filed under the time of its writing, on the day's shelf. Clocks differ and
writes take their time, so one may come to light after a later one: a cursor goes ``OVERLAP`` back
and names those that it has told since then.

*Ending a run* is one transaction of its record, its products and its changes. DynamoDB takes 100
items at once; a run with more products is written in several, its record last, each on condition
that the run is still its owner's: what a crash leaves half-way is on record as changed, and the
next attempt puts it right.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import secrets
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, get_args

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.ledger_rules import decide_claim, finish_changes, overlaps
from tidegate.runtime.protocols import Claim, ClaimLost, Span
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import FINISHED, SETTLED, Input, Product, Run, RunRecord, State
from tidegate.targets.aws.clients import Clients, ConditionFailed, Missing, explained

Item = dict[str, Any]
Key = tuple[str, str]

OVERLAP = timedelta(minutes=10)
"""By how much the clocks of two writers, and the time that a write takes, may differ."""
BY_DATASTREAM, BY_CONFIG = "one", "two"

_STATES: tuple[State, ...] = get_args(State)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_ZERO = 10**17
"""Added to times in sort keys, so that those before 1970 sort too: year 1 is at -6.2e16 µs."""
_MINUTE = 60 * 10**6
_DAY = 24 * 60 * _MINUTE
_LAST = 10**18 - 1 - _ZERO
_SCALES = 12
_PREFIX = 4
_READ_AT_ONCE = 100
_WRITTEN_AT_ONCE = 100
_LOOKS = 8
_ROUNDS = 12
_INLINE = 150_000
_PART = 350_000
_NAMED = 2000
_REMEMBERED = 2000
_PAGE = 200
_KINDS = ("data", "ancillary")
_FEW = 4


def table_definition() -> dict[str, Any]:
    """The table as CloudFormation and ``create_table`` take it, without name and tags.

    Its time to live goes by the attribute ``expires``.
    """
    names = ("pk", "sk", "one", "two", "place")
    return {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in names],
        "KeySchema": _schema("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": f"by-{name}",
                "KeySchema": _schema(name, "place"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name in (BY_DATASTREAM, BY_CONFIG)
        ],
    }


TIME_TO_LIVE = "expires"
"""The attribute that DynamoDB's time to live goes by."""


def create_table(name: str, clients: Clients, **more: Any) -> None:
    """Make the table and wait until it is there; ``more`` goes to AWS along with the definition."""
    with explained("make the table", name, lasting=LedgerError):
        clients.dynamodb.create_table(TableName=name, **table_definition(), **more)
        clients.dynamodb.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )


def _schema(hash: str, range: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": hash, "KeyType": "HASH"},
        {"AttributeName": range, "KeyType": "RANGE"},
    ]


@dataclass(frozen=True)
class _Row:
    """A run as it is on record."""

    record: RunRecord
    revision: str
    lease: datetime | None
    made: tuple[str, ...]
    """Keys of all products that it has made and that may still be there."""
    sure: bool
    """Whether what it took was noted in the same transaction as its first claim."""
    parts: tuple[str, ...] = ()
    """Addresses of what did not fit into its item."""


@dataclass(frozen=True)
class _Unit:
    """What one change of a product or an older run needs; never divided between transactions."""

    writes: tuple[Item, ...]
    spans: tuple[tuple[str, int, int], ...]


class DynamoLedger:
    """``runtime.protocols.Ledger`` in one DynamoDB table; safe to use from several threads.

    ``keep_runs`` is after what time a run that has ended is forgotten, None for never; its products
    stay, and what it took counts as taken.

    Raises:
        StorageError: a passing reason; what was asked for may or may not have been done.
        LedgerError: the table or a permission is missing, or an item cannot be read.
    """

    def __init__(
        self, table: str, clients: Clients | None = None, *, keep_runs: timedelta | None = None
    ) -> None:
        self.table = table
        self._clients = clients or Clients()
        self._keep_runs = keep_runs
        self._lock = threading.Lock()
        self._held: dict[str, _Row] = {}
        self._named: set[tuple[str, str]] = set()
        self._shelves: set[tuple[str, int]] = set()
        # What was just read, and is to be written next: each write is on condition that it is
        # still so, and reads it again where it is not.
        self._absent: set[str] = set()
        self._seen: dict[str, Item | None] = {}

    # Claims.

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        """See ``Ledger.claim``."""
        key = run.key
        new = self._was_absent(key)
        for turn in range(_ROUNDS):
            before = None if new and turn == 0 else self._row(key)
            claim = decide_claim(
                run,
                before.record if before else None,
                before.lease if before else None,
                owner=owner,
                now=now,
                release=release,
            )
            if not claim.granted or claim.record is None:
                return claim
            if self._write_claim(claim.record, now + lease, before):
                return claim
            _pause(turn)
        raise _contended(f"claim the run {key[:12]}")

    def _was_absent(self, key: str) -> bool:
        """Whether ``states`` was asked for this run and found none: most runs are new."""
        with self._lock:
            known = key in self._absent
            self._absent.discard(key)
            return known

    def _write_claim(self, record: RunRecord, until: datetime, before: _Row | None) -> bool:
        if before is not None:
            row = _Row(record, _token(), until, before.made, before.sure)
            return self._written(row, before, [])
        sure = len(record.run.subjects) + len(record.run.inputs) <= _WRITTEN_AT_ONCE - 5
        notes = self._notes(record.run, sure=sure)
        if not sure:  # noted beforehand: that of a claim which then fails does no harm
            for n in range(0, len(notes), _WRITTEN_AT_ONCE):
                self._insist(notes[n : n + _WRITTEN_AT_ONCE])
            notes = []
        return self._written(_Row(record, _token(), until, (), sure), None, notes)

    def _notes(self, run: Run, *, sure: bool) -> list[Item]:
        """What a run is about, and what it takes."""
        key = run.key  # takes its time where there are many inputs
        about = [
            self._put(_key(_about(run.config, subject), key))
            for subject in dict.fromkeys(run.subjects)
        ]
        taken = [
            self._update(
                _key(_taken(run.config, input), "T"),
                "ADD runs :run" + (" SET sure = :sure" if sure else ""),
                {":run": {"SS": [key]}, **({":sure": {"BOOL": True}} if sure else {})},
            )
            for input in dict.fromkeys(run.inputs)
        ]
        return about + taken

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        """See ``Ledger.intend``."""
        for turn in range(_ROUNDS):
            row = self._own(key, owner, attempt)
            both = tuple(dict.fromkeys((*row.record.publishing, *products)))
            after = replace(row, record=replace(row.record, publishing=both), revision=_token())
            if self._written(after, row, []):
                return
            _pause(turn)
        raise _contended(f"note what the run {key[:12]} publishes")

    def _own(self, key: str, owner: str, attempt: int) -> _Row:
        """The run, if it is still that owner's and attempt's; as this process left it, if it did.

        Nobody else writes a run that is its owner's, and each write is on condition of that.
        """
        row = self._held.get(key)
        for known in (row, None):
            row = known or self._row(key)
            if row is not None:
                record = row.record
                if (record.state, record.owner, record.attempt) == ("running", owner, attempt):
                    return row
        raise ClaimLost(key)

    def _written(self, after: _Row, before: _Row | None, more: Sequence[Item]) -> bool:
        """Write a run, and ``more`` with it, if it still is as it was before."""
        key = after.record.key
        put = self._put_run(after, before)
        try:
            self._transact([put, *self._list_run(after, before), *more])
        except ConditionFailed:
            # A write whose answer was lost is sent again, and then meets itself.
            found = self._row(key)
            if found is None or found.revision != after.revision:
                self._hold(key, None)
                return False
        held = replace(after, parts=_parts(put["Put"]["Item"]))
        self._hold(key, held if after.record.state == "running" else None)
        if before is not None:
            self._forget(before.parts)
        return True

    def _hold(self, key: str, row: _Row | None) -> None:
        with self._lock:
            if row is not None:
                self._held[key] = row
            else:
                self._held.pop(key, None)

    # The end of a run.

    def finish(self, record: RunRecord) -> None:
        """See ``Ledger.finish``."""
        products = {product.key: product for product in record.products}
        self._name(products.values())
        for turn in range(_ROUNDS):
            row = self._own(record.key, record.owner, record.attempt)
            made = dict.fromkeys((*row.made, *products))
            for key in record.retired:
                if key not in products:
                    made.pop(key, None)
            after = _Row(
                finish_changes(record, row.record).record, _token(), None, tuple(made), row.sure
            )
            if self._write_end(after, row, products):
                return
            _pause(turn)
        raise _contended(f"end the run {record.key[:12]}")

    def _write_end(self, after: _Row, before: _Row, products: Mapping[str, Product]) -> bool:
        """All of a run's end, in as few transactions as it takes, its record last."""
        replaced = self._replaced(after.record)
        units = [self._superseded(row) for row in replaced]
        units += self._units(after.record, products)
        # There is to be room for the run itself, and for where it is listed and was listed.
        groups = list(_grouped(units, _WRITTEN_AT_ONCE - 5)) or [[]]
        for group in groups[:-1]:
            check = self._check_run(before)
            writes = [check, *_all_writes(group), *self._changes_of(group)]
            try:
                self._transact(writes)
            except ConditionFailed:
                self._hold(before.record.key, None)
                return False
        last = groups[-1]
        if not self._written(after, before, [*_all_writes(last), *self._changes_of(last)]):
            return False
        for row in replaced:
            self._forget(row.parts)
        return True

    def _replaced(self, record: RunRecord) -> list[_Row]:
        """The settled runs whose products this one has replaced."""
        keys = [_run_key(key) for key in dict.fromkeys(record.replaces) if key != record.key]
        rows = [self._unpack_row(item) for item in self._items(keys).values()]
        return [row for row in rows if row.record.state in SETTLED]

    def _superseded(self, row: _Row) -> _Unit:
        record = replace(row.record, state="superseded")
        after = replace(row, record=record, revision=_token(), parts=())
        return _Unit((self._put_run(after, row), *self._list_run(after, row)), ())

    def _units(self, record: RunRecord, products: Mapping[str, Product]) -> list[_Unit]:
        wanted = [*products, *record.retired]
        if not wanted:
            return []
        wanted = list(dict.fromkeys(wanted))
        seen = self._forgotten(wanted)
        # That a key to be retired is not on record is no condition of any write: look again.
        present = {key: item for key, item in seen.items() if item or key in products}
        present.update(self._read_products([key for key in wanted if key not in present]))
        units = []
        for key in wanted:
            old = present[key]
            if old is None and key not in products:
                continue
            units.append(self._unit(key, products.get(key), old))
        return units

    def _read_products(self, keys: Sequence[str]) -> dict[str, Item | None]:
        """The items of products, None where there is none."""
        found = self._items([(_product_key(key), "P") for key in dict.fromkeys(keys)])
        return {key: found.get((_product_key(key), "P")) for key in keys}

    def _remember(self, items: Mapping[str, Item | None]) -> None:
        """Keep what was read of products until the end of the run that is about to replace them."""
        with self._lock:
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()
            self._seen.update(items)

    def _forgotten(self, keys: Sequence[str]) -> dict[str, Item | None]:
        """What was kept of those products; no longer, so that a second try reads them again."""
        with self._lock:
            return {key: self._seen.pop(key) for key in keys if key in self._seen}

    def _unit(self, key: str, new: Product | None, old: Item | None) -> _Unit:
        """Put, replace or remove one product, on condition that it is still as it was read."""
        before = None if old is None else _unpack_product(old)
        condition = _unchanged(old and old["revision"])
        writes: list[Item] = []
        place_before = _time_key(before) if before is not None else None
        place_after = _time_key(new) if new is not None else None
        if new is not None:
            packed = {"product": {"B": _pack(dumps(new))}}
            item = {
                **_key(_product_key(key), "P"),
                **packed,
                "revision": {"S": _token()},
                "one": {"S": f"P#{_plain(new.datastream)}"},
                "two": {"S": f"C#{new.config}"},
                "place": {"S": _plain(key) or "-"},
            }
            writes.append(self._put(item, **condition))
            if place_after is not None:
                end = {"N": str(_micros(new.end))}
                writes.append(self._put({**_key(*place_after), **packed, "until": end}))
        else:
            writes.append(self._delete(_key(_product_key(key), "P"), **condition))
        if place_before is not None and place_before != place_after:
            writes.append(self._delete(_key(*place_before)))
        spans = {span for product in (before, new) if product for span in _span(product)}
        return _Unit(tuple(writes), tuple(sorted(spans)))

    def _changes_of(self, group: Sequence[_Unit]) -> list[Item]:
        """One item a datastream, under the time of now: written in the same transaction."""
        by_stream: dict[str, set[tuple[int, int]]] = {}
        for unit in group:
            for stream, begin, end in unit.spans:
                by_stream.setdefault(stream, set()).add((begin, end))
        now = _now_micros()
        self._make_known((_log(stream), _shelf_at(now, _DAY)) for stream in by_stream)
        place = f"{_sortable(now)}#{_token()}"
        return [
            self._put(
                {
                    **_key(_on(_shelf_at(now, _DAY), _log(stream)), place),
                    "spans": {"B": _pack(json.dumps(sorted(spans)))},
                }
            )
            for stream, spans in by_stream.items()
        ]

    def _make_known(
        self, shelves: Iterable[tuple[str, int]], filed: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Note that there are such shelves, and what of a datastream is filed by which scale.

        Before anything lies there: a reader may look in vain, but never misses a product.
        """
        new, named = sorted(set(shelves) - self._shelves), sorted(set(filed) - self._named)
        writes = [self._put(_key(f"D#{name}", _numbered(shelf))) for name, shelf in new]
        writes += [
            self._update(
                _key("NAMES", f"D#{_plain(stream)}"),
                "ADD filed :filed SET #name = if_not_exists(#name, :name)",
                {
                    ":filed": {"SS": [kind for _, kind in kinds]},
                    ":name": {"B": _pack(json.dumps(stream))},
                },
                {"#name": "name"},
            )
            for stream, kinds in groupby(named, key=itemgetter(0))
        ]
        for n in range(0, len(writes), _WRITTEN_AT_ONCE):
            self._insist(writes[n : n + _WRITTEN_AT_ONCE])
        with self._lock:
            self._shelves.update(new)
            self._named.update(named)

    def _name(self, products: Iterable[Product]) -> None:
        """Make it known which datastreams there are, and where their products are filed by time."""
        filed, shelves, today = set(), set(), _shelf_at(_now_micros(), _DAY)
        for product in products:
            scale = _scale(product)
            if scale is None or product.begin is None:
                filed.add((product.datastream, "#"))
                continue
            filed.add((product.datastream, f"{product.kind}#{scale}"))
            name = _filed_under(product.kind, scale, product.datastream)
            shelves.add((name, _shelf_at(_micros(product.begin), _unit(scale))))
            if product.kind == "data":
                shelves.add((_log(product.datastream), today))
        self._make_known(shelves, filed)

    # Runs.

    def record(self, key: str) -> RunRecord | None:
        """See ``Ledger.record``."""
        row = self._row(key)
        return row.record if row else None

    def lease(self, key: str) -> datetime | None:
        """Until when the run is its owner's, if it is running."""
        row = self._row(key)
        return row.lease if row and row.record.state == "running" else None

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """See ``Ledger.states``."""
        wanted = list(dict.fromkeys(keys))
        found = self._items([_run_key(key) for key in wanted], only=("state",))
        places = {key: found.get(_run_key(key)) for key in wanted}
        with self._lock:
            if len(self._absent) > _REMEMBERED:
                self._absent.clear()
            self._absent.difference_update(key for key, item in places.items() if item)
            self._absent.update(key for key, item in places.items() if not item)
        return {key: item["state"]["S"] for key, item in places.items() if item}

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        """See ``Ledger.records``; a run that changes meanwhile may be left out."""

        def fits(record: RunRecord) -> bool:
            return (
                (config is None or record.run.config == config)
                and (not states or record.state in states)
                and record.key.startswith(prefix)
            )

        if len(prefix) >= _PREFIX:
            found = self._query(_run_key(prefix)[0], starts=prefix)
            records = sorted(
                (self._unpack_row(item).record for item in found), key=_started, reverse=True
            )
            yield from islice(filter(fits, records), limit)
            return
        lists = [
            self._query(
                f"R#{state}" if config is None else f"R#{config}#{state}",
                descending=True,
                page=_PAGE if limit is None else max(1, min(limit, _PAGE)),
            )
            for state in (dict.fromkeys(states) or _STATES)
        ]
        places = heapq.merge(*((item["sk"]["S"] for item in one) for one in lists), reverse=True)
        keys = (_run_key(place.split("#")[1]) for place in places)
        yield from islice(filter(fits, self._records_at(keys, limit)), limit)

    def _records_at(self, keys: Iterator[Key], limit: int | None) -> Iterator[RunRecord]:
        told: set[Key] = set()
        while page := list(islice(keys, min(limit or _PAGE, _READ_AT_ONCE))):
            found = self._items(page)
            for key in page:
                if key in found and key not in told:
                    told.add(key)
                    yield self._unpack_row(found[key]).record

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        """See ``Ledger.about``."""
        names = [item["sk"]["S"] for item in self._query(_about(config, subject))]
        keys = [_run_key(name) for name in names if name != but]
        records = [self._unpack_row(item).record for item in self._items(keys).values()]
        return sorted(records, key=_started, reverse=True)

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """See ``Ledger.untaken``."""
        asked = list(inputs)
        places = {input: (_taken(config, input), "T") for input in asked}
        found = self._items(list(dict.fromkeys(places.values())))
        runs = {run for item in found.values() for run in item["runs"]["SS"]}
        states = self.states(sorted(runs))

        def is_taken(item: Item) -> bool:
            # A run that is not on record was forgotten long after it ended, if its claim noted it.
            gone: State = "succeeded" if "sure" in item else "superseded"
            return any(states.get(run, gone) != "superseded" for run in item["runs"]["SS"])

        taken = {place for place, item in found.items() if is_taken(item)}
        return [input for input in asked if places[input] not in taken]

    # Products.

    def product(self, key: str) -> Product | None:
        """See ``Ledger.product``."""
        item = self._item(_product_key(key), "P")
        return _unpack_product(item) if item else None

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """See ``Ledger.products_at``."""
        items = self._read_products(list(dict.fromkeys(keys)))
        self._remember(items)
        return {key: _unpack_product(item) for key, item in items.items() if item}

    def made_by(self, key: str) -> list[Product]:
        """See ``Ledger.made_by``."""
        row = self._held.get(key) or self._row(key)
        items = self._read_products(row.made) if row else {}
        self._remember(items)
        found = [_unpack_product(item) for item in items.values() if item]
        return sorted((p for p in found if p.run == key), key=_product_name)

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        """See ``Ledger.products``."""
        found: Iterator[Product] | list[Product]
        if begin is not None or end is not None:
            streams = list(self._streams()) if datastream is None else [datastream]
            found = [
                product
                for stream in streams
                for product in self._within(stream, _KINDS, begin, end)
            ]
            found.sort(key=_product_name)
        elif datastream is None and config is not None:
            found = self._products_at(self._index(BY_CONFIG, f"C#{config}", limit), limit)
        else:
            streams = list(self._streams()) if datastream is None else [datastream]
            places = [
                self._index(BY_DATASTREAM, f"P#{_plain(stream)}", limit) for stream in streams
            ]
            found = self._products_at(heapq.merge(*places), limit)
        fitting = (
            product
            for product in found
            if (datastream is None or product.datastream == datastream)
            and (config is None or product.config == config)
        )
        yield from islice(fitting, limit)

    def _products_at(
        self, places: Iterator[tuple[str, Key]], limit: int | None
    ) -> Iterator[Product]:
        while page := list(islice(places, min(limit or _PAGE, _READ_AT_ONCE))):
            found = self._items([key for _, key in page])
            for _, key in page:
                if key in found:
                    yield _unpack_product(found[key])

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        """See ``Ledger.overlapping``."""
        return sorted(self._within(datastream, ("data",), begin, end), key=_begin_and_key)

    def _within(
        self, stream: str, kinds: Sequence[str], begin: datetime | None, end: datetime | None
    ) -> list[Product]:
        name = self._item("NAMES", f"D#{_plain(stream)}")
        filed = [text.split("#") for text in name["filed"]["SS"]] if name else []
        looks = [
            (kind, int(scale), shelf)
            for kind, scale in sorted(filed)
            if kind in kinds
            for shelf in self._shelves_of(stream, kind, int(scale), begin, end)
        ]

        def look(where: tuple[str, int, int]) -> list[Product]:
            return list(self._filed(stream, *where, begin, end))

        if len(looks) <= _FEW:
            return [product for where in looks for product in look(where)]
        with ThreadPoolExecutor(_LOOKS) as pool:
            return [product for found in pool.map(look, looks) for product in found]

    def _shelves_of(
        self, stream: str, kind: str, scale: int, begin: datetime | None, end: datetime | None
    ) -> Iterable[int]:
        """The shelves of one scale on which products may lie that overlap [begin, end)."""
        low = -_ZERO if begin is None else _micros(begin) - _length(scale)
        high = _LAST if end is None else _micros(end)
        return self._known(_filed_under(kind, scale, stream), _unit(scale), low, high)

    def _known(self, name: str, unit: int, low: int, high: int) -> Iterable[int]:
        """The shelves from ``low`` to ``high``: only those that there are, where that is many."""
        first, last = _shelf_at(max(low, -_ZERO), unit), _shelf_at(min(high, _LAST), unit)
        if last - first < _FEW:
            return range(first, last + 1)
        between = (_numbered(first), _numbered(last))
        return [int(item["sk"]["S"]) for item in self._query(f"D#{name}", between=between)]

    def _filed(
        self,
        stream: str,
        kind: str,
        scale: int,
        shelf: int,
        begin: datetime | None,
        end: datetime | None,
    ) -> Iterator[Product]:
        """Products on one shelf that overlap [begin, end), with one query."""
        low = 0 if begin is None else _micros(begin) - _length(scale) + _ZERO
        high = 10**18 - 1 if end is None else _micros(end) + _ZERO
        between = (f"{max(low, 0):018d}", f"{max(high, 0):018d}")
        until = None if begin is None else _micros(begin)
        pk = _on(shelf, _filed_under(kind, scale, stream))
        for item in self._query(pk, between=between, until=until):
            product = _unpack_product(item)
            if overlaps(product, begin, end):
                yield product

    def _streams(self) -> Iterator[str]:
        for item in self._query("NAMES"):
            yield json.loads(_unpack(item["name"]["B"]))

    # Changes and small values.

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """See ``Ledger.changes``."""
        since, told = _read_cursor(cursor)
        name = _log(datastream)
        shelves = self._known(name, _DAY, since, _LAST)
        found = (
            item
            for shelf in shelves
            for item in self._query(_on(shelf, name), between=(_sortable(since), "~"))
        )
        spans: dict[Span, None] = {}
        recent: list[str] = []
        last = since
        for item in found:
            place = item["sk"]["S"]
            last = max(last, int(place.split("#")[0]) - _ZERO)
            recent.append(place)
            if _short(place) not in told:
                for begin, end in json.loads(_unpack(item["spans"]["B"])):
                    spans[Span(_moment(begin), _moment(end))] = None
        # A clock that once ran ahead must not make the cursor pass what is written from now on.
        safe = max(since, min(last, _now_micros()) - OVERLAP // _MICROSECOND)
        kept = [_short(place) for place in recent if place >= _sortable(safe)]
        return list(spans), _write_cursor(safe, kept[-_NAMED:])

    def state(self, name: str) -> str | None:
        """See ``Ledger.state``."""
        item = self._item(f"STATE#{_plain(name)}", "STATE")
        return None if item is None else str(json.loads(self._long(item["value"])))

    def set_state(self, name: str, value: str, keep: timedelta | None = None) -> None:
        """See ``Ledger.set_state``; ``keep`` is after what time it may be forgotten."""
        expires = None if keep is None else datetime.now(timezone.utc) + keep
        item = {
            **_key(f"STATE#{_plain(name)}", "STATE"),
            "value": self._shortened(json.dumps(value), _PART, expires),
            **_expiry(expires),
        }
        self._insist([self._put(item)])

    # A run's item.

    def _row(self, key: str) -> _Row | None:
        item = self._item(*_run_key(key))
        return None if item is None else self._unpack_row(item)

    def _put_run(self, row: _Row, before: _Row | None) -> Item:
        """Write a run on condition that it is still as it was before, or not there yet."""
        record, expires = row.record, self._expires(row)
        item = {
            **_key(*_run_key(record.key)),
            "state": {"S": record.state},
            "revision": {"S": row.revision},
            "record": self._shortened(dumps(record), _INLINE, expires),
        }
        if row.lease is not None:
            item["lease"] = {"N": str(_micros(row.lease))}
        if row.made:
            item["made"] = self._shortened(json.dumps(row.made), _INLINE, expires)
        if row.sure:
            item["sure"] = {"BOOL": True}
        item.update(_expiry(expires))
        return self._put(item, **_unchanged(None if before is None else {"S": before.revision}))

    def _list_run(self, row: _Row, before: _Row | None) -> list[Item]:
        """List a run under its state, and no longer under the one that it had."""
        old = [] if before is None else _listed(before.record)
        new = _listed(row.record)
        expiry = _expiry(self._expires(row))
        gone = [self._delete(_key(*place)) for place in old if place not in new]
        if not gone and old and not expiry:
            return []
        return gone + [self._put({**_key(*place), **expiry}) for place in new]

    def _expires(self, row: _Row) -> datetime | None:
        record = row.record
        if not self._keep_runs or not row.sure or record.state not in FINISHED:
            return None
        return (record.finished or record.started) + self._keep_runs

    def _check_run(self, row: _Row) -> Item:
        key = _key(*_run_key(row.record.key))
        condition = _unchanged({"S": row.revision})
        return {"ConditionCheck": {"TableName": self.table, "Key": key, **condition}}

    def _unpack_row(self, item: Item) -> _Row:
        for _ in range(_ROUNDS):
            try:
                record = loads(RunRecord, self._long(item["record"]))
                made = json.loads(self._long(item["made"])) if "made" in item else ()
            except Missing:  # its parts were replaced since it was read
                fresh = self._item(item["pk"]["S"], item["sk"]["S"])
                if fresh is None:
                    break
                item = fresh
                continue
            except (ValueError, zlib.error) as error:
                raise _damaged(item, error) from error
            lease = _moment(int(item["lease"]["N"])) if "lease" in item else None
            revision, sure = item["revision"]["S"], "sure" in item
            return _Row(record, revision, lease, tuple(made), sure, _parts(item))
        raise _damaged(item, "its parts are missing")

    def _shortened(self, text: str, inline: int, expires: datetime | None) -> Item:
        """A value as an attribute, or the address of its parts where it is too long for that."""
        packed = _pack(text)
        if len(packed) <= inline:
            return {"B": packed}
        token = _token()
        parts = range(0, len(packed), _PART)
        for n, begin in enumerate(parts):
            part = {"part": {"B": packed[begin : begin + _PART]}, **_expiry(expires)}
            self._transact([self._put({**_key(f"B#{token}", f"{n:04d}"), **part})])
        return {"S": f"{token}#{len(parts)}"}

    def _forget(self, parts: Iterable[str]) -> None:
        """Delete the parts of values that have been replaced."""
        for token, _, count in (part.partition("#") for part in parts):
            for n in range(int(count)):
                self._call("delete_item", **self._delete(_key(f"B#{token}", f"{n:04d}"))["Delete"])

    def _long(self, value: Item) -> str:
        if "B" in value:
            return _unpack(value["B"])
        token, _, count = value["S"].partition("#")
        parts = [item["part"]["B"] for item in self._query(f"B#{token}")]
        if len(parts) != int(count):
            raise Missing(token)
        return _unpack(b"".join(parts))

    # Requests.

    def _call(self, name: str, **arguments: Any) -> Any:
        resource = f"arn:aws:dynamodb:*:*:table/{self.table}"
        doing = "read" if name in ("query", "get_item", "batch_get_item") else "write"
        with explained(f"{doing} the ledger", resource, lasting=LedgerError):
            return getattr(self._clients.dynamodb, name)(**arguments)

    def _transact(self, writes: Sequence[Item]) -> None:
        if len(writes) == 1 and "Put" in writes[0]:  # half the cost
            self._call("put_item", **writes[0]["Put"])
        elif len(writes) == 1 and "Update" in writes[0]:
            self._call("update_item", **writes[0]["Update"])
        else:
            self._call("transact_write_items", TransactItems=list(writes))

    def _insist(self, writes: Sequence[Item]) -> None:
        """Write what has no condition, however many others write to it just now."""
        for turn in range(_ROUNDS):
            try:
                return self._transact(writes)
            except ConditionFailed:
                _pause(turn)
        raise _contended("write to the ledger")

    def _put(self, item: Item, **condition: Any) -> Item:
        return {"Put": {"TableName": self.table, "Item": item, **condition}}

    def _delete(self, key: Item, **condition: Any) -> Item:
        return {"Delete": {"TableName": self.table, "Key": key, **condition}}

    def _update(
        self, key: Item, expression: str, values: Item, names: Mapping[str, str] | None = None
    ) -> Item:
        update: Item = {
            "TableName": self.table,
            "Key": key,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
        }
        if names:
            update["ExpressionAttributeNames"] = dict(names)
        return {"Update": update}

    def _item(self, pk: str, sk: str) -> Item | None:
        answer = self._call("get_item", TableName=self.table, Key=_key(pk, sk), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def _items(self, keys: Sequence[Key], only: Sequence[str] = ()) -> dict[Key, Item]:
        """The items of those keys that are there, a hundred a request, several at once."""
        batches = [keys[n : n + _READ_AT_ONCE] for n in range(0, len(keys), _READ_AT_ONCE)]
        found: dict[Key, Item] = {}
        if len(batches) <= 1:
            answers: Iterable[list[Item]] = (self._batch(batch, only) for batch in batches)
            found.update({_place(item): item for items in answers for item in items})
            return found
        with ThreadPoolExecutor(min(_LOOKS, len(batches))) as pool:
            for items in pool.map(lambda batch: self._batch(batch, only), batches):
                found.update({_place(item): item for item in items})
        return found

    def _batch(self, keys: Sequence[Key], only: Sequence[str]) -> list[Item]:
        wanted: Item = {"Keys": [_key(*key) for key in dict.fromkeys(keys)], "ConsistentRead": True}
        if only:
            names = {f"#{n}": name for n, name in enumerate(("pk", "sk", *only))}
            wanted["ProjectionExpression"] = ", ".join(names)
            wanted["ExpressionAttributeNames"] = names
        found: list[Item] = []
        for turn in range(_ROUNDS):
            answer = self._call("batch_get_item", RequestItems={self.table: wanted})
            found += answer["Responses"].get(self.table, [])
            left = answer.get("UnprocessedKeys", {}).get(self.table)
            if not left:
                return found
            wanted = left
            _pause(turn)
        raise StorageError(
            "cannot read the ledger", why="DynamoDB throttles", next="it is tried again"
        )

    def _query(
        self,
        pk: str,
        *,
        starts: str = "",
        between: tuple[str, str] | None = None,
        until: int | None = None,
        descending: bool = False,
        page: int | None = None,
    ) -> Iterator[Item]:
        """The items of one partition, in order, read consistently."""
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if starts:
            condition += " AND begins_with(sk, :starts)"
            values[":starts"] = {"S": starts}
        if between is not None:
            condition += " AND sk BETWEEN :low AND :high"
            values.update({":low": {"S": between[0]}, ":high": {"S": between[1]}})
        more: Item = {}
        if until is not None:
            more["FilterExpression"] = "#until >= :until"
            more["ExpressionAttributeNames"] = {"#until": "until"}
            values[":until"] = {"N": str(until)}
        if page is not None:
            more["Limit"] = page
        while True:
            answer = self._call(
                "query",
                TableName=self.table,
                ConsistentRead=True,
                ScanIndexForward=not descending,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                **more,
            )
            yield from answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            more["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _index(self, index: str, value: str, limit: int | None) -> Iterator[tuple[str, Key]]:
        """Names and keys of products from one partition of an index, in order."""
        more: Item = {}
        while True:
            answer = self._call(
                "query",
                TableName=self.table,
                IndexName=f"by-{index}",
                KeyConditionExpression="#index = :value",
                ExpressionAttributeNames={"#index": index},
                ExpressionAttributeValues={":value": {"S": value}},
                Limit=max(1, min(limit or _PAGE, _PAGE)),
                **more,
            )
            for item in answer["Items"]:
                yield item["place"]["S"], _place(item)
            if not answer.get("LastEvaluatedKey"):
                return
            more["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


# Keys.


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _unchanged(revision: Item | None) -> Item:
    """The condition that an item is still as it was read: absent, or at that revision."""
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "revision = :old",
        "ExpressionAttributeValues": {":old": revision},
    }


def _expiry(expires: datetime | None) -> Item:
    return {} if expires is None else {TIME_TO_LIVE: {"N": str(int(expires.timestamp()))}}


def _listed(record: RunRecord) -> list[Key]:
    """Where a run is listed."""
    place = f"{_sortable(_micros(record.started))}#{record.key}"
    names = (f"R#{record.run.config}#{record.state}", f"R#{record.state}")
    return [(name, place) for name in dict.fromkeys(names)]


def _parts(item: Item) -> tuple[str, ...]:
    return tuple(item[name]["S"] for name in ("record", "made") if "S" in item.get(name, {}))


def _place(item: Item) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _run_key(key: str) -> Key:
    return f"RUN#{key[:_PREFIX]}", key or "-"


def _about(config: str, subject: str) -> str:
    return f"A#{config}#{_digest(subject)}"


def _taken(config: str, input: Input) -> str:
    return f"T#{config}#{_digest(json.dumps([input.key, input.version, input.size]))}"


def _product_key(key: str) -> str:
    return f"P#{_plain(key)}"


def _filed_under(kind: str, scale: int, stream: str) -> str:
    return f"S#{kind}#{scale}#{_plain(stream)}"


def _log(stream: str) -> str:
    return f"L#{_plain(stream)}"


def _on(shelf: int, name: str) -> str:
    return f"{shelf}#{name}"


def _numbered(shelf: int) -> str:
    return f"{shelf:09d}"


def _shelf_at(micros: int, unit: int) -> int:
    return (micros + _ZERO) // unit


def _scale(product: Product) -> int | None:
    if product.begin is None or product.end is None:
        return None
    length = _micros(product.end) - _micros(product.begin)
    return next((n for n in range(_SCALES) if length <= _length(n)), _SCALES)


def _time_key(product: Product) -> Key | None:
    """Where a product is filed by its time."""
    scale = _scale(product)
    if scale is None:
        return None
    begin = _micros(product.begin)
    name = _filed_under(product.kind, scale, product.datastream)
    place = f"{_sortable(begin)}#{_digest(product.key)}"
    return _on(_shelf_at(begin, _unit(scale)), name), place


def _unit(scale: int) -> int:
    """How much time goes on a shelf of a scale, µs: 64 of its longest, and a day at the least.

    Enough that a window seldom takes more than two, and few enough that none holds very many.
    """
    return max(_DAY, 64 * _length(scale))


def _length(scale: int) -> int:
    """The longest product of a scale, µs: a minute, 8, 64 (an hour), 8.5 h, 2.8 days, …"""
    return int(_MINUTE * 8**scale)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _plain(text: str) -> str:
    """``text`` as DynamoDB takes it: names that are not UTF-8 (never S3's) in hexadecimal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "\0" + text.encode("utf-8", "surrogatepass").hex()
    return text


# Times.


def _micros(moment: datetime | None) -> int:
    assert moment is not None
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


def _now_micros() -> int:
    return time.time_ns() // 1000


def _sortable(micros: int) -> str:
    return f"{micros + _ZERO:018d}"


def _started(record: RunRecord) -> tuple[datetime, str]:
    return record.started, record.key


def _product_name(product: Product) -> str:
    return product.key


def _begin_and_key(product: Product) -> tuple[datetime, str]:
    assert product.begin is not None
    return product.begin, product.key


# Cursors: the time from which to go on, and what was told since.


def _read_cursor(cursor: str) -> tuple[int, set[str]]:
    since, _, told = cursor.partition(":")
    return (int(since) if since else -_ZERO), set(told.split(",")) if told else set()


def _write_cursor(since: int, told: Sequence[str]) -> str:
    return f"{since}:{','.join(told)}"


def _short(place: str) -> str:
    """The random part of a change's key."""
    return place.split("#")[1][:10]


# Values.


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("ascii"), 6)


def _unpack(data: bytes) -> str:
    return zlib.decompress(data).decode("ascii")


def _unpack_product(item: Item) -> Product:
    try:
        return loads(Product, _unpack(item["product"]["B"]))
    except (ValueError, KeyError, zlib.error) as error:
        raise _damaged(item, error) from error


def _span(product: Product) -> Iterator[tuple[str, int, int]]:
    if product.kind == "data" and product.begin and product.end:
        yield product.datastream, _micros(product.begin), _micros(product.end)


def _grouped(units: Iterable[_Unit], room: int) -> Iterator[list[_Unit]]:
    """Units in groups whose writes, and one change a datastream, fit into ``room``."""
    group: list[_Unit] = []
    writes, streams = 0, set[str]()
    for unit in units:
        more = {span[0] for span in unit.spans}
        if group and writes + len(unit.writes) + len(streams | more) > room:
            yield group
            group, writes, streams = [], 0, set()
        group.append(unit)
        writes, streams = writes + len(unit.writes), streams | more
    if group:
        yield group


def _all_writes(group: Iterable[_Unit]) -> list[Item]:
    return [write for unit in group for write in unit.writes]


def _token() -> str:
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


def _pause(turn: int) -> None:
    """Longer each time, and never the same for two."""
    time.sleep(min(0.01 * 2**turn, 1.0) * (0.5 + secrets.randbelow(1000) / 1000))


def _contended(doing: str) -> StorageError:
    return StorageError(
        f"cannot {doing}", why="too many write to it at once", next="it is tried again"
    )


def _damaged(item: Item, error: object) -> LedgerError:
    return LedgerError(
        f"an item of the ledger cannot be read: {item.get('pk')}, {item.get('sk')}",
        why=str(error),
        next="restore the table from a backup (point-in-time recovery)",
    )
