"""Changes a stack so that the data in it outlives it, before the stack is deleted.

The older recipe's stack has the name of Tidegate's, and contains the input and output bucket, which
are emptied and deleted with it: when the stack is deleted, and when it is updated with a template
without buckets. So, before either, its template is deployed again with other deletion policies and
no other change. Tidegate's own stacks contain no data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from tidegate.deploy.cloudformation.stack_api import CloudFormationError
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import Upload
from tidegate.deploy.resources.registry import resource_type
from tidegate.errors import ConfigurationError, TidegateError

_KEPT = {"Retain", "RetainExceptOnCreate"}
_METADATA = "Tidegate"

Say = Callable[[str], None]


class DataAtRisk(TidegateError):
    """A stack contains data, and could not be changed to keep it."""


def data_resources(template: Mapping[str, Any]) -> tuple[str, ...]:
    """The logical ids of resources with data that would be deleted with their stack; pure."""
    return tuple(
        logical
        for logical, resource in template.get("Resources", {}).items()
        if resource_type(str(resource.get("Type"))).keeps_data
        and not (
            resource.get("DeletionPolicy") in _KEPT and resource.get("UpdateReplacePolicy") in _KEPT
        )
    )


def retaining(template: Mapping[str, Any]) -> dict[str, Any]:
    """The same template, in which resources with data outlive their stack; pure."""
    changed = copy.deepcopy(dict(template))
    for logical in data_resources(template):
        resource = changed["Resources"][logical]
        resource["DeletionPolicy"] = resource["UpdateReplacePolicy"] = "Retain"
        # CloudFormation rejects an update that changes only policies.
        resource.setdefault("Metadata", {})[_METADATA] = {"retained": True}
    return changed


def retain_data(
    stacks: Stacks, stack: str, *, upload: Upload | None = None, say: Say = lambda text: None
) -> tuple[str, ...]:
    """Make the data in a deployed stack outlive it; the logical ids of the resources with data.

    ``upload`` is for a template that is too long for a request.

    Raises:
        DataAtRisk: it could not be done, or had no effect.
        StackBusy: an operation is in progress in the stack.
    """
    state = stacks.wait(stack)
    if state.condition == "missing":
        return ()
    template = _template(stacks, state)
    found = data_resources(template)
    if not found:
        return ()
    say(f"the stack {stack} contains data ({', '.join(found)}): changing it to keep the data")
    if state.condition != "ready":
        raise DataAtRisk(
            f"the stack {stack} contains data, and cannot be changed in its present state",
            why=state.sentence,
            next="fix its state in AWS's console (its page says how), then run this again",
        )
    try:
        stacks.replace_template(state, retaining(template), upload)
    except (CloudFormationError, ConfigurationError) as error:
        raise DataAtRisk(
            f"the stack {stack} contains data, and could not be changed to keep it",
            why=": ".join(part for part in (error.what, error.why) if part),
            next="set DeletionPolicy and UpdateReplacePolicy of its buckets and tables to Retain"
            " by hand, with the CDK",
        ) from error
    after = stacks.wait(stack)
    left = data_resources(_template(stacks, after))
    if after.condition != "ready" or left:
        raise DataAtRisk(
            f"the stack {stack} would still delete data: {', '.join(left) or after.sentence}",
            why=after.reason or after.sentence,
            next="look at its events in AWS's console; nothing was deleted",
        )
    return found


def at_risk(stacks: Stacks, state: StackState) -> tuple[str, ...]:
    """The logical ids of resources with data that would be deleted with a stack now."""
    return data_resources(_template(stacks, state))


def _template(stacks: Stacks, state: StackState) -> dict[str, Any]:
    try:
        return stacks.api.template(state)
    except CloudFormationError as error:
        raise DataAtRisk(
            error.what,
            why=error.why,
            next="set DeletionPolicy and UpdateReplacePolicy of its buckets and tables to Retain",
        ) from error
