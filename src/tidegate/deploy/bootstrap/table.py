"""The ledger table: whether it is one, which settings it lacks, and how to add them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.errors import LedgerError
from tidegate.targets.aws.clients import Clients, code_of, explained
from tidegate.targets.aws.ledger import TIME_TO_LIVE, create_table, table_definition

_TRIES, _PAUSE = 30, 2.0


@dataclass(frozen=True)
class Table:
    """A table, which may not exist yet."""

    name: str
    """Its name."""
    place: Place
    """The account and region."""
    clients: Clients
    """The clients."""

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.place.arn("dynamodb", f"table/{self.name}")

    def describe(self) -> dict[str, Any] | None:
        """AWS's description; None if it does not exist."""
        try:
            found: dict[str, Any] = self.call("describe_table")["Table"]
        except LedgerError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return None
        return found

    def create(self, tags: Mapping[str, str]) -> None:
        """Create it, with those settings that are part of the request.

        It is encrypted with a key of AWS's own, which costs nothing. Source: DynamoDB Developer
        Guide, "DynamoDB encryption at rest".
        """
        create_table(
            self.name,
            self.clients,
            DeletionProtectionEnabled=True,
            Tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
        )

    def call(self, action: str, *passing: str, **arguments: Any) -> Any:
        """Send a request about it, again while the error has one of the codes in ``passing``."""
        for left in reversed(range(_TRIES)):
            try:
                with explained(_DOING.get(action, "change"), self.arn, lasting=LedgerError):
                    return getattr(self.clients.dynamodb, action)(TableName=self.name, **arguments)
            except LedgerError as error:
                if code_of(error) not in passing or not left:
                    raise
            time.sleep(_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    def wait(self) -> None:
        """Wait until no change is in progress."""
        with explained("wait for the table", self.arn, lasting=LedgerError):
            self.clients.dynamodb.get_waiter("table_exists").wait(
                TableName=self.name, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
            )


_DOING = {
    "describe_table": "look for the table",
    "describe_continuous_backups": "read the settings of the table",
    "describe_time_to_live": "read the settings of the table",
}


def describe_difference(found: Mapping[str, Any]) -> str:
    """How a table differs from a ledger of this version; "" if it does not."""
    wanted = table_definition()
    if _keys(found) != _keys(wanted):
        return f"its keys are {_keys(found)}, not {_keys(wanted)}"
    there = {i["IndexName"]: _keys(i) for i in found.get("GlobalSecondaryIndexes") or ()}
    for index in wanted["GlobalSecondaryIndexes"]:
        if there.get(index["IndexName"]) != _keys(index):
            return f"it has no index {index['IndexName']} by {_keys(index)}"
    return ""


def _keys(holder: Mapping[str, Any]) -> str:
    kinds = {key["KeyType"]: key["AttributeName"] for key in holder["KeySchema"]}
    return " and ".join(kinds[kind] for kind in ("HASH", "RANGE") if kind in kinds)


@dataclass(frozen=True)
class Wanted:
    """A setting that the table should have."""

    text: str
    """What it does, in words."""
    lacks: Callable[[Table, Mapping[str, Any]], bool]
    """Whether the table lacks it, given AWS's description."""
    add: Callable[[Table], None]
    """Adds it."""


def _lacks_backups(table: Table, found: Mapping[str, Any]) -> bool:
    answer = table.call("describe_continuous_backups")["ContinuousBackupsDescription"]
    state = answer.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    return bool(state != "ENABLED")


def _add_backups(table: Table) -> None:
    on = {"PointInTimeRecoveryEnabled": True}
    # A new table cannot be backed up for some seconds.
    table.call(
        "update_continuous_backups",
        "ContinuousBackupsUnavailableException",
        PointInTimeRecoverySpecification=on,
    )


def _lacks_protection(table: Table, found: Mapping[str, Any]) -> bool:
    return not found.get("DeletionProtectionEnabled")


def _add_protection(table: Table) -> None:
    table.call("update_table", "ResourceInUseException", DeletionProtectionEnabled=True)
    table.wait()


def _lacks_expiry(table: Table, found: Mapping[str, Any]) -> bool:
    answer = table.call("describe_time_to_live")["TimeToLiveDescription"]
    return answer.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING")


def _add_expiry(table: Table) -> None:
    table.call(
        "update_time_to_live",
        "ResourceInUseException",
        TimeToLiveSpecification={"Enabled": True, "AttributeName": TIME_TO_LIVE},
    )


SETTINGS: Mapping[str, Wanted] = {
    "backups": Wanted(
        "it can be restored to any second of the last 35 days, for about $0.20 a GB and month",
        _lacks_backups,
        _add_backups,
    ),
    "protected": Wanted("it cannot be deleted by mistake", _lacks_protection, _add_protection),
    "expiry": Wanted("expired records are deleted", _lacks_expiry, _add_expiry),
}
"""All settings, in the order in which they are added."""
