"""Small durable values by name."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from tidegate.targets.aws.ledger.keys import expiry, plain, to_key
from tidegate.targets.aws.ledger.long_values import PART, LongValues
from tidegate.targets.aws.ledger.table import Table
from tidegate.targets.aws.ledger.values import Item


class StateValues:
    """Values by name."""

    def __init__(self, table: Table, values: LongValues) -> None:
        self._table = table
        self._values = values

    def read(self, name: str) -> str | None:
        """The value of that name, if there is one."""
        item = self._table.item(f"STATE#{plain(name)}", "STATE")
        return None if item is None else str(json.loads(self._values.read(item["value"])))

    def write(self, name: str, value: str, keep: timedelta | None) -> None:
        """Store a value; DynamoDB may delete it after ``keep``."""
        expires = None if keep is None else datetime.now(timezone.utc) + keep
        item: Item = {
            **to_key(f"STATE#{plain(name)}", "STATE"),
            "value": self._values.store(json.dumps(value), PART, expires),
            **expiry(expires),
        }
        self._table.write_surely([self._table.put(item)])
