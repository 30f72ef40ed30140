"""The item of a run, and the lists that it is on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.runtime.ledger_rules import from_micros, to_micros
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import FINISHED, RunRecord
from tidegate.targets.aws.clients import Missing
from tidegate.targets.aws.ledger.keys import (
    Key,
    expiry,
    list_keys,
    run_key,
    to_key,
    unchanged,
)
from tidegate.targets.aws.ledger.long_values import LongValues
from tidegate.targets.aws.ledger.table import ROUNDS, Table
from tidegate.targets.aws.ledger.values import Item, damaged

_LONGEST = 150_000
"""Bytes of a value that is stored in the item of the run itself."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it is on record."""

    record: RunRecord
    """Its record."""
    revision: str
    """Changes with each write."""
    lease: datetime | None
    """Until when it belongs to its owner."""
    made: tuple[str, ...]
    """Keys of all products that it has made and that may still exist."""
    sure: bool
    """Whether its inputs were noted as taken in the same transaction as its first claim."""
    parts: tuple[str, ...] = ()
    """Addresses of its values that did not fit into its item."""


class RunItems:
    """Reads and writes items of runs; ``keep_runs`` is how long ended ones are kept, None: ever."""

    def __init__(self, table: Table, values: LongValues, keep_runs: timedelta | None) -> None:
        self._table = table
        self._values = values
        self._keep_runs = keep_runs

    def read(self, key: str) -> StoredRun | None:
        """The run with that key."""
        item = self._table.item(*run_key(key))
        return None if item is None else self._unpack(item)

    def read_many(self, keys: Sequence[Key]) -> dict[Key, StoredRun]:
        """The runs that exist at those keys of items."""
        return {key: self._unpack(item) for key, item in self._table.items(keys).items()}

    def read_prefix(self, prefix: str) -> list[StoredRun]:
        """The runs whose keys begin so: at least as many digits as name a partition."""
        items = self._table.query(run_key(prefix)[0], starts=prefix)
        return [self._unpack(item) for item in items]

    def put(self, after: StoredRun, before: StoredRun | None) -> Item:
        """The write of a run, on condition that it is unchanged since it was read, or new."""
        record, expires = after.record, self._expires(after)
        item = {
            **to_key(*run_key(record.key)),
            "state": {"S": record.state},
            "revision": {"S": after.revision},
            "record": self._values.store(dumps(record), _LONGEST, expires),
        }
        if after.lease is not None:
            item["lease"] = {"N": str(to_micros(after.lease))}
        if after.made:
            item["made"] = self._values.store(json.dumps(after.made), _LONGEST, expires)
        if after.sure:
            item["sure"] = {"BOOL": True}
        item.update(expiry(expires))
        revision = None if before is None else {"S": before.revision}
        return self._table.put(item, **unchanged(revision))

    def move_in_lists(self, after: StoredRun, before: StoredRun | None) -> list[Item]:
        """The writes that list a run under its state, and no longer under the one it had."""
        old = [] if before is None else list_keys(before.record)
        new = list_keys(after.record)
        expires = expiry(self._expires(after))
        gone = [self._table.delete(to_key(*key)) for key in old if key not in new]
        if not gone and old and not expires:
            return []
        return gone + [self._table.put({**to_key(*key), **expires}) for key in new]

    def check(self, run: StoredRun) -> Item:
        """The condition, as a part of a transaction, that a run is unchanged."""
        key = to_key(*run_key(run.record.key))
        condition = unchanged({"S": run.revision})
        return {"ConditionCheck": {"TableName": self._table.name, "Key": key, **condition}}

    def _expires(self, run: StoredRun) -> datetime | None:
        record = run.record
        if not self._keep_runs or not run.sure or record.state not in FINISHED:
            return None
        return (record.finished or record.started) + self._keep_runs

    def _unpack(self, item: Item) -> StoredRun:
        for _ in range(ROUNDS):
            try:
                record = loads(RunRecord, self._values.read(item["record"]))
                made = json.loads(self._values.read(item["made"])) if "made" in item else ()
            except Missing:  # its parts were replaced since the item was read
                fresh = self._table.item(item["pk"]["S"], item["sk"]["S"])
                if fresh is None:
                    break
                item = fresh
                continue
            except (ValueError, zlib.error) as error:
                raise damaged(item, error) from error
            lease = from_micros(int(item["lease"]["N"])) if "lease" in item else None
            revision, sure = item["revision"]["S"], "sure" in item
            return StoredRun(record, revision, lease, tuple(made), sure, parts_of(item))
        raise damaged(item, "its parts are missing")


def parts_of(item: Item) -> tuple[str, ...]:
    """Addresses of the values of a run that did not fit into its item."""
    return tuple(item[name]["S"] for name in ("record", "made") if "S" in item.get(name, {}))
