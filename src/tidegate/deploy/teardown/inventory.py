"""Everything that exists of a branch, its data aside; nothing is changed.

``take_inventory`` asks AWS each time: so it says what a teardown has to delete, what an
interrupted one left, and, at last, that nothing is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidegate import config as configuration
from tidegate.deploy.cloudformation.stack_resource import StackResource
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.resources.base import AwsContext, FoundResource, SearchableType
from tidegate.deploy.resources.ownership import OwnershipRules, branch_prefixes
from tidegate.deploy.resources.registry import BUILD_PROJECT, FUNCTION, resource_type
from tidegate.deploy.resources.unmanaged import (
    BucketNotification,
    ForeignResource,
    UnmanagedResource,
    attempt,
    find_unmanaged,
    list_functions,
)


@dataclass(frozen=True)
class StackContents:
    """A stack of the branch, with its resources."""

    state: StackState
    """The stack."""
    resources: tuple[StackResource, ...]
    """Its resources."""

    @property
    def counts(self) -> Counter[str]:
        """How many resources of each type there are."""
        return Counter(resource.type for resource in self.resources)


@dataclass(frozen=True)
class Inventory:
    """Everything that exists of a branch, its data aside."""

    stacks: tuple[StackContents, ...] = ()
    """Its stacks, in the order of deletion."""
    unmanaged: tuple[UnmanagedResource, ...] = ()
    """Its resources outside stacks, in the order of deletion."""
    notifications: tuple[BucketNotification, ...] = ()
    """What calls its functions when files arrive, in the older recipe."""
    foreign: tuple[ForeignResource, ...] = ()
    """What looks like the branch's, and belongs to someone else."""
    unchecked: tuple[str, ...] = ()
    """What could not be searched, and why."""
    functions: tuple[FoundResource, ...] = field(default=(), repr=False)
    """All functions of the account and region: they say who uses which bucket."""


def take_inventory(branch: Branch) -> Inventory:
    """Everything that exists of a branch, its data aside.

    Raises:
        StorageError: AWS does not list its stacks.
    """
    aws, unchecked = AwsContext(branch.clients, branch.place), list[str]()
    stacks, foreign = _find_stacks(branch)
    functions = list_functions(aws, unchecked)
    rules = _ownership_rules(branch, aws, stacks, functions, unchecked)
    managed = {
        (type, type.name_of(resource.physical))
        for stack in stacks
        for resource in stack.resources
        if isinstance(type := resource_type(resource.type), SearchableType)
    }
    found = find_unmanaged(aws, rules, functions, managed, _buckets(branch))
    return Inventory(
        stacks=stacks,
        unmanaged=found.resources,
        notifications=found.notifications,
        foreign=tuple(dict.fromkeys([*foreign, *found.foreign])),
        unchecked=tuple(dict.fromkeys([*unchecked, *found.unchecked])),
        functions=tuple(functions),
    )


def _buckets(branch: Branch) -> tuple[str, ...]:
    keys = branch.keys
    return tuple(dict.fromkeys(b for b in (keys.input_bucket_name, keys.output_bucket_name) if b))


def _find_stacks(branch: Branch) -> tuple[tuple[StackContents, ...], list[ForeignResource]]:
    """The stacks with the branch's names, unless their tags say that they are another branch's."""
    stacks = Stacks(branch.clients, branch.place)
    states = [
        *reversed(stacks.branch_stacks(branch.names)),
        stacks.state(branch.names.codepipeline_stack),
    ]
    tags = OwnershipRules(branch.names, ()).tags
    ours: list[StackContents] = []
    foreign: list[ForeignResource] = []
    for state in states:
        if not state.exists:
            continue
        wrong = [key for key, value in tags.items() if state.tags.get(key, value) != value]
        if wrong:
            listed = ", ".join(f"{key} {state.tags[key]}" for key in wrong)
            foreign.append(ForeignResource(f"the stack {state.name}", f"its tags say {listed}"))
        else:
            ours.append(StackContents(state, stacks.api.resources(state.id)))
    return tuple(ours), foreign


def _ownership_rules(
    branch: Branch,
    aws: AwsContext,
    stacks: Iterable[StackContents],
    functions: Iterable[FoundResource],
    unchecked: list[str],
) -> OwnershipRules:
    manifest = configuration.resolve(branch.reading, None).manifest
    configs = manifest.configs if manifest else ()

    def list_stacks() -> list[str]:
        found = aws.list_all("cloudformation", "list_stacks", "StackSummaries")
        return [s["StackName"] for s in found if s["StackStatus"] != "DELETE_COMPLETE"]

    existing = attempt("other branches", unchecked, list_stacks) or []
    model = branch.reading.model
    configured = model.branches or {} if model else {}
    others = {f"{branch.names.repository}-{name}" for name in configured}
    return OwnershipRules(
        branch.names,
        tuple((config.pipeline, config.name) for config in configs),
        others=(branch_prefixes(existing) | others | _function_prefixes(functions))
        - {branch.names.base},
        stacks=frozenset(stack.state.name for stack in stacks),
        logs=frozenset(_log_groups(stacks)),
    )


def _function_prefixes(functions: Iterable[FoundResource]) -> set[str]:
    """The prefixes of the names of branches, from the names of their functions."""
    found = set()
    for function in functions:
        branch = function.settings.get("BRANCH", "")
        head, _, rest = function.name.partition(f"-{branch}-") if branch else ("", "", "")
        if rest:
            found.add(f"{head}-{branch}")
    return found


def _log_groups(stacks: Iterable[StackContents]) -> Iterator[str]:
    """The log groups of functions and builds in stacks: the older recipe's belong to no stack."""
    for stack in stacks:
        for resource in stack.resources:
            if resource.type == FUNCTION.type:
                yield f"/aws/lambda/{resource.name}"
            elif resource.type == BUILD_PROJECT.type:
                yield f"/aws/codebuild/{resource.name}"
