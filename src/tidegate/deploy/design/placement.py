"""Which config is in which stack; pure.

CloudFormation takes 500 resources in a stack, so many configs need several stacks. A deployed
config keeps its stack: to move it, one stack would have to delete a function before another could
create one of the same name. A new config is put into the first stack with room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.targets.aws.names import Names, numbered

STACK_LIMIT = 500
"""The most resources that CloudFormation takes in one template."""
SHARED = 20
"""Resources kept free in each stack for those that its configs share."""
RESERVED = 15
"""Counted for each config, even if it needs fewer today, so that no setting overfills a stack."""
MOST_STACKS = 99
"""Pipelines stacks that a branch may have: what is looked for in AWS, by number."""
METADATA = "Tidegate"
"""The key of a template's metadata that lists its configs."""


def assign_stacks(
    needs: Mapping[str, int],
    present: Mapping[str, int] | None = None,
    *,
    room: int = STACK_LIMIT - SHARED,
) -> dict[str, int]:
    """The number of the stack of each config, from 1.

    ``needs`` is the number of resources of each config, in the order of the file; ``present`` the
    stack of each deployed config (``read_stack_numbers``).
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
    return numbered(names.pipelines_stack, number, 128)


def metadata(configs: Sequence[str], stack: int) -> dict[str, Any]:
    """The metadata of a template, for ``read_stack_numbers``."""
    return {"configs": list(configs), "stack": stack}


def read_stack_numbers(templates: Sequence[Mapping[str, Any] | str]) -> dict[str, int]:
    """The number of the stack of each deployed config, from the metadata of the templates.

    ``templates`` are the ``Metadata`` of CloudFormation's ``get_template_summary`` for each stack
    of the branch: JSON, or "" for a template without metadata.
    """
    found: dict[str, int] = {}
    for text in templates:
        data = json.loads(text or "{}") if isinstance(text, str) else text
        own = data.get(METADATA, {})
        found |= {str(id): int(own["stack"]) for id in own.get("configs", ())}
    return found
