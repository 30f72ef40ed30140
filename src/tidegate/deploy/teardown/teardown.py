"""A branch's end: what goes and what stays, as steps that can be read before they are taken.

    plan(branch)       looks, and says what it would take; nothing is changed
    carry_out(…)       takes the steps, in their order

A second try after one that broke off plans anew, from what is still there. Data is in no step
unless a person has named the bucket or the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Literal

from tidegate.deploy.cloudformation import retain
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.history import History, Release
from tidegate.deploy.resources import handlers, inventory, unmanaged
from tidegate.deploy.resources.handlers import HANDLERS, Seen, Way, is_gone
from tidegate.deploy.resources.inventory import Held, Owned
from tidegate.deploy.resources.kinds import word
from tidegate.deploy.resources.unmanaged import Notification, Thing, tried
from tidegate.deploy.teardown import data
from tidegate.deploy.teardown.data import ARTIFACTS, LEDGER, Store
from tidegate.errors import StorageError, UsageError
from tidegate.targets.aws.clients import Clients, explained

Act = Literal["notification", "thing", "retain", "stack", "images", "bucket", "table"]
Say = Callable[[str], None]
Told = Callable[[Event], None]
_IMAGES_AT_ONCE, _ROUNDS = 100, 4
_FIRST = ("rule", "schedule group", "pipeline", "build project", "function")
"""What sets runs off, and runs, goes before the stacks; the rest after them."""


@dataclass(frozen=True)
class Step:
    """One thing that is done."""

    act: Act
    """What is done."""
    name: str
    """To what."""
    what: str
    """In words."""
    why: str = ""
    """How it is known to be the branch's, or what a person should know of it."""
    dangerous: bool = False
    """Whether data goes with it."""
    thing: Thing | None = None
    """The thing, where it lies outside the stacks."""
    notification: Notification | None = None
    """The entry of a bucket's notifications, where it is one."""


@dataclass(frozen=True)
class Stay:
    """Something that stays."""

    what: str
    """What it is."""
    why: str
    """Why it stays, and what would end it."""


@dataclass(frozen=True)
class Teardown:
    """What a removal would do."""

    steps: tuple[Step, ...]
    """What goes, in order."""
    stays: tuple[Stay, ...]
    """What stays."""
    unseen: tuple[str, ...]
    """What could not be looked for, and why."""
    ledger: bool
    """Whether there is a ledger, where a removal is put on record."""


def plan(
    branch: Branch,
    *,
    delete_data: Sequence[str] = (),
    used_by: Sequence[str] = (),
    found: Owned | None = None,
) -> Teardown:
    """What it takes to remove a branch; ``delete_data`` names buckets and tables that go too.

    ``used_by`` names the other branches that use these, and is needed where there are any.

    Raises:
        UsageError: such a name is none of this branch's, or another branch uses it.
        StorageError: AWS cannot be asked.
    """
    found = found if found is not None else inventory.look(branch)
    unseen = [*found.unseen]
    stores = _stores(branch, found, unseen)
    _check_named(branch, stores, delete_data, used_by)
    things = [_of_thing(thing) for thing in found.things]
    first = [s for s in things if s.thing is not None and s.thing.seen.kind in _FIRST]
    steps = [
        *(_of_notification(entry) for entry in found.notifications),
        *first,
        *_of_stacks(branch, found.stacks),
        *(step for step in things if step not in first),
        *_of_stores(stores, delete_data),
    ]
    stays = [
        _stay(store)
        for store in stores
        if store.there and store.role != ARTIFACTS and store.name not in delete_data
    ]
    stays += [Stay(stranger.what, stranger.why) for stranger in found.strangers]
    ledger = any(store.there for store in stores if store.role == LEDGER)
    return Teardown(tuple(steps), tuple(stays), tuple(unseen), ledger)


# The steps.


def _of_notification(entry: Notification) -> Step:
    prefix = f" for {entry.prefix}" if entry.prefix else ""
    return Step(
        "notification",
        entry.bucket,
        f"the notification of {entry.bucket}{prefix} that calls {entry.function}",
        "the function is this branch's",
        notification=entry,
    )


def _of_thing(thing: Thing) -> Step:
    seen = thing.seen
    detail = f" ({seen.detail})" if seen.detail else ""
    return Step("thing", seen.name, f"the {seen.kind} {seen.name}{detail}", thing.why, thing=thing)


def _of_stacks(branch: Branch, stacks: Iterable[Held]) -> Iterator[Step]:
    for held in stacks:
        name = held.state.name
        data_in = [r for r in held.resources if r.type in retain.HOLD_DATA]
        if data_in:
            names = ", ".join(r.name for r in data_in if r.type != "Custom::S3AutoDeleteObjects")
            yield Step("retain", name, f"{names}: let go by the stack {name}", "data outlives it")
        for resource in held.resources:
            if resource.type == "AWS::ECR::Repository":
                yield Step("images", resource.name, f"the images in {resource.name}")
        count = len(held.resources) - len(data_in)
        what = ", ".join(
            f"{number} x {word(type)}" if number > 1 else word(type)
            for type, number in held.counts.most_common()
            if type not in retain.HOLD_DATA
        )
        yield Step("stack", name, f"the stack {name} with {count} resources", what)


