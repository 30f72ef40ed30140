"""Small durable values by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from tidegate.targets.aws.clients import ConditionFailed, Missing
from tidegate.targets.aws.ledger.keys import expiry, plain, to_key
from tidegate.targets.aws.ledger.long_values import PART, LongValues
from tidegate.targets.aws.ledger.table import ROUNDS, Table, contended, pause
from tidegate.targets.aws.ledger.values import Item


class StateValues:
    """Values by name."""

    def __init__(self, table: Table, values: LongValues) -> None:
        self._table = table
        self._values = values

    def read(self, name: str) -> str | None:
        """The value of that name, if there is one."""
        return self._value(self._stored(name))

    def write(self, name: str, value: str, keep: timedelta | None) -> None:
        """Store a value; DynamoDB may delete it after ``keep``."""
        expires = None if keep is None else datetime.now(timezone.utc) + keep
        self._table.write_surely([self._table.put(self._item(name, value, expires))])

    def change(self, name: str, change: Callable[[str | None], str]) -> None:
        """See ``Ledger.change_state``: a write on condition that the value is as it was read."""
        for turn in range(ROUNDS):
            before = self._stored(name)
            condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
            if before is not None:
                condition = {
                    "ConditionExpression": "#value = :before",
                    "ExpressionAttributeNames": {"#value": "value"},
                    "ExpressionAttributeValues": {":before": before["value"]},
                }
            try:
                after = self._item(name, change(self._value(before)), None)
                return self._table.transact([self._table.put(after, **condition)])
            except (ConditionFailed, Missing):  # somebody else has changed it since it was read
                pause(turn)
        raise contended(f"change {name} in the ledger")

    def _stored(self, name: str) -> Item | None:
        return self._table.item(f"STATE#{plain(name)}", "STATE")

    def _value(self, item: Item | None) -> str | None:
        return None if item is None else str(json.loads(self._values.read(item["value"])))

    def _item(self, name: str, value: str, expires: datetime | None) -> Item:
        return {
            **to_key(f"STATE#{plain(name)}", "STATE"),
            "value": self._values.store(json.dumps(value), PART, expires),
            **expiry(expires),
        }
