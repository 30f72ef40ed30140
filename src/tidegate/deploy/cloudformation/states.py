"""The state of a CloudFormation stack, and its events; pure.

Source: AWS CloudFormation user guide, *Stack status codes* and *Understand CloudFormation stack
creation events*, and API reference, ``Stack`` and ``StackEvent``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from tidegate.deploy.resources.registry import label_of, shown_name
from tidegate.runtime.records import check_aware, utc

Condition = Literal["missing", "ready", "busy", "failed", "stuck"]
"""missing: there is none, or only the empty stack that a plan creates. ready: it can be updated.
busy: an operation is in progress. failed: its creation or deletion failed, and it can only be
deleted. stuck: its rollback failed, and must be continued first."""

STACK = "AWS::CloudFormation::Stack"
TOKEN = "tidegate"
"""The prefix of the tokens of Tidegate's own operations."""

_READY = {
    "CREATE_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
}
_FAILED = {"CREATE_FAILED", "DELETE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_SHELL = "REVIEW_IN_PROGRESS"
_RUNNING = {
    "CREATE_IN_PROGRESS": "is being created",
    "DELETE_IN_PROGRESS": "is being deleted",
    "IMPORT_IN_PROGRESS": "is importing resources",
    "IMPORT_ROLLBACK_IN_PROGRESS": "is rolling back an import of resources",
    "ROLLBACK_IN_PROGRESS": "is being deleted again, because its creation failed",
    "UPDATE_IN_PROGRESS": "is being updated",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "is updated, and deletes what is no longer needed",
    "UPDATE_ROLLBACK_IN_PROGRESS": "is being rolled back, because an update failed",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "is rolled back, and cleans up",
}
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
_SETTLED = {
    "": "does not exist",
    "CREATE_COMPLETE": "is created",
    "CREATE_FAILED": "could not be created, and some of its resources still exist",
    "DELETE_COMPLETE": "is deleted",
    "DELETE_FAILED": "could not be deleted completely",
    "IMPORT_ROLLBACK_COMPLETE": "is unchanged, because an import of resources failed",
    "IMPORT_ROLLBACK_FAILED": "could not be rolled back after a failed import",
    "ROLLBACK_COMPLETE": "could not be created; its resources were deleted again",
    "ROLLBACK_FAILED": "could not be created, and some of its resources could not be deleted again",
    "UPDATE_COMPLETE": "is updated",
    "UPDATE_FAILED": "could not be updated, and is a mix of old and new resources",
    "UPDATE_ROLLBACK_COMPLETE": "is unchanged, because its last update failed",
    "UPDATE_ROLLBACK_FAILED": "could not be updated, and could not be rolled back",
    _SHELL: "is empty: a plan created its name, and was not executed",
}
_EVENTS = {
    "CREATE_COMPLETE": "created",
    "CREATE_FAILED": "could not be created",
    "CREATE_IN_PROGRESS": "being created",
    "DELETE_COMPLETE": "deleted",
    "DELETE_FAILED": "could not be deleted",
    "DELETE_IN_PROGRESS": "being deleted",
    "DELETE_SKIPPED": "kept",
    "ROLLBACK_COMPLETE": "deleted again",
    "ROLLBACK_IN_PROGRESS": "being deleted again",
    "UPDATE_COMPLETE": "updated",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "updated; deleting what is no longer needed",
    "UPDATE_FAILED": "could not be updated",
    "UPDATE_IN_PROGRESS": "being updated",
    "UPDATE_ROLLBACK_COMPLETE": "rolled back",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "rolled back; cleaning up",
    "UPDATE_ROLLBACK_FAILED": "could not be rolled back",
    "UPDATE_ROLLBACK_IN_PROGRESS": "being rolled back",
}


@dataclass(frozen=True)
class Event:
    """An event of a resource of a stack, or of the stack itself."""

    id: str
    """Its id."""
    when: datetime
    """When it happened."""
    logical: str
    """The logical id of the resource; of the stack itself, its name."""
    type: str
    """The type of the resource."""
    status: str
    """What happened, such as ``CREATE_IN_PROGRESS``."""
    reason: str = ""
    """AWS's reason."""
    physical: str = ""
    """The physical id of the resource; "" before it has one."""
    token: str = ""
    """The token of its operation."""
    config: str = ""
    """The id of the config that the resource belongs to."""
    name: str = ""
    """The name of the resource."""

    def __post_init__(self) -> None:
        check_aware(self)

    @classmethod
    def from_record(
        cls,
        record: Mapping[str, Any],
        owners: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Event:
        """The event in an entry of ``describe_stack_events``."""
        logical, type = (
            str(record.get("LogicalResourceId", "")),
            str(record.get("ResourceType", "")),
        )
        physical = str(record.get("PhysicalResourceId") or "")
        return cls(
            id=str(record["EventId"]),
            when=utc(record["Timestamp"]),
            logical=logical,
            type=type,
            status=str(record.get("ResourceStatus", "")),
            reason=str(record.get("ResourceStatusReason") or ""),
            physical=physical,
            token=str(record.get("ClientRequestToken") or ""),
            config=(owners or {}).get(logical, ""),
            name=(names or {}).get(logical, "") or shown_name(type, physical) or logical,
        )

    @property
    def of_stack(self) -> bool:
        """Whether it is about the stack itself."""
        return (
            self.type == STACK
            and self.physical.startswith("arn:")
            and self.logical in (self.physical.split("/")[1:2])
        )

    @property
    def failed(self) -> bool:
        """Whether it failed, and not only because something else had failed."""
        return self.status.endswith("_FAILED") and not self.cancelled

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled because something else had failed."""
        return bool(re.search(r"\b(creation|update|deletion) cancell?ed\b", self.reason, re.I))

    @property
    def ended(self) -> bool:
        """Whether the operation on the resource has ended."""
        return not self.status.endswith("_IN_PROGRESS")

    @property
    def what(self) -> str:
        """The resource, in words."""
        if self.of_stack:
            return f"stack {self.logical}"
        text = f"{label_of(self.type)} {self.name or self.logical}"
        return text + (f" of {self.config}" if self.config else "")

    @property
    def text(self) -> str:
        """The event in one line."""
        text = _EVENTS.get(self.status, self.status.lower().replace("_", " "))
        return f"{self.what}: {text}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class StackState:
    """The state of a stack."""

    name: str
    """Its name."""
    status: str = ""
    """AWS's status; "" if there is no such stack."""
    id: str = ""
    """Its ARN."""
    reason: str = ""
    """AWS's reason."""
    since: datetime | None = None
    """When the current operation began, or when the stack last changed."""
    by: str = ""
    """Who began that operation, if known."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its tags."""
    role: str = ""
    """The role that CloudFormation uses for it."""
    protected: bool = False
    """Whether it is protected from deletion."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def exists(self) -> bool:
        """Whether there is a stack of that name, an empty one included."""
        return self.status not in ("", "DELETE_COMPLETE")

    @property
    def is_empty(self) -> bool:
        """Whether it is only the empty stack that a plan creates."""
        return self.status == _SHELL

    @property
    def condition(self) -> Condition:
        """What can be done with it."""
        if not self.exists or self.is_empty:
            return "missing"
        if self.status.endswith("_IN_PROGRESS"):
            return "busy"
        if self.status in _READY:
            return "ready"
        return "failed" if self.status in _FAILED else "stuck"

    @property
    def has_resources(self) -> bool:
        """Whether it contains the resources of its template: not after a failed creation."""
        return self.exists and not self.is_empty and self.status != "ROLLBACK_COMPLETE"

    @property
    def sentence(self) -> str:
        """Its state in a sentence."""
        words = _RUNNING.get(self.status) or _SETTLED.get(self.status) or f"is {self.status}"
        text = f"the stack {self.name} {words}"
        if self.condition == "busy":
            if self.since is not None:
                text += f" since {self.since.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
            text += f", by {self.by}" if self.by else ""
        return text


def parse_state(name: str, record: Mapping[str, Any] | None) -> StackState:
    """The state in an entry of ``describe_stacks``."""
    if record is None:
        return StackState(name)
    since = record.get("LastUpdatedTime") or record.get("CreationTime")
    if record.get("StackStatus") == "DELETE_IN_PROGRESS":
        since = record.get("DeletionTime") or since
    return StackState(
        name=str(record.get("StackName", name)),
        status=str(record["StackStatus"]),
        id=str(record.get("StackId", "")),
        reason=str(record.get("StackStatusReason") or ""),
        since=utc(since) if since else None,
        tags={str(t["Key"]): str(t.get("Value", "")) for t in record.get("Tags") or ()},
        role=str(record.get("RoleARN") or ""),
        protected=bool(record.get("EnableTerminationProtection")),
    )


def first_event(events: Iterable[Event]) -> Event | None:
    """The event with which the last operation began; ``events`` are ordered from the latest."""
    begun = None
    latest: str | None = None
    for event in events:
        latest = event.token if latest is None else latest
        if latest and event.token != latest:
            break
        if event.of_stack and event.status.endswith("_IN_PROGRESS"):
            begun = event
            # Rollback and cleanup belong to the operation that they follow.
            if event.reason == "User Initiated" or event.status in _BEGINNINGS:
                break
    return begun


def rollback_failures(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events that made a rollback fail; ``events`` are ordered from the latest."""
    found: dict[str, Event] = {}
    for event in events:
        if event.of_stack and event.status == "UPDATE_ROLLBACK_IN_PROGRESS":
            break
        if event.failed and not event.of_stack:
            found[event.logical] = event
    return tuple(found.values())


def make_token(who: str, number: str) -> str:
    """The token of an operation; it contains who began it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", who.rsplit("/", 1)[-1].split("@", 1)[0]).strip("-")[:40]
    return "-".join(part for part in (TOKEN, name, number) if part)


def who_began(text: str) -> str:
    """Who began the operation of a token, in words; "" if the token does not say."""
    if text.startswith(f"{TOKEN}-"):
        who = text.removeprefix(f"{TOKEN}-").rpartition("-")[0]
        return f"a deployment by {who} with Tidegate" if who else "a deployment with Tidegate"
    if text.startswith("Console-"):
        return "someone in AWS's console"
    return f"the request {text}" if text else ""
