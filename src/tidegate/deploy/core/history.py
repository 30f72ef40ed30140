"""Releases on record: what was deployed, of which commit, by whom, and when.

They lie in the ledger's table, under a partition of their own (``pk`` is ``RELEASE``, ``sk`` the
release's id, which sorts by time), so they last as long as the ledger does. A release in progress
holds a lease on the branch: a second one is told so instead of building beside it.
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
"""removed: not a release, but the end of all: nothing is deployed after it."""
LEASE = timedelta(hours=4)
"""A release that has not ended by then has died: builds are stopped after three hours."""
_PARTITION, _LOCK = "RELEASE", "RELEASING"
PARTITIONS = (_PARTITION, _LOCK)
"""Of the ledger's table, what a release needs."""


class ReleaseInProgress(TidegateError):
    """Another release of this branch has not ended."""

    exit_code = 4


@dataclass(frozen=True)
class ReleasedImage:
    """The image of one pipeline in a release."""

    tag: str
    """Its content tag: a hash of all that goes into it."""
    digest: str
    """``sha256:…``, as the registry knows it."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What went into it, each with its hash: to tell what has changed since."""
    commit: str = ""
    """The commit that first gave it: later ones that change nothing in it leave it alone."""


@dataclass(frozen=True)
class Release:
    """A set of images and configs from one commit, and what became of it."""

    id: str
    """The time and the commit: sorts by time."""
    commit: str
    """The commit of the pipelines repository; "" where it was none."""
    who: str
    """Who asked for it: the ARN of the caller."""
    when: datetime
    """When it began."""
    state: ReleaseState = "building"
    """How far it has come."""
    images: Mapping[str, ReleasedImage] = field(default_factory=dict)
    """By pipeline."""
    config_hash: str = ""
    """A hash of the resolved config."""
    manifest: str = ""
    """The resolved config itself (``runtime.manifest``, JSON): a rollback deploys it again."""
    keys: str = ""
    """The keys for AWS as they were for the branch, JSON."""
    tidegate: str = ""
    """The version of Tidegate that made it."""
    ended: datetime | None = None
    """When it ended."""
    error: str = ""
    """What went wrong, when something did."""
    of: str = ""
    """For a rollback, the release that it goes back to."""


class History:
    """The releases of one branch."""

    def __init__(self, table: str, clients: Clients) -> None:
        self.table, self._clients = table, clients

    def put(self, release: Release) -> None:
        """Put a release on record, in place of what was there of it."""
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
        """All releases, the latest first; none where there is no table yet."""
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
        """The latest release that was deployed: what runs now. None after a removal."""
        ends = (found for found in self.all() if found.state in ("deployed", "removed"))
        last = next(ends, None)
        return last if last is not None and last.state == "deployed" else None

    @contextmanager
    def releasing(self, release: Release) -> Iterator[None]:
        """Hold the branch while a release goes on.

        Raises:
            ReleaseInProgress: another one holds it.
        """
        key = {"pk": {"S": _LOCK}, "sk": {"S": _LOCK}}
        now = datetime.now(timezone.utc)
        told = json.dumps({"id": release.id, "who": release.who})
        until = f"{now + LEASE:%Y-%m-%dT%H:%M:%SZ}"
        try:
            self._call(
                "put_item",
                Item={**key, "until": {"S": until}, "holder": {"S": told}},
                ConditionExpression="attribute_not_exists(pk) OR #until < :now",
                ExpressionAttributeNames={"#until": "until"},
                ExpressionAttributeValues={":now": {"S": f"{now:%Y-%m-%dT%H:%M:%SZ}"}},
            )
        except ConditionFailed:
            raise self._busy(key) from None
        try:
            yield
        except BaseException:
            with suppress(TidegateError):  # what has happened matters more than the hold
                self._let_go(key, told)
            raise
        self._let_go(key, told)

    def _let_go(self, key: Mapping[str, Any], told: str) -> None:
        """End a hold, unless it has run out and another has begun since."""
        with suppress(ConditionFailed):
            self._call(
                "delete_item",
                Key=key,
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues={":holder": {"S": told}},
            )

    def _busy(self, key: Mapping[str, Any]) -> ReleaseInProgress:
        item = self._call("get_item", Key=key, ConsistentRead=True).get("Item") or {}
        holder = json.loads(item.get("holder", {}).get("S", "{}"))
        return ReleaseInProgress(
            f"the release {holder.get('id', '')} of this branch is going on",
            why=f"{holder.get('who', 'someone')} began it, and it has not ended",
            next="wait for it (`tidegate releases` shows it); if it has died, its hold ends by"
            f" itself at {item.get('until', {}).get('S', 'once')}, or now with --break-lock",
        )

    def break_lock(self) -> None:
        """End the hold of a release that has died."""
        self._call("delete_item", Key={"pk": {"S": _LOCK}, "sk": {"S": _LOCK}})

    def _call(self, name: str, **arguments: Any) -> Any:
        resource = f"arn:aws:dynamodb:*:*:table/{self.table}"
        with explained("use the record of releases", resource, lasting=LedgerError):
            return getattr(self._clients.dynamodb, name)(TableName=self.table, **arguments)


def ended(release: Release, state: ReleaseState, error: str = "") -> Release:
    """The release as it ended."""
    return replace(release, state=state, ended=datetime.now(timezone.utc), error=error)


def _release(item: Mapping[str, Any]) -> Release:
    return loads(Release, zlib.decompress(item["release"]["B"]).decode())
