"""Buckets and the ledger table: how much is in them, who uses them, and how they are deleted.

No deployment calls this module. Data is only deleted if a person names its bucket or table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.deploy.core.branch import Branch
from tidegate.deploy.resources.base import FoundResource, is_gone
from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.clients import Clients, Missing, explained

MOST = 1000
"""The versions of objects in a bucket are counted up to this number."""
_CUT = 20
# CloudFormation keeps at least this much of a logical id in the name of a bucket.
_SHARED = ("TSDAT_S3_BUCKET_NAME", "TIDEGATE_INPUT_BUCKET")

ARTIFACTS = "artifacts bucket"
"""The role of the bucket of templates and sources: everything in it can be made again."""
LEDGER = "ledger table"
"""The role of the table."""

Count = Callable[[int], None]


@dataclass(frozen=True)
class Store:
    """A bucket or a table."""

    kind: Literal["bucket", "table"]
    """Whether it is a bucket or a table."""
    name: str
    """Its name."""
    role: str
    """What it is used for, in words."""
    exists: bool
    """Whether it exists."""
    items: int = 0
    """How many versions of objects, or records, are in it."""
    more: bool = False
    """Whether there may be more: they were counted up to a limit, or some time ago."""
    users: tuple[str, ...] = ()
    """The other branches that use it."""

    @property
    def contents(self) -> str:
        """What is in it, in words."""
        if not self.exists:
            return "does not exist"
        what = "object" if self.kind == "bucket" else "record"
        if not self.items:
            return "some records" if self.more else "empty"
        return quantity(self.items, what) + (" and more" if self.more else "")


def older_buckets(branch: Branch) -> list[str]:
    """The artifact buckets that the older recipe's stacks have left behind.

    CloudFormation named them after the stack, whose name it truncated; the rest must still identify
    the branch.
    """
    stack, least = branch.names.codepipeline_stack.lower(), len(branch.names.base) + 2
    logical = re.sub(r"[^a-z0-9]", "", f"{branch.names.base}buildpipeline".lower())[:_CUT]
    with explained("list the buckets"):
        listed = [str(b["Name"]) for b in branch.clients.s3.list_buckets().get("Buckets", ())]
    found = ((n, re.fullmatch(rf"(.+)-{logical}[a-z0-9]*-[a-z0-9]{{8,14}}", n)) for n in listed)
    return [n for n, m in found if m and len(m[1]) >= least and stack.startswith(m[1])]


def describe_bucket(clients: Clients, name: str, role: str, users: Iterable[str] = ()) -> Store:
    """A bucket, and how much is in it; old versions and delete markers count as data."""
    try:
        with explained("count the objects of the bucket", clients.arn("s3", name)):
            page = clients.s3.list_object_versions(Bucket=name, MaxKeys=MOST)
    except (Missing, StorageError) as error:
        if is_gone(error):
            return Store("bucket", name, role, False)
        raise
    count = len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))
    return Store("bucket", name, role, True, count, bool(page.get("IsTruncated")), tuple(users))


def describe_table(clients: Clients, name: str, role: str) -> Store:
    """The ledger table. AWS only counts its records every six hours, so 0 may mean some."""
    try:
        with explained("describe the table", name, lasting=LedgerError):
            found = clients.dynamodb.describe_table(TableName=name)["Table"]
    except LedgerError as error:
        if is_gone(error):
            return Store("table", name, role, False)
        raise
    return Store("table", name, role, True, int(found.get("ItemCount", 0)), more=True)


def users(
    branch: Branch, name: str, functions: Iterable[FoundResource], ours: set[str]
) -> tuple[str, ...]:
    """The other branches that use a bucket, according to the config and to existing functions.

    A branch that is not in ``branches:`` has the top-level keys; of those only ``main`` counts. A
    function without a branch is listed itself.
    """
    found: set[str] = set()
    model = branch.reading.model
    if model is not None:
        known = {"main", *(model.branches or {})} - {branch.name}
        for other in known:
            keys = model.for_branch(other)
            if name in (keys.input_bucket_name, keys.output_bucket_name):
                found.add(other)
    for seen in functions:
        if seen.name not in ours and name in (seen.settings.get(key) for key in _SHARED):
            found.add(seen.settings.get("BRANCH") or seen.name)
    return tuple(sorted(found - {branch.name}))


def delete_bucket(clients: Clients, name: str, count: Count) -> None:
    """Delete a bucket with everything in it, old versions too; continues an interrupted deletion.

    Raises:
        StorageError: something in it cannot be deleted.
    """
    try:
        empty_bucket(clients, name, count)
        with explained("delete the bucket", clients.arn("s3", name)):
            clients.s3.delete_bucket(Bucket=name)
    except (Missing, StorageError) as error:
        if not is_gone(error):
            raise


def empty_bucket(clients: Clients, name: str, count: Count) -> None:
    """Delete everything in a bucket, old versions and unfinished uploads too."""
    arn = clients.arn("s3", f"{name}/*")
    with explained("list the bucket", arn):
        for keys in _versions(clients, name):
            with explained("delete from the bucket", arn):
                answer = clients.s3.delete_objects(
                    Bucket=name, Delete={"Objects": keys, "Quiet": True}
                )
            errors = answer.get("Errors", ())
            if errors:
                first = errors[0]
                raise StorageError(
                    f"cannot delete {quantity(len(errors), 'object')} of {name}",
                    why=f"{first.get('Key')}: {first.get('Code')}: {first.get('Message')}",
                    next="allow s3:DeleteObject and s3:DeleteObjectVersion, or remove the lock on"
                    " these objects; then run this again: it continues from here",
                )
            count(len(keys))
        for upload in _uploads(clients, name):
            with explained("abort an upload to the bucket", arn):
                clients.s3.abort_multipart_upload(
                    Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"]
                )


def _versions(clients: Clients, name: str) -> Iterator[list[Any]]:
    """Keys and versions, a page at a time; deleted ones are no longer listed."""
    pages = clients.s3.get_paginator("list_object_versions").paginate(Bucket=name)
    for page in pages:
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if entries:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in entries]


def _uploads(clients: Clients, name: str) -> Iterator[Any]:
    for page in clients.s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        yield from page.get("Uploads", ())


def delete_table(clients: Clients, name: str) -> None:
    """Delete a table, protected from deletion or not, and wait until it no longer exists."""
    try:
        with explained("delete the table", name, lasting=LedgerError):
            found = clients.dynamodb.describe_table(TableName=name)["Table"]
            if found.get("DeletionProtectionEnabled"):
                clients.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
                clients.dynamodb.get_waiter("table_exists").wait(
                    TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
                )
            clients.dynamodb.delete_table(TableName=name)
            clients.dynamodb.get_waiter("table_not_exists").wait(
                TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
            )
    except LedgerError as error:
        if not is_gone(error):
            raise