def _of_stores(stores: Iterable[Store], delete_data: Sequence[str]) -> Iterator[Step]:
    """Buckets, and at last the ledger: a removal that breaks off is on record until then."""
    for store in sorted(stores, key=lambda store: store.kind == "table"):
        if not store.there:
            continue
        if store.role == ARTIFACTS:
            why = f"{store.contents}; templates, sources and builds, which can be made again"
            yield Step("bucket", store.name, f"the bucket {store.name}", why)
        elif store.name in delete_data:
            shared = f"; also used by {', '.join(store.users)}" if store.users else ""
            yield Step(
                store.kind,
                store.name,
                f"the {store.role} {store.name} with all that is in it",
                f"{store.contents}{shared}; --delete-data names it",
                dangerous=True,
            )


# What holds data.


def _stores(branch: Branch, found: Owned, unseen: list[str]) -> tuple[Store, ...]:
    """The buckets and the table of a branch, as far as they can be looked at."""
    clients, keys, names = branch.clients, branch.keys, branch.names
    ours = {t.seen.name for t in found.things if t.seen.kind == "function"}
    ours |= {r.name for s in found.stacks for r in s.resources if r.type == "AWS::Lambda::Function"}

    def users(name: str) -> tuple[str, ...]:
        return data.users(branch, name, found.functions, ours)

    roles = {keys.input_bucket_name: "input bucket", keys.output_bucket_name: "output bucket"}
    if keys.input_bucket_name == keys.output_bucket_name:
        roles = {keys.input_bucket_name: "input and output bucket"}
    for held in found.stacks:
        for resource in held.resources:
            if resource.type == "AWS::S3::Bucket":
                roles.setdefault(resource.name, f"bucket of the stack {held.state.name}")
    for name in tried("older buckets", unseen, partial(data.older_buckets, branch)) or ():
        roles.setdefault(name, "bucket of the older recipe's builds")
    asked = [
        (name, partial(data.bucket, clients, name, role, users(name)))
        for name, role in roles.items()
        if name
    ]
    own = names.artifacts_bucket(branch.place.account, branch.place.region)
    asked.append((own, partial(data.bucket, clients, own, ARTIFACTS)))
    table = names.ledger_table
    asked.append((table, partial(data.table, clients, table, LEDGER)))
    stores = [tried(name, unseen, ask) for name, ask in asked]
    return tuple(store for store in stores if store is not None)


def _stay(store: Store) -> Stay:
    more = "".join(f" --used-by {user}" for user in store.users)
    used = f", also used by {' and '.join(store.users)}" if store.users else ""
    return Stay(
        f"the {store.role} {store.name}{used}: {store.contents}",
        f"data stays; `--delete-data {store.name}{more}` deletes it with all that is in it",
    )


def _check_named(
    branch: Branch, stores: Iterable[Store], delete_data: Sequence[str], used_by: Sequence[str]
) -> None:
    known = {store.name: store for store in stores if store.role != ARTIFACTS}
    for name in delete_data:
        store = known.get(name)
        if store is None:
            raise UsageError(
                f"{name} holds no data of the branch {branch.name}",
                why=f"what does: {', '.join(known)}",
                next="name one of these with --delete-data, or leave it out",
            )
        missing = [user for user in store.users if user not in used_by]
        if missing and store.there:
            more = " ".join(f"--used-by {user}" for user in store.users)
            raise UsageError(
                f"{name} is used by {' and '.join(missing)} too",
                why=f"to delete it would take the data of {' and '.join(missing)} along",
                next=f"if that is meant, say so: --delete-data {name} {more}",
            )


# The acts.


@dataclass(frozen=True)
class Following:
    """Who is told of what goes on."""

    step: Callable[[Step], None]
    """A step begins."""
    event: Told
    """Something happened in a stack."""
    count: Callable[[int], None]
    """So many objects more were deleted."""
    say: Say
    """A remark."""


def carry_out(
    branch: Branch, teardown: Teardown, following: Following, *, poll: float = 2.0
) -> None:
    """Take all steps.

    Raises:
        ReleaseInProgress: a release of the branch is going on.
        TidegateError: a step failed; those before it are done, and a new plan goes on from there.
    """
    with _on_record(branch, teardown):
        for step in teardown.steps:
            if step.act != "table":
                following.step(step)
                _take(branch, step, following, poll)
    for step in teardown.steps:
        if step.act == "table":
            following.step(step)
            data.delete_table(branch.clients, step.name)


