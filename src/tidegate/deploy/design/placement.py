"""Which config lies in which stack; pure.

CloudFormation takes 500 resources a stack, so many configs need several stacks beside each other.
A config stays in the stack in which it lies: to move it, one stack would have to delete a function
of a name that the other has yet to create. So what is deployed decides, and only new configs are
placed: each in the first stack with room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.targets.aws.names import Names, fit

MOST = 500
"""Resources that CloudFormation takes in one template."""
SHARED = 10
"""Kept free in each stack for what its configs share."""
RESERVED = 15
"""Counted for each config, whatever it needs today: so that no setting makes a stack too large."""
MOST_STACKS = 99
"""Pipelines stacks that a branch may have: what is looked for in AWS, by number."""
METADATA = "Tidegate"
"""The key of a template's metadata under which it says which configs it holds."""


def place(
    needs: Mapping[str, int], present: Mapping[str, int] | None = None, *, room: int = MOST - SHARED
) -> dict[str, int]:
    """The number of its stack, from 1, for each config.

    ``needs`` is how many resources each config has, in the order of the file; ``present`` where
    configs lie now (``placed``).
    """
    weights = {id: max(RESERVED, need) for id, need in needs.items()}
    placed = {id: stack for id, stack in (present or {}).items() if id in weights}
    filled: dict[int, int] = {}
    for id, stack in placed.items():
        filled[stack] = filled.get(stack, 0) + weights[id]
    for id, weight in weights.items():
        if id in placed:
            continue
        stack = 1
        while filled.get(stack, 0) and filled[stack] + weight > room:
            stack += 1
        placed[id] = stack
        filled[stack] = filled.get(stack, 0) + weight
    return {id: placed[id] for id in weights}


def stack_name(names: Names, number: int) -> str:
    """The name of a branch's pipelines stack of that number."""
    if number == 1:
        return names.pipelines_stack
    return fit(f"{names.pipelines_stack}-{number}", limit=128)


def metadata(configs: Sequence[str], stack: int) -> dict[str, Any]:
    """What a template says of itself, for ``placed``."""
    return {"configs": list(configs), "stack": stack}


def placed(templates: Sequence[Mapping[str, Any] | str]) -> dict[str, int]:
    """Where configs lie now, from the metadata of the deployed templates.

    Takes the ``Metadata`` of CloudFormation's ``get_template_summary`` (JSON, or "" where there is
    none), for each of a branch's stacks.
    """
    found: dict[str, int] = {}
    for text in templates:
        data = json.loads(text or "{}") if isinstance(text, str) else text
        own = data.get(METADATA, {})
        found |= {str(id): int(own["stack"]) for id in own.get("configs", ())}
    return found
