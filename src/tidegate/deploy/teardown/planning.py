"""Plans the teardown of a branch: what is deleted and what is kept, as steps in order.

Data is in no step unless a person has named its bucket or table. A teardown that was interrupted is
planned again, from what still exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tidegate.deploy.core.branch import Branch
from tidegate.deploy.resources.registry import BUCKET, FUNCTION, IMAGE_REPOSITORY, resource_type
from tidegate.deploy.resources.unmanaged import BucketNotification, UnmanagedResource, attempt
from tidegate.deploy.teardown import stores
from tidegate.deploy.teardown.inventory import Inventory, StackContents, take_inventory
from tidegate.deploy.teardown.stores import ARTIFACTS, LEDGER, Store
from tidegate.errors import UsageError
from tidegate.runtime.wording import quantity

Act = Literal["notification", "resource", "retain", "stack", "images", "bucket", "table"]


@dataclass(frozen=True)
class Step:
    """One deletion, or one change before a deletion."""

    act: Act
    """What is done."""
    name: str
    """The name of what is deleted or changed."""
    what: str
    """The step in words."""
    why: str = ""
    """The evidence that it belongs to the branch, or what else a person should know."""
    dangerous: bool = False
    """Whether it deletes data."""
    resource: UnmanagedResource | None = None
    """The resource, if it is outside the stacks."""
    notification: BucketNotification | None = None
    """The notification of a bucket, if it is one."""


@dataclass(frozen=True)
class KeptItem:
    """Something that is kept."""

    what: str
    """What it is."""
    why: str
    """Why it is kept, and how to delete it."""


@dataclass(frozen=True)
class Teardown:
    """What a teardown does."""

    steps: tuple[Step, ...]
    """What is deleted, in order."""
    kept: tuple[KeptItem, ...]
    """What is kept."""
    unchecked: tuple[str, ...]
    """What could not be searched, and why."""
    ledger: bool
    """Whether there is a ledger, in which the teardown is recorded."""


def plan_teardown(
    branch: Branch,
    *,
    delete_data: Sequence[str] = (),
    used_by: Sequence[str] = (),
    inventory: Inventory | None = None,
) -> Teardown:
    """Plan the teardown of a branch; ``delete_data`` names buckets and tables to delete too.

    ``used_by`` must name the other branches that use these, if there are any.

    Raises:
        UsageError: such a name does not belong to this branch, or another branch uses it.
        StorageError: AWS does not answer.
    """
    inventory = inventory if inventory is not None else take_inventory(branch)
    unchecked = [*inventory.unchecked]
    data = _find_stores(branch, inventory, unchecked)
    _check_named(branch, data, delete_data, used_by)
    first = [one for one in inventory.unmanaged if one.found.type.starts_runs]
    last = [one for one in inventory.unmanaged if not one.found.type.starts_runs]
    steps = [
        *map(_notification_step, inventory.notifications),
        *map(_resource_step, first),
        *_stack_steps(inventory.stacks),
        *map(_resource_step, last),
        *_store_steps(data, delete_data),
    ]
    kept = [
        _kept_store(store)
        for store in data
        if store.exists and store.role != ARTIFACTS and store.name not in delete_data
    ]
    kept += [KeptItem(foreign.what, foreign.why) for foreign in inventory.foreign]
    ledger = any(store.exists for store in data if store.role == LEDGER)
    return Teardown(tuple(steps), tuple(kept), tuple(unchecked), ledger)


def _notification_step(entry: BucketNotification) -> Step:
    prefix = f" for {entry.prefix}" if entry.prefix else ""
    return Step(
        "notification",
        entry.bucket,
        f"the notification of {entry.bucket}{prefix} that calls {entry.function}",
        "the function belongs to this branch",
        notification=entry,
    )


def _resource_step(resource: UnmanagedResource) -> Step:
    found = resource.found
    detail = f" ({found.detail})" if found.detail else ""
    what = f"the {found.title}{detail}"
    return Step("resource", found.name, what, resource.why, resource=resource)


def _stack_steps(stacks: Iterable[StackContents]) -> Iterator[Step]:
    for stack in stacks:
        name = stack.state.name
        data = [r for r in stack.resources if resource_type(r.type).keeps_data]
        if data:
            listed = ", ".join(r.name for r in data if resource_type(r.type).named)
            what = f"{listed}: removed from the stack {name}, and kept"
            yield Step("retain", name, what, "data outlives its stack")
        for resource in stack.resources:
            if resource.type == IMAGE_REPOSITORY.type:
                yield Step("images", resource.name, f"the images in {resource.name}")
        counts = stack.counts.most_common()
        types = [(resource_type(type), number) for type, number in counts]
        listed = ", ".join(type.count(n) for type, n in types if not type.keeps_data)
        count = len(stack.resources) - len(data)
        yield Step("stack", name, f"the stack {name} with {quantity(count, 'resource')}", listed)


def _store_steps(data: Iterable[Store], delete_data: Sequence[str]) -> Iterator[Step]:
    """Buckets, and the ledger last: it is where an interrupted teardown is recorded."""
    for store in sorted(data, key=lambda store: store.kind == "table"):
        if not store.exists:
            continue
        if store.role == ARTIFACTS:
            why = f"{store.contents}; templates, sources and builds, which can be made again"
            yield Step("bucket", store.name, f"the bucket {store.name}", why)
        elif store.name in delete_data:
            shared = f"; also used by {', '.join(store.users)}" if store.users else ""
            yield Step(
                store.kind,
                store.name,
                f"the {store.role} {store.name} with everything in it",
                f"{store.contents}{shared}; --delete-data names it",
                dangerous=True,
            )


def _find_stores(branch: Branch, inventory: Inventory, unchecked: list[str]) -> tuple[Store, ...]:
    """The buckets and the table of a branch, as far as AWS describes them."""
    clients, keys, names = branch.clients, branch.keys, branch.names
    ours = {r.found.name for r in inventory.unmanaged if r.found.type is FUNCTION}
    ours |= {r.name for s in inventory.stacks for r in s.resources if r.type == FUNCTION.type}

    def users(name: str) -> tuple[str, ...]:
        return stores.users(branch, name, inventory.functions, ours)

    roles = {keys.input_bucket_name: "input bucket", keys.output_bucket_name: "output bucket"}
    if keys.input_bucket_name == keys.output_bucket_name:
        roles = {keys.input_bucket_name: "input and output bucket"}
    for stack in inventory.stacks:
        for resource in stack.resources:
            if resource.type == BUCKET.type:
                roles.setdefault(resource.name, f"bucket of the stack {stack.state.name}")
    older = attempt("older buckets", unchecked, partial(stores.older_buckets, branch))
    for name in older or ():
        roles.setdefault(name, "bucket of the older recipe's builds")
    asked = [
        (name, partial(stores.describe_bucket, clients, name, role, users(name)))
        for name, role in roles.items()
        if name
    ]
    own = branch.artifacts_bucket
    asked.append((own, partial(stores.describe_bucket, clients, own, ARTIFACTS)))
    table = names.ledger_table
    asked.append((table, partial(stores.describe_table, clients, table, LEDGER)))
    found = [attempt(name, unchecked, ask) for name, ask in asked]
    return tuple(store for store in found if store is not None)


def _kept_store(store: Store) -> KeptItem:
    more = "".join(f" --used-by {user}" for user in store.users)
    used = f", also used by {' and '.join(store.users)}" if store.users else ""
    return KeptItem(
        f"the {store.role} {store.name}{used}: {store.contents}",
        f"data is kept; `--delete-data {store.name}{more}` deletes it with everything in it",
    )


def _check_named(
    branch: Branch, data: Iterable[Store], delete_data: Sequence[str], used_by: Sequence[str]
) -> None:
    known = {store.name: store for store in data if store.role != ARTIFACTS}
    for name in delete_data:
        store = known.get(name)
        if store is None:
            raise UsageError(
                f"{name} is not a bucket or table with data of the branch {branch.name}",
                why=f"its buckets and tables are: {', '.join(known)}",
                next="name one of these with --delete-data, or omit the option",
            )
        missing = [user for user in store.users if user not in used_by]
        if missing and store.exists:
            more = " ".join(f"--used-by {user}" for user in store.users)
            raise UsageError(
                f"{name} is also used by {' and '.join(missing)}",
                why=f"deleting it would delete the data of {' and '.join(missing)}",
                next=f"if you want that, confirm it: --delete-data {name} {more}",
            )
