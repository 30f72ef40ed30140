"""What the state of a CloudFormation stack means, and what happens in it; pure.

AWS's words for states and events are those of its user guide (*Stack status codes*, *Understand
CloudFormation stack creation events*) and API reference (``Stack``, ``StackEvent``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from tidegate.deploy.resources.kinds import name_from, word
from tidegate.runtime.records import check_aware, utc

Condition = Literal["missing", "fine", "busy", "unmade", "stuck"]
"""missing: there is nothing, or the empty shell that a plan leaves. fine: it can be updated. busy:
something goes on. unmade: it never came up, or was not wholly deleted, and can only be deleted.
stuck: it could not go back to what it was, and first must."""

STACK = "AWS::CloudFormation::Stack"
TOKEN = "tidegate"
"""What the tokens begin with that Tidegate gives its operations."""

_FINE = {
    "CREATE_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
}
_UNMADE = {"CREATE_FAILED", "DELETE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_SHELL = "REVIEW_IN_PROGRESS"
_GOES_ON = {
    "CREATE_IN_PROGRESS": "is being created",
    "DELETE_IN_PROGRESS": "is being deleted",
    "IMPORT_IN_PROGRESS": "takes resources in",
    "IMPORT_ROLLBACK_IN_PROGRESS": "gives up taking resources in",
    "ROLLBACK_IN_PROGRESS": "is being taken down again, since its creation failed",
    "UPDATE_IN_PROGRESS": "is being updated",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "is updated, and removes what is no longer needed",
    "UPDATE_ROLLBACK_IN_PROGRESS": "goes back to what it was, since an update failed",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "has gone back to what it was, and cleans up",
}
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
_STANDS = {
    "": "does not exist",
    "CREATE_COMPLETE": "is as it was created",
    "CREATE_FAILED": "could not be created, and what was made of it is still there",
    "DELETE_COMPLETE": "is deleted",
    "DELETE_FAILED": "could not be wholly deleted",
    "IMPORT_ROLLBACK_COMPLETE": "is as it was",
    "IMPORT_ROLLBACK_FAILED": "could not go back to what it was",
    "ROLLBACK_COMPLETE": "could not be created; what was made of it is removed again",
    "ROLLBACK_FAILED": "could not be created, and not everything that was made of it could be"
    " removed again",
    "UPDATE_COMPLETE": "is updated",
    "UPDATE_FAILED": "could not be updated, and is half old, half new",
    "UPDATE_ROLLBACK_COMPLETE": "is as it was before its last update: that failed",
    "UPDATE_ROLLBACK_FAILED": "could not be updated, and could not go back to what it was",
    _SHELL: "is empty: a plan made its name, and was not carried out",
}
_EVENTS = {
    "CREATE_COMPLETE": "created",
    "CREATE_FAILED": "could not be created",
    "CREATE_IN_PROGRESS": "being created",
    "DELETE_COMPLETE": "deleted",
    "DELETE_FAILED": "could not be deleted",
    "DELETE_IN_PROGRESS": "being deleted",
    "DELETE_SKIPPED": "kept",
    "ROLLBACK_COMPLETE": "taken down again",
    "ROLLBACK_IN_PROGRESS": "being taken down again",
    "UPDATE_COMPLETE": "updated",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "updated; removing what is no longer needed",
    "UPDATE_FAILED": "could not be updated",
    "UPDATE_IN_PROGRESS": "being updated",
    "UPDATE_ROLLBACK_COMPLETE": "back at what it was",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "back at what it was; cleaning up",
    "UPDATE_ROLLBACK_FAILED": "could not go back to what it was",
    "UPDATE_ROLLBACK_IN_PROGRESS": "going back to what it was",
}


@dataclass(frozen=True)
class Event:
    """Something that happened to a resource of a stack."""

    id: str
    """AWS's id of it."""
    when: datetime
    """When."""
    logical: str
    """The resource's id in the template; of the stack itself, its name."""
    type: str
    """The resource's type."""
    status: str
    """What happened: ``CREATE_IN_PROGRESS``."""
    reason: str = ""
    """AWS's remark."""
    physical: str = ""
    """What AWS identifies the resource by, once it has an identity."""
    token: str = ""
    """The token of the operation that it belongs to."""
    config: str = ""
    """The id of the config that the resource belongs to."""
    name: str = ""
    """What a person knows the resource by."""

    def __post_init__(self) -> None:
        check_aware(self)

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any],
        owners: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Event:
        """The event that an entry of ``describe_stack_events`` tells of."""
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
            name=(names or {}).get(logical, "") or name_from(type, physical) or logical,
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
        """Whether something went wrong, and not only because something else had."""
        return self.status.endswith("_FAILED") and not self.cancelled

    @property
    def cancelled(self) -> bool:
        """Whether it was only given up, since something else had gone wrong."""
        return bool(re.search(r"\b(creation|update|deletion) cancell?ed\b", self.reason, re.I))

    @property
    def ended(self) -> bool:
        """Whether the resource is done with."""
        return not self.status.endswith("_IN_PROGRESS")

    @property
    def what(self) -> str:
        """The resource, in words."""
        if self.of_stack:
            return f"stack {self.logical}"
        text = f"{word(self.type)} {self.name or self.logical}"
        return text + (f" of {self.config}" if self.config else "")

    @property
    def text(self) -> str:
        """The event in one line."""
        done = _EVENTS.get(self.status, self.status.lower().replace("_", " "))
        return f"{self.what}: {done}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class StackState:
    """A stack as it stands."""

    name: str
    """Its name."""
    status: str = ""
    """AWS's word for it; "" where there is no such stack."""
    id: str = ""
    """Its ARN."""
    reason: str = ""
    """AWS's remark."""
    since: datetime | None = None
    """When what goes on in it began, or when it last changed."""
    by: str = ""
    """Who or what began that, as far as it is known."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its tags."""
    role: str = ""
    """The role with which it works."""
    protected: bool = False
    """Whether it is protected from deletion."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def exists(self) -> bool:
        """Whether there is a stack of that name, be it an empty shell."""
        return self.status not in ("", "DELETE_COMPLETE")

    @property
    def shell(self) -> bool:
        """Whether it is but the name that a plan has made."""
        return self.status == _SHELL

    @property
    def condition(self) -> Condition:
        """What can be done with it."""
        if not self.exists or self.shell:
            return "missing"
        if self.status.endswith("_IN_PROGRESS"):
            return "busy"
        if self.status in _FINE:
            return "fine"
        return "unmade" if self.status in _UNMADE else "stuck"

    @property
    def holds(self) -> bool:
        """Whether its template says what there is: not when its resources were removed again."""
        return self.exists and not self.shell and self.status != "ROLLBACK_COMPLETE"

    @property
    def sentence(self) -> str:
        """How it stands, in words."""
        told = _GOES_ON.get(self.status) or _STANDS.get(self.status) or f"is {self.status}"
        text = f"the stack {self.name} {told}"
        if self.condition == "busy":
            if self.since is not None:
                text += f", since {self.since.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
            text += f", by {self.by}" if self.by else ""
        return text


def state(name: str, record: Mapping[str, Any] | None) -> StackState:
    """The state that an entry of ``describe_stacks`` tells of."""
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


def begun_by(events: Iterable[Event]) -> Event | None:
    """The event with which the last operation began; ``events`` are the latest first."""
    begun = None
    latest: str | None = None
    for event in events:
        latest = event.token if latest is None else latest
        if latest and event.token != latest:
            break
        if event.of_stack and event.status.endswith("_IN_PROGRESS"):
            begun = event
            # Going back and cleaning up are the same operation as what they follow.
            if event.reason == "User Initiated" or event.status in _BEGINNINGS:
                break
    return begun


def failed_to_go_back(events: Iterable[Event]) -> tuple[Event, ...]:
    """What kept a stack from going back; ``events`` are the latest first."""
    found: dict[str, Event] = {}
    for event in events:
        if event.of_stack and event.status == "UPDATE_ROLLBACK_IN_PROGRESS":
            break
        if event.failed and not event.of_stack:
            found[event.logical] = event
    return tuple(found.values())


def token(who: str, number: str) -> str:
    """The token of an operation: it says who began it, for whoever looks later."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", who.rsplit("/", 1)[-1].split("@", 1)[0]).strip("-")[:40]
    return "-".join(part for part in (TOKEN, name, number) if part)


def whose(text: str) -> str:
    """Who began the operation of a token, in words; "" when the token does not say."""
    if text.startswith(f"{TOKEN}-"):
        who = text.removeprefix(f"{TOKEN}-").rpartition("-")[0]
        return f"a deployment of {who}'s with Tidegate" if who else "a deployment with Tidegate"
    if text.startswith("Console-"):
        return "someone in AWS's console"
    return f"the request {text}" if text else ""
