"""The table: its definition, and requests to it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tidegate.errors import LedgerError, StorageError
from tidegate.targets.aws.clients import Clients, ConditionFailed, cancelled_in_passing, explained
from tidegate.targets.aws.ledger.keys import Key, key_of, to_key
from tidegate.targets.aws.ledger.values import Item

BY_DATASTREAM, BY_CONFIG = "one", "two"
"""The attributes that the two indexes of products are sorted by."""
READ_AT_ONCE = 100
"""Items that DynamoDB reads in one request."""
WRITTEN_AT_ONCE = 100
"""Items that DynamoDB writes in one transaction."""
QUERIES_AT_ONCE = 8
"""Requests that are made at the same time."""
ROUNDS = 12
"""How often a write is tried while others write to the same items."""
TRIES = 6
"""How often a write is sent that DynamoDB cancels for a reason that passes."""
PAGE = 200
"""Items of an index or a list that are read in one request."""


def table_definition() -> dict[str, Any]:
    """The table as CloudFormation and ``create_table`` take it, without name and tags.

    Its time to live is read from the attribute ``expires``.
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


def create_table(name: str, clients: Clients, **more: Any) -> None:
    """Create the table and wait until it exists; ``more`` is passed on to AWS.

    Raises:
        LedgerError: AWS refuses it.
        StorageError: AWS cannot be reached, or is busy.
    """
    with explained("create the table", name, lasting=LedgerError):
        clients.dynamodb.create_table(TableName=name, **table_definition(), **more)
        clients.dynamodb.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )


def _schema(hash: str, range: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": hash, "KeyType": "HASH"},
        {"AttributeName": range, "KeyType": "RANGE"},
    ]


class Table:
    """One table; safe to use from several threads.

    Raises:
        StorageError: a temporary reason; what was asked for may or may not have been done.
        LedgerError: the table or a permission is missing.
    """

    def __init__(self, name: str, clients: Clients) -> None:
        self.name = name
        self._clients = clients

    def call(self, name: str, **arguments: Any) -> Any:
        """One request to DynamoDB; ``name`` is that of the method of its client."""
        resource = self._clients.arn("dynamodb", f"table/{self.name}")
        doing = "read" if name in ("query", "get_item", "batch_get_item") else "write"
        with explained(f"{doing} the ledger", resource, lasting=LedgerError):
            return getattr(self._clients.dynamodb, name)(**arguments)

    def transact(self, writes: Sequence[Item]) -> None:
        """Write all of them or none; raises ConditionFailed when one condition does not hold.

        What DynamoDB cancels for throttling, or for another write at that moment, is sent again.
        """
        turn = 1
        while True:
            try:
                return self._send(writes)
            except (ConditionFailed, StorageError) as error:
                if turn == TRIES or not cancelled_in_passing(error):
                    raise
            turn += 1
            pause(turn)

    def _send(self, writes: Sequence[Item]) -> None:
        if len(writes) == 1 and "Put" in writes[0]:  # half the cost
            self.call("put_item", **writes[0]["Put"])
        elif len(writes) == 1 and "Update" in writes[0]:
            self.call("update_item", **writes[0]["Update"])
        else:
            self.call("transact_write_items", TransactItems=list(writes))

    def write_surely(self, writes: Sequence[Item]) -> None:
        """Write items without conditions, also while others write to the same items."""
        for turn in range(ROUNDS):
            try:
                return self.transact(writes)
            except ConditionFailed:
                pause(turn)
        raise contended("write to the ledger")

    def put(self, item: Item, **condition: Any) -> Item:
        """The write that stores an item, for ``transact``."""
        return {"Put": {"TableName": self.name, "Item": item, **condition}}

    def delete(self, key: Item, **condition: Any) -> Item:
        """The write that deletes an item, for ``transact``."""
        return {"Delete": {"TableName": self.name, "Key": key, **condition}}

    def update(
        self, key: Item, expression: str, values: Item, names: Mapping[str, str] | None = None
    ) -> Item:
        """The write that changes an item, for ``transact``."""
        update: Item = {
            "TableName": self.name,
            "Key": key,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
        }
        if names:
            update["ExpressionAttributeNames"] = dict(names)
        return {"Update": update}

    def item(self, pk: str, sk: str) -> Item | None:
        """The item of that key, read consistently."""
        answer = self.call("get_item", TableName=self.name, Key=to_key(pk, sk), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def items(self, keys: Sequence[Key], only: Sequence[str] = ()) -> dict[Key, Item]:
        """The items that exist of those keys: a hundred a request, several requests at once."""
        batches = [keys[n : n + READ_AT_ONCE] for n in range(0, len(keys), READ_AT_ONCE)]
        found: dict[Key, Item] = {}
        if len(batches) <= 1:
            answers: Iterable[list[Item]] = (self._batch(batch, only) for batch in batches)
            found.update({key_of(item): item for items in answers for item in items})
            return found
        with ThreadPoolExecutor(min(QUERIES_AT_ONCE, len(batches))) as pool:
            for items in pool.map(lambda batch: self._batch(batch, only), batches):
                found.update({key_of(item): item for item in items})
        return found

    def _batch(self, keys: Sequence[Key], only: Sequence[str]) -> list[Item]:
        wanted: Item = {
            "Keys": [to_key(*key) for key in dict.fromkeys(keys)],
            "ConsistentRead": True,
        }
        if only:
            names = {f"#{n}": name for n, name in enumerate(("pk", "sk", *only))}
            wanted["ProjectionExpression"] = ", ".join(names)
            wanted["ExpressionAttributeNames"] = names
        found: list[Item] = []
        for turn in range(ROUNDS):
            answer = self.call("batch_get_item", RequestItems={self.name: wanted})
            found += answer["Responses"].get(self.name, [])
            left = answer.get("UnprocessedKeys", {}).get(self.name)
            if not left:
                return found
            wanted = left
            pause(turn)
        raise StorageError(
            "cannot read the ledger", why="DynamoDB throttles", next="Tidegate tries again"
        )

    def query(
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
            answer = self.call(
                "query",
                TableName=self.name,
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

    def index(self, index: str, value: str, limit: int | None) -> Iterator[tuple[str, Key]]:
        """Names and keys of products from one partition of an index, in order."""
        more: Item = {}
        while True:
            answer = self.call(
                "query",
                TableName=self.name,
                IndexName=f"by-{index}",
                KeyConditionExpression="#index = :value",
                ExpressionAttributeNames={"#index": index},
                ExpressionAttributeValues={":value": {"S": value}},
                Limit=max(1, min(limit or PAGE, PAGE)),
                **more,
            )
            for item in answer["Items"]:
                yield item["place"]["S"], key_of(item)
            if not answer.get("LastEvaluatedKey"):
                return
            more["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def pause(turn: int) -> None:
    """Wait before another try: longer each time, and never equally long for two writers."""
    time.sleep(min(0.01 * 2**turn, 1.0) * (0.5 + secrets.randbelow(1000) / 1000))


def contended(doing: str) -> StorageError:
    """The error for a write that failed in every round."""
    return StorageError(
        f"cannot {doing}", why="too many write to it at once", next="Tidegate tries again"
    )
