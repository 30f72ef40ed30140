"""A planned deployment of one stack, and the errors that prevent one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.deploy.cloudformation.causes import CONTINUE, without_ids
from tidegate.deploy.cloudformation.changes import ChangeSet
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.cloudformation.upload import Upload
from tidegate.deploy.design.templates import Template
from tidegate.errors import TidegateError


class StackBusy(TidegateError):
    """Another operation on the stack is in progress."""

    exit_code = 4


class StackStuck(TidegateError):
    """The rollback of the stack failed, and must be continued before anything else."""

    def __init__(self, state: StackState, failed: Sequence[Event], missing: Sequence[str]) -> None:
        self.state, self.failed, self.missing = state, tuple(failed), tuple(missing)
        note = " (it no longer exists)"
        causes = [
            f"{e.logical}, {e.what}: {without_ids(e.reason)}{note if e.logical in missing else ''}"
            for e in failed
        ]
        skip = "".join(f" --skip {logical}" for logical in missing)
        super().__init__(
            state.sentence,
            why="\n".join(causes) or state.reason,
            next=f"fix the problem, then continue the rollback: `{CONTINUE}{skip}`",
        )


class PlanOutdated(TidegateError):
    """The stack has changed since the plan was made."""

    exit_code = 4


@dataclass(frozen=True)
class PlannedDeployment:
    """A deployment of one stack, ready to be executed."""

    changes: ChangeSet
    """The changes."""
    template: Template
    """The new template."""
    role_arn: str = ""
    """The role that CloudFormation uses; "" for the permissions of the caller."""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """The template's parameters; None keeps the previous value."""
    upload: Upload | None = None
    """Uploads a template that is too long for a request."""
    first: Literal["", "delete", "repair"] = ""
    """What comes first: delete a stack that failed to be created; or remove from the stack the
    resources that someone deleted, so that they are recreated."""
    deployed: Mapping[str, Any] = field(default_factory=dict)
    """The deployed template, if some of its resources are missing."""
    reduced: str = ""
    """The same template without these resources, JSON."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.changes.empty


def busy_error(state: StackState) -> StackBusy:
    """The error that an operation is in progress: since when, and who began it."""
    return StackBusy(
        state.sentence,
        why="CloudFormation executes one operation at a time in a stack",
        next="wait for it with --wait, or check later: `tidegate status BRANCH`",
    )
