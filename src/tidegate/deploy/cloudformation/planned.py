"""A planned deployment of one stack, and why there may be none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.deploy.cloudformation.causes import CONTINUE, plain
from tidegate.deploy.cloudformation.changes import ChangeSet
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.cloudformation.upload import Upload
from tidegate.deploy.design.templates import Template
from tidegate.errors import TidegateError


class StackBusy(TidegateError):
    """Something goes on in the stack already."""

    exit_code = 4


class StackStuck(TidegateError):
    """The stack could not go back to what it was, and takes nothing new before it has."""

    def __init__(self, state: StackState, failed: Sequence[Event], gone: Sequence[str]) -> None:
        self.state, self.failed, self.gone = state, tuple(failed), tuple(gone)
        missing = " (it is not there any more)"
        told = [
            f"{e.logical}, {e.what}: {plain(e.reason)}{missing if e.logical in gone else ''}"
            for e in failed
        ]
        skip = "".join(f" --skip {logical}" for logical in gone)
        super().__init__(
            state.sentence,
            why="\n".join(told) or state.reason,
            next=f"mend what it says, then let it go back: `{CONTINUE}{skip}`",
        )


class PlanOutdated(TidegateError):
    """What was planned is not what would be done any more."""

    exit_code = 4


@dataclass(frozen=True)
class Planned:
    """What a deployment will do to one stack, and all that it takes to do it."""

    changes: ChangeSet
    """What will change."""
    template: Template
    """What the stack is to be."""
    role_arn: str = ""
    """The role that CloudFormation takes on; the caller's own rights where there is none."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The template's parameters."""
    upload: Upload | None = None
    """Where a template goes that is too long to be sent."""
    first: Literal["", "delete", "recreate"] = ""
    """What is done before: delete a stack that never came up; take out of the stack what was
    deleted by hand."""
    deployed: Mapping[str, Any] = field(default_factory=dict)
    """The template that is deployed, where something that it has was deleted by hand."""
    mended: str = ""
    """The same without what was deleted, JSON."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.changes.empty


def busy(state: StackState) -> StackBusy:
    """That something goes on in a stack: since when, and by whom."""
    return StackBusy(
        state.sentence,
        why="CloudFormation does one thing at a time in a stack",
        next="wait for it with --wait, or look again later: `tidegate status BRANCH`",
    )
