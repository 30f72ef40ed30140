"""Recorded releases: what was deployed, from which commit, by whom, and when.

They are stored in the ledger table, in their own partition (``pk`` is ``RELEASE``, ``sk`` the id of
the release, which sorts by time), and are kept as long as the ledger. A release in progress holds a
lock on the branch, with a lease; a second one fails.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from tidegate.errors import LedgerError, TidegateError
from tidegate.runtime.records import dumps, loads
from tidegate.targets.aws.clients import Clients, ConditionFailed, code_of, explained

ReleaseState = Literal["building", "deploying", "deployed", "failed", "removed"]
"""removed: not a release but a teardown, after which nothing is deployed."""
LEASE = timedelta(hours=4)
"""A release that has not ended by then has died: builds are stopped after three hours."""
_PARTITION, _LOCK = "RELEASE", "RELEASING"
PARTITIONS = (_PARTITION, _LOCK)
"""The partitions of the ledger table that a release needs."""


class ReleaseInProgress(TidegateError):
    """Another release of this branch has not ended."""

    exit_code = 4


@dataclass(frozen=True)
class ReleasedImage:
    """The image of one pipeline in a release."""

    tag: str
    """Its content tag: a hash of everything in it."""
    digest: str
    """Its digest in the registry, ``sha256:…``."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Its inputs with their hashes, to find out what has changed since."""
    commit: str = ""
    """The first commit that produced it: later commits that do not change it use the same image."""


@dataclass(frozen=True)
class Release:
    """A set of images and configs from one commit, and its state."""

    id: str
    """The time and the commit: sorts by time."""
    commit: str
    """The commit of the pipelines repository; "" if it had none."""
    who: str
    """The ARN of the caller."""
    when: datetime
    """When it began."""
    state: ReleaseState = "building"
    """Its state."""
    images: Mapping[str, ReleasedImage] = field(default_factory=dict)
    """By pipeline."""
    config_hash: str = ""
    """A hash of the resolved config."""
    manifest: str = ""
    """The resolved config (``runtime.manifest``, JSON): a rollback deploys it again."""
    keys: str = ""
    """The AWS keys of the branch at that time, JSON."""
    tidegate: str = ""
    """The version of Tidegate that made it."""
    ended: datetime | None = None
    """When it ended."""
    error: str = ""
    """Why it failed, if it did."""
    of: str = ""
    """For a rollback, the release that it deploys again."""


class History:
    """The releases of one branch."""

    def __init__(self, table: str, clients: Clients) -> None:
        self.table, self._clients = table, clients

    def put(self, release: Release) -> None:
        """Record a release; replaces its earlier record."""
        text = zlib.compress(dumps(release).encode(), 9)
        item = {
            "pk": {"S": _PARTITION},
            "sk": {"S": release.id},
            "state": {"S": release.state},
            "release": {"B": text},
        }
        self._call("put_item", Item=item)

    def get(self, id: str) -> Release | None:
        """A release by its id."""
        key = {"pk": {"S": _PARTITION}, "sk": {"S": id}}
        item = self._call("get_item", Key=key, ConsistentRead=True).get("Item")
        return _release(item) if item else None

    def all(self) -> Iterator[Release]:
        """All releases, the latest first; none if the table does not exist yet."""
        start: dict[str, Any] = {}
        while True:
            try:
                page = self._call(
                    "query",
                    KeyConditionExpression="pk = :pk",
                    ExpressionAttributeValues={":pk": {"S": _PARTITION}},
                    ScanIndexForward=False,
                    ConsistentRead=True,
                    **start,
                )
            except LedgerError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return
                raise
            yield from map(_release, page["Items"])
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def last(self) -> Release | None:
        """The latest deployed release: what runs now. None after a teardown."""
        ends = (found for found in self.all() if found.state in ("deployed", "removed"))
        last = next(ends, None)
        return last if last is not None and last.state == "deployed" else None

    @contextmanager
    def releasing(self, release: Release) -> Iterator[None]:
        """Lock the branch during a release.

        Raises:
            ReleaseInProgress: another release has the lock.
        """
        key = {"pk": {"S": _LOCK}, "sk": {"S": _LOCK}}
        now = datetime.now(timezone.utc)
        holder = json.dumps({"id": release.id, "who": release.who})
        until = f"{now + LEASE:%Y-%m-%dT%H:%M:%SZ}"
        try:
            self._call(
                "put_item",
                Item={**key, "until": {"S": until}, "holder": {"S": holder}},
                ConditionExpression="attribute_not_exists(pk) OR #until < :now",
                ExpressionAttributeNames={"#until": "until"},
                ExpressionAttributeValues={":now": {"S": f"{now:%Y-%m-%dT%H:%M:%SZ}"}},
            )
        except ConditionFailed:
            raise self._busy(key) from None
        try:
            yield
        except BaseException:
            with suppress(TidegateError):  # the first error is more important
                self._unlock(key, holder)
            raise
        self._unlock(key, holder)

    def _unlock(self, key: Mapping[str, Any], holder: str) -> None:
        """Remove the lock, unless it has expired and another release has it now."""
        with suppress(ConditionFailed):
            self._call(
                "delete_item",
                Key=key,
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues={":holder": {"S": holder}},
            )

    def _busy(self, key: Mapping[str, Any]) -> ReleaseInProgress:
        item = self._call("get_item", Key=key, ConsistentRead=True).get("Item") or {}
        holder = json.loads(item.get("holder", {}).get("S", "{}"))
        return ReleaseInProgress(
            f"the release {holder.get('id', '')} of this branch is in progress",
            why=f"{holder.get('who', 'someone')} began it, and it has not ended",
            next="wait for it (`tidegate releases` shows it); if it has died, its lock expires at"
            f" {item.get('until', {}).get('S', 'once')}, or remove it now with --break-lock",
        )

    def break_lock(self) -> None:
        """Remove the lock of a release that has died."""
        self._call("delete_item", Key={"pk": {"S": _LOCK}, "sk": {"S": _LOCK}})

    def _call(self, name: str, **arguments: Any) -> Any:
        resource = self._clients.arn("dynamodb", f"table/{self.table}")
        with explained("use the recorded releases", resource, lasting=LedgerError):
            return getattr(self._clients.dynamodb, name)(TableName=self.table, **arguments)


def ended(release: Release, state: ReleaseState, error: str = "") -> Release:
    """The release with its final state."""
    return replace(release, state=state, ended=datetime.now(timezone.utc), error=error)


def _release(item: Mapping[str, Any]) -> Release:
    return loads(Release, zlib.decompress(item["release"]["B"]).decode())
