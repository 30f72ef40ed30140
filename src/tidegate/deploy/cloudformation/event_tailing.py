"""What CloudFormation does, followed to its end.

CloudFormation works by itself: to stop looking stops nothing. Only the events of the operation in
question are passed on; they have its token in common. What went wrong first is what is told.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from tidegate.deploy.cloudformation import states
from tidegate.deploy.cloudformation.causes import CONTINUE, Cause, first_cause
from tidegate.deploy.cloudformation.stack_api import CloudFormationError, StackApi
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.errors import ConfigurationError, StorageError, TidegateError

Progress = Callable[[Event], None]
Doing = Literal["the creation", "the update", "the deletion", "going back", "what goes on"]

PATIENCE = 300.0
"""For so long AWS may be out of reach while it works, before we give up looking, s."""
_SETTLES = 30.0
_GOOD: Mapping[Doing, set[str]] = {
    "the creation": {"CREATE_COMPLETE"},
    "the update": {"UPDATE_COMPLETE"},
    "the deletion": {"DELETE_COMPLETE"},
    "going back": {"UPDATE_ROLLBACK_COMPLETE"},
}


class DeploymentFailed(TidegateError):
    """A stack could not be brought to what was asked for."""

    def __init__(self, what: str, state: StackState, cause: Cause | None, more: str = "") -> None:
        self.state, self.cause = state, cause
        others = f" ({cause.others} more failed besides)" if cause and cause.others else ""
        why = [cause.why + others if cause else state.reason, more, f"now {state.sentence}"]
        super().__init__(
            what if cause is None else f"{what}: {cause.event.what}",
            why="\n".join(part for part in why if part),
            next=cause.next if cause else "look at the events of the stack in AWS's console",
        )


class LostSight(TidegateError):
    """AWS goes on, but cannot be watched any more."""


class Interrupted(TidegateError):
    """Someone stopped watching while AWS goes on."""

    exit_code = 130


@dataclass(frozen=True)
class Outcome:
    """How an operation ended well."""

    stack: str
    """The name of the stack."""
    status: str
    """AWS's word for how it stands now."""
    seconds: float
    """How long it took."""
    resources: int = 0
    """How many resources something was done to."""
    left: tuple[str, ...] = ()
    """What should have been removed and could not be, in words."""


@dataclass(frozen=True)
class Operation:
    """What is followed."""

    doing: Doing
    """What goes on."""
    stack: str
    """The name of the stack."""
    id: str
    """The stack's ARN: its name is another's once it is deleted."""
    token: str
    """What its events have in common."""
    after: str
    """The id of the last event before it began."""
    begun: float
    """When it began (``time.monotonic``)."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Configs, by logical id."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The names of resources, by logical id."""


def begin(
    api: StackApi,
    doing: Doing,
    state: StackState,
    who: str = "",
    owners: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
) -> Operation:
    """An operation that is about to begin; AWS is to be given its token."""
    latest = next(api.events(state.id), None)
    return Operation(
        doing=doing,
        stack=state.name,
        id=state.id,
        token=states.token(who, secrets.token_hex(4)),
        after=latest.id if latest else "",
        begun=time.monotonic(),
        owners=owners or {},
        names=names or {},
    )


def follow(
    api: StackApi,
    operation: Operation,
    progress: Progress | None = None,
    *,
    poll: float = 2.0,
    others: bool = False,
) -> list[Event]:
    """All events of an operation, passed on as they come, until it has ended.

    ``others`` passes on what belongs to operations that someone else began.
    """
    found: list[Event] = []
    quiet = trouble = 0.0
    while True:
        try:
            new = _news(api, operation, found, others)
            state = api.state(operation.id, by=False)
            trouble = 0.0
        except StorageError:
            trouble += max(poll, 1.0)
            if trouble > PATIENCE:
                raise
            time.sleep(poll)
            continue
        found += new
        for event in new if progress is not None else ():
            progress(event)  # type: ignore[misc]
        if state.condition != "busy":
            # Its state may change before its events come, or a moment after it was begun.
            if quiet > _SETTLES or any(
                e.of_stack and e.ended and e.status == state.status for e in found
            ):
                return found
            quiet += max(poll, 0.1)
        time.sleep(poll)


def _news(api: StackApi, operation: Operation, found: Sequence[Event], others: bool) -> list[Event]:
    """The events that have come since, the oldest first."""
    seen = {event.id for event in found}
    new = []
    for event in api.events(operation.id, operation.owners, operation.names):
        if event.id == operation.after or event.id in seen:
            break
        if others or event.token in ("", operation.token):
            new.append(event)
    return new[::-1]


def outcome(api: StackApi, operation: Operation, events: Sequence[Event]) -> Outcome:
    """How it ended.

    Raises:
        DeploymentFailed: not well.
    """
    state = replace(api.state(operation.id), name=operation.stack)
    if state.status not in _GOOD[operation.doing]:
        raise _failed(api, operation, events, state)
    touched = {event.logical for event in events if event.ended and not event.of_stack}
    left = tuple(f"{e.what}: {e.reason}" for e in events if e.status == "DELETE_FAILED")
    seconds = time.monotonic() - operation.begun
    return Outcome(operation.stack, state.status, seconds, len(touched), left)


def _failed(
    api: StackApi, operation: Operation, events: Sequence[Event], state: StackState
) -> DeploymentFailed:
    what = f"{operation.doing} of the stack {operation.stack} failed"
    cause = first_cause(events)
    if cause is not None and cause.event.of_stack:
        cause = first_cause(api.findings(StackName=operation.id)) or cause
    more = ""
    if cause is not None and cause.kind == "taken":
        name = operation.names.get(cause.event.logical, "")
        owner = api.owner(name) if name else ""
        more = f"{name} belongs to the stack {owner}" if owner else ""
    if cause is not None and operation.doing == "the deletion":
        cause = replace(cause, next=f"{cause.next}; or leave it behind, outside any stack: with"
                        f" --retain {cause.event.logical}")  # fmt: skip
    if cause is not None and state.condition == "stuck":
        cause = replace(cause, next=f"{cause.next}. First the stack must go back: `{CONTINUE}`")
    return DeploymentFailed(what, state, cause, more)


_LOOK = "see how it ended with `tidegate status BRANCH`; deploying with --wait waits for it"


def _goes_on(doing: str, stack: str) -> str:
    return (
        f"AWS goes on with {doing} of the stack {stack} by itself, and goes back by itself if"
        " something fails"
    )


@contextmanager
def interruptible(doing: str, stack: str) -> Iterator[None]:
    """Ctrl-C ends the watching, and nothing else.

    Raises:
        Interrupted: there was one.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"no longer watching {doing} of the stack {stack}",
            why=_goes_on(doing, stack),
            next=_LOOK,
        ) from None


@contextmanager
def watching(doing: str, stack: str) -> Iterator[None]:
    """Once AWS has begun, it goes on by itself when nobody can look; whoever looked is told so.

    Raises:
        LostSight: credentials or the network have ended, or a permission is missing.
    """
    try:
        yield
    except (ConfigurationError, StorageError, CloudFormationError) as error:
        raise LostSight(
            f"{doing} of the stack {stack} cannot be watched any more",
            why=f"{error.what}: {error.why}\n{_goes_on(doing, stack)}",
            next=f"{error.next or 'look at the network'}; then {_LOOK}",
        ) from error
