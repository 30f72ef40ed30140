"""Bind the ledger table to its output bucket; see ``runtime.binding``."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tidegate.runtime.binding import STATE, Judgement, judge, latest
from tidegate.targets.aws.clients import Clients, Missing, explained
from tidegate.targets.aws.ledger import DynamoLedger

MARKS = "tidegate/ledgers/"
"""The prefix in the bucket of the objects with the ids; branches may share a bucket."""


_AT_ONCE = 8


@dataclass(frozen=True)
class BucketSample:
    """What the latest products on record say about the bucket."""

    judgement: Judgement
    """How the ledger and the bucket belong together."""
    looked_for: int
    """How many products were looked for."""
    missing: tuple[str, ...]
    """The keys of those that are not in the bucket."""


def sample_bucket(table: str, bucket: str, clients: Clients) -> BucketSample:
    """As ``describe_bucket``; looks for each of the latest products, some twenty requests."""
    ledger = DynamoLedger(table, clients)
    keys = list(ledger.products_at(product.key for product in latest(ledger)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        there = list(pool.map(lambda key: _is_there(bucket, key, clients), keys))
    ids = ledger.state(STATE) or "", _read(table, bucket, clients)
    judgement = judge(*ids, recorded=bool(keys), present=any(there))
    missing = tuple(key for key, found in zip(keys, there) if not found)
    return BucketSample(judgement, len(keys), missing)


def describe_bucket(table: str, bucket: str, clients: Clients) -> Judgement:
    """How the ledger and the bucket belong together, by their ids and the latest products.

    Raises:
        StorageError, LedgerError: AWS does not answer, or denies it.
    """
    ledger = DynamoLedger(table, clients)
    now = ledger.products_at(product.key for product in latest(ledger))
    present = any(_is_there(bucket, key, clients) for key in now)
    ids = ledger.state(STATE) or "", _read(table, bucket, clients)
    return judge(*ids, recorded=bool(now), present=present)


def bind_bucket(table: str, bucket: str, clients: Clients) -> None:
    """Write the same id into the ledger and the bucket."""
    ledger = DynamoLedger(table, clients)
    id = ledger.state(STATE) or secrets.token_hex(8)
    with explained("write", clients.arn("s3", f"{bucket}/{MARKS}{table}")):
        clients.s3.put_object(Bucket=bucket, Key=MARKS + table, Body=id.encode())
    ledger.set_state(STATE, id)


def _is_there(bucket: str, key: str, clients: Clients) -> bool:
    """Whether there is an object, or a folder of objects, under that key."""
    with explained("look at", clients.arn("s3", f"{bucket}/{key}")):
        try:
            answer = clients.s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        except clients.s3.exceptions.NoSuchBucket:
            return False
    return bool(answer.get("Contents"))


def _read(table: str, bucket: str, clients: Clients) -> str:
    try:
        with explained("read", clients.arn("s3", f"{bucket}/{MARKS}{table}")):
            try:
                answer = clients.s3.get_object(Bucket=bucket, Key=MARKS + table)
            except clients.s3.exceptions.NoSuchBucket:
                return ""
            return str(answer["Body"].read(100).decode())
    except Missing:
        return ""
