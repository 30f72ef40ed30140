"""The keys of items, and on which shelf a product is filed by its time.

Each product is filed under the scale of its length, powers of eight minutes, and on the shelf of
its begin: a shelf is a fixed number of days of that scale. What overlaps a window begins before its
end, and after its begin minus one length of the scale. So one or two queries for each scale find
it, however long the history is and however long other products are.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from tidegate.runtime.ledger_rules import to_micros
from tidegate.runtime.runs import Input, Product, RunRecord
from tidegate.targets.aws.ledger.times import DAY, MINUTE, ZERO, sortable
from tidegate.targets.aws.ledger.values import Item

Key = tuple[str, str]
"""Partition key and sort key."""

TIME_TO_LIVE = "expires"
"""The attribute that DynamoDB's time to live is read from."""
PREFIX = 4
"""How many digits of a run's key name its partition."""
SHARDS = {"running": 4, "succeeded": 2}
"""Partitions of the list of all runs in a state; one for states that are not listed here. A
partition takes 1,000 write units a second. A run is put on the list of running runs and removed
again: that is four units. Then it is put on another list: that is two."""
SCALES = 12
"""Scales of products' lengths; longer ones have the last."""


def to_key(pk: str, sk: str) -> Item:
    """A key as DynamoDB takes it."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def key_of(item: Item) -> Key:
    """The key of an item."""
    return item["pk"]["S"], item["sk"]["S"]


def unchanged(revision: Item | None) -> Item:
    """The condition that an item is still as it was read: absent (None), or at that revision."""
    if revision is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "revision = :old",
        "ExpressionAttributeValues": {":old": revision},
    }


def expiry(expires: datetime | None) -> Item:
    """The attribute after which DynamoDB deletes an item; none for None."""
    return {} if expires is None else {TIME_TO_LIVE: {"N": str(int(expires.timestamp()))}}


# Runs.


def run_key(key: str) -> Key:
    """Where a run is."""
    return f"RUN#{key[:PREFIX]}", key or "-"


def list_keys(record: RunRecord) -> list[Key]:
    """Where a run is listed by its state.

    Running runs are few at any time, so they have no list by config, which saves writes.
    """
    place = f"{sortable(to_micros(record.started))}#{record.key}"
    shards = state_lists(record.state)
    everywhere = shards[int(record.key[:PREFIX], 16) % len(shards)]
    by_config = [f"R#{record.run.config}#{record.state}"] if record.state != "running" else []
    return [(name, place) for name in (*by_config, everywhere)]


def state_lists(state: str, config: str | None = None) -> list[str]:
    """The partitions that list the runs in a state: all runs, or if possible those of a config."""
    if config is not None and state != "running":
        return [f"R#{config}#{state}"]
    return [f"R#{state}" + (f"#{n}" if n else "") for n in range(SHARDS.get(state, 1))]


def subject_partition(config: str, subject: str) -> str:
    """Where the runs about a subject are listed."""
    return f"A#{config}#{digest(subject)}"


def taken_key(config: str, input: Input) -> Key:
    """Where the runs that took an input are noted."""
    return f"T#{config}#{digest(json.dumps([input.key, input.version, input.size]))}", "T"


# Products and changes.


def product_key(key: str) -> Key:
    """Where the present product of a key is."""
    return f"P#{plain(key)}", "P"


def time_key(product: Product) -> Key | None:
    """Where a product is filed by its time; None without times."""
    scale = scale_of(product)
    if scale is None or product.begin is None:
        return None
    begin = to_micros(product.begin)
    name = shelf_name(product.kind, scale, product.datastream)
    place = f"{sortable(begin)}#{digest(product.key)}"
    return on_shelf(shelf_at(begin, shelf_length(scale)), name), place


def shelf_name(kind: str, scale: int, stream: str) -> str:
    """The name of the shelves for products of one kind, scale and datastream."""
    return f"S#{kind}#{scale}#{plain(stream)}"


def changes_name(stream: str) -> str:
    """The name of the shelves for the changes of a datastream."""
    return f"L#{plain(stream)}"


def on_shelf(shelf: int, name: str) -> str:
    """The partition key of one shelf."""
    return f"{shelf}#{name}"


def shelf_number(shelf: int) -> str:
    """The number of a shelf as text that sorts."""
    return f"{shelf:09d}"


def shelf_at(micros: int, length: int) -> int:
    """The number of the shelf that a time is on, where each shelf has that length in µs."""
    return (micros + ZERO) // length


def scale_of(product: Product) -> int | None:
    """The scale of a product's length; None without times."""
    if product.begin is None or product.end is None:
        return None
    length = to_micros(product.end) - to_micros(product.begin)
    return next((n for n in range(SCALES) if length <= scale_length(n)), SCALES)


def scale_length(scale: int) -> int:
    """The longest product of a scale, µs: a minute, 8, 64 (an hour), 8.5 h, 2.8 days, …"""
    return int(MINUTE * 8**scale)


def shelf_length(scale: int) -> int:
    """How much time a shelf of that scale covers, µs: 64 of its longest products, at least a day.

    Long enough that a window seldom needs more than two shelves, and short enough that none holds
    very many products.
    """
    return max(DAY, 64 * scale_length(scale))


def digest(text: str) -> str:
    """A hash of text, short enough for keys."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def plain(text: str) -> str:
    """``text`` as DynamoDB takes it: names that are not UTF-8 (S3 has none) in hexadecimal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "\0" + text.encode("utf-8", "surrogatepass").hex()
    return text
