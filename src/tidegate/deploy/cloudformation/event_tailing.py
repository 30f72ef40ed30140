"""Watching an operation of CloudFormation until it ends.

The operation runs on AWS: to stop watching does not stop it. Only the events of this operation are
reported; they have its token. If it fails, the error names the first cause.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from tidegate.deploy.cloudformation import states
from tidegate.deploy.cloudformation.causes import CONTINUE, Cause, find_cause
from tidegate.deploy.cloudformation.stack_api import CloudFormationError, StackApi
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.errors import ConfigurationError, StorageError, TidegateError

Progress = Callable[[Event], None]
Action = Literal["the creation", "the update", "the deletion", "the rollback", "the operation"]

PATIENCE = 300.0
"""How long AWS may be unreachable before watching ends, s."""
_SETTLES = 30.0
_GOOD: Mapping[Action, set[str]] = {
    "the creation": {"CREATE_COMPLETE"},
    "the update": {"UPDATE_COMPLETE"},
    "the deletion": {"DELETE_COMPLETE"},
    "the rollback": {"UPDATE_ROLLBACK_COMPLETE"},
}


class DeploymentFailed(TidegateError):
    """An operation on a stack failed."""

    def __init__(self, what: str, state: StackState, cause: Cause | None, more: str = "") -> None:
        self.state, self.cause = state, cause
        others = f" ({cause.others} other resources failed too)" if cause and cause.others else ""
        why = [cause.why + others if cause else state.reason, more, f"now {state.sentence}"]
        super().__init__(
            what if cause is None else f"{what}: {cause.event.what}",
            why="\n".join(part for part in why if part),
            next=cause.next if cause else "look at the events of the stack in AWS's console",
        )


class WatchingFailed(TidegateError):
    """The operation continues on AWS, but can no longer be watched."""


class Interrupted(TidegateError):
    """Someone stopped watching; the operation continues on AWS."""

    exit_code = 130


@dataclass(frozen=True)
class Outcome:
    """The result of a successful operation."""

    stack: str
    """The name of the stack."""
    status: str
    """AWS's status of the stack now."""
    seconds: float
    """How long it took."""
    resources: int = 0
    """How many resources were affected."""
    not_deleted: tuple[str, ...] = ()
    """Resources that could not be deleted, with AWS's reason."""


@dataclass(frozen=True)
class Operation:
    """An operation that is watched."""

    action: Action
    """What it does."""
    stack: str
    """The name of the stack."""
    id: str
    """The ARN of the stack: once it is deleted, its name may belong to another stack."""
    token: str
    """The token of its events."""
    after: str
    """The id of the last event before it began."""
    begun: float
    """When it began (``time.monotonic``)."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Configs, by logical id."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The names of resources, by logical id."""


def new_operation(
    api: StackApi,
    action: Action,
    state: StackState,
    who: str = "",
    owners: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
) -> Operation:
    """An operation that is about to begin; its token must be part of the request."""
    latest = next(api.events(state.id), None)
    return Operation(
        action=action,
        stack=state.name,
        id=state.id,
        token=states.make_token(who, secrets.token_hex(4)),
        after=latest.id if latest else "",
        begun=time.monotonic(),
        owners=owners or {},
        names=names or {},
    )


def tail_events(
    api: StackApi,
    operation: Operation,
    progress: Progress | None = None,
    *,
    poll: float = 2.0,
    others: bool = False,
) -> list[Event]:
    """Report the events of an operation until it ends; returns all of them.

    ``others`` includes the events of operations that someone else began.
    """
    found: list[Event] = []
    quiet = trouble = 0.0
    while True:
        try:
            new = _new_events(api, operation, found, others)
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
            # The state may change before the events arrive, or only some time after the request.
            if quiet > _SETTLES or any(
                e.of_stack and e.ended and e.status == state.status for e in found
            ):
                return found
            quiet += max(poll, 0.1)
        time.sleep(poll)


def _new_events(
    api: StackApi, operation: Operation, found: Sequence[Event], others: bool
) -> list[Event]:
    """The events since the last request, ordered from the oldest."""
    seen = {event.id for event in found}
    new = []
    for event in api.events(operation.id, operation.owners, operation.names):
        if event.id == operation.after or event.id in seen:
            break
        if others or event.token in ("", operation.token):
            new.append(event)
    return new[::-1]


def check_outcome(api: StackApi, operation: Operation, events: Sequence[Event]) -> Outcome:
    """The result of an operation that has ended.

    Raises:
        DeploymentFailed: it failed.
    """
    state = replace(api.state(operation.id), name=operation.stack)
    if state.status not in _GOOD[operation.action]:
        raise _failed(api, operation, events, state)
    touched = {event.logical for event in events if event.ended and not event.of_stack}
    not_deleted = tuple(f"{e.what}: {e.reason}" for e in events if e.status == "DELETE_FAILED")
    seconds = time.monotonic() - operation.begun
    return Outcome(operation.stack, state.status, seconds, len(touched), not_deleted)


def _failed(
    api: StackApi, operation: Operation, events: Sequence[Event], state: StackState
) -> DeploymentFailed:
    what = f"{operation.action} of the stack {operation.stack} failed"
    cause = find_cause(events)
    if cause is not None and cause.event.of_stack:
        cause = find_cause(api.validation_events(StackName=operation.id)) or cause
    more = ""
    if cause is not None and cause.kind == "taken":
        name = operation.names.get(cause.event.logical, "")
        owner = api.owner(name) if name else ""
        more = f"{name} belongs to the stack {owner}" if owner else ""
    if cause is not None and operation.action == "the deletion":
        cause = replace(cause, next=f"{cause.next}; or keep it outside any stack: with"
                        f" --retain {cause.event.logical}")  # fmt: skip
    if cause is not None and state.condition == "stuck":
        cause = replace(cause, next=f"{cause.next}. First continue the rollback: `{CONTINUE}`")
    return DeploymentFailed(what, state, cause, more)


_CHECK = "check the result with `tidegate status BRANCH`; `tidegate deploy --wait` waits for it"


def _continues(action: str, stack: str) -> str:
    return f"AWS continues {action} of the stack {stack}, and rolls back if something fails"


@contextmanager
def interruptible(action: str, stack: str) -> Iterator[None]:
    """Let Ctrl-C end the watching only, not the operation.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"no longer watching {action} of the stack {stack}",
            why=_continues(action, stack),
            next=_CHECK,
        ) from None


@contextmanager
def watching(action: str, stack: str) -> Iterator[None]:
    """Turn errors while watching into one that says that the operation continues.

    Raises:
        WatchingFailed: credentials have expired, the network fails, or a permission is missing.
    """
    try:
        yield
    except (ConfigurationError, StorageError, CloudFormationError) as error:
        raise WatchingFailed(
            f"{action} of the stack {stack} can no longer be watched",
            why=f"{error.what}: {error.why}\n{_continues(action, stack)}",
            next=f"{error.next or 'check the network'}; then {_CHECK}",
        ) from error