@contextmanager
def _on_record(branch: Branch, teardown: Teardown) -> Iterator[None]:
    """Hold the branch, so that no release goes on meanwhile; and put the removal on record."""
    if not teardown.ledger or not teardown.steps:
        yield
        return
    history, now = History(branch.names.ledger_table, branch.clients), datetime.now(timezone.utc)
    removal = Release(f"{now:%Y%m%dT%H%M%S}-removed", "", branch.who, now)
    with history.releasing(removal):
        yield
        if history.last() is not None:
            ended = datetime.now(timezone.utc)
            history.put(replace(removal, state="removed", ended=ended))


def _take(branch: Branch, step: Step, following: Following, poll: float) -> None:
    clients, way = branch.clients, Way(branch.clients, branch.place)
    if step.act == "notification" and step.notification is not None:
        _remove_notification(way, step.notification)
    elif step.act == "thing" and step.thing is not None:
        _remove(way, step.thing.seen)
    elif step.act == "retain":
        retain.retain_data(clients, branch.place, step.name, say=following.say, poll=poll)
    elif step.act == "images":
        _remove_images(clients, step.name)
    elif step.act == "stack":
        _delete_stack(branch, step.name, following, poll)
    elif step.act == "bucket":
        data.delete_bucket(clients, step.name, following.count)


def _remove(way: Way, seen: Seen) -> None:
    handler = next(handler for handler in HANDLERS if handler.kind == seen.kind)
    handlers.remove(handler, way, seen)


def _remove_notification(way: Way, entry: Notification) -> None:
    """Take one entry out of a bucket's notifications, and put all others back as they are."""
    with explained("change the notifications of", way.place.bucket(entry.bucket)):
        client = way.clients.s3
        answer: Any = client.get_bucket_notification_configuration(Bucket=entry.bucket)
        answer.pop("ResponseMetadata", None)
        entries = answer.get("LambdaFunctionConfigurations", [])
        kept = [
            one
            for one in entries
            if one.get("Id", "") != entry.id
            or unmanaged.function_of(way, one["LambdaFunctionArn"]) != entry.function
        ]
        if len(kept) == len(entries):
            return
        answer["LambdaFunctionConfigurations"] = kept
        # Else S3 asks the targets of all others whether they would still take its messages.
        client.put_bucket_notification_configuration(
            Bucket=entry.bucket,
            NotificationConfiguration=answer,
            SkipDestinationValidation=True,
        )


def _remove_images(clients: Clients, repository: str) -> None:
    """A repository with images in it is deleted by no stack."""
    client = clients.client("ecr")
    failed: list[Any] = []
    try:
        for _ in range(_ROUNDS):  # what an index refers to goes after the index
            with explained("list the images of", repository):
                pages = client.get_paginator("list_images").paginate(repositoryName=repository)
                found = sorted({i["imageDigest"] for page in pages for i in page["imageIds"]})
            failed = []
            for n in range(0, len(found), _IMAGES_AT_ONCE):
                ids = [{"imageDigest": digest} for digest in found[n : n + _IMAGES_AT_ONCE]]
                with explained("remove images from", repository):
                    answer = client.batch_delete_image(repositoryName=repository, imageIds=ids)
                failed += answer.get("failures", ())
            if not failed:
                return
    except Exception as error:
        if not is_gone(error):
            raise
        return
    raise StorageError(
        f"{len(failed)} images of {repository} cannot be removed",
        why=str(failed[0].get("failureReason", "")),
        next="look at them in AWS's console, then do the same again",
    )


def _delete_stack(branch: Branch, name: str, following: Following, poll: float) -> None:
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=following.say, poll=poll)
    state = stacks.wait(name, following.event)
    if not state.exists:
        return
    check_role(branch, state)
    left = retain.at_risk(branch.clients, state.id)
    if left:  # someone has changed it since the plan was made
        raise StorageError(
            f"the stack {name} would take data along: {', '.join(left)}",
            next="do the same again: it is looked at anew",
        )
    stacks.delete(name, progress=following.event)


def check_role(branch: Branch, state: StackState) -> None:
    """A stack is deleted with the role that it was deployed with, which must still be there."""
    role = state.role.rsplit("/", 1)[-1]
    if not role:
        return
    try:
        with explained("look at the role", state.role):
            branch.clients.client("iam").get_role(RoleName=role)
    except Exception as error:
        if not is_gone(error):
            return  # whether it is there is not known: CloudFormation will say
        raise StorageError(
            f"the stack {state.name} cannot be deleted: its role {role} is gone",
            why="CloudFormation works in it with this role, which the stack"
            f" {branch.names.codepipeline_stack} makes, and somebody has deleted that before",
            next=f"`tidegate bootstrap {branch.name}` makes it again; then do the same again",
        ) from None
