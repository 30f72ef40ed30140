"""Executes the steps of a teardown, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from tidegate.deploy.cloudformation import retain
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.history import History, Release
from tidegate.deploy.resources.base import AwsContext, delete_resource, is_gone
from tidegate.deploy.resources.unmanaged import BucketNotification, function_in
from tidegate.deploy.teardown import stores
from tidegate.deploy.teardown.planning import Step, Teardown
from tidegate.errors import StorageError
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.clients import Clients, explained

_IMAGES_AT_ONCE, _ROUNDS = 100, 4


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called during a teardown."""

    step: Callable[[Step], None]
    """A step begins."""
    event: Callable[[Event], None]
    """Something happened in a stack."""
    count: Callable[[int], None]
    """This many more objects were deleted."""
    say: Callable[[str], None]
    """A message."""


def execute_teardown(
    branch: Branch, teardown: Teardown, callbacks: Callbacks, *, poll: float = 2.0
) -> None:
    """Execute all steps.

    Raises:
        ReleaseInProgress: a release of the branch is in progress.
        TidegateError: a step failed; earlier ones are done, and a new plan continues from there.
    """
    with _recorded(branch, teardown):
        for step in teardown.steps:
            if step.act != "table":
                callbacks.step(step)
                _execute(branch, step, callbacks, poll)
    for step in teardown.steps:
        if step.act == "table":
            callbacks.step(step)
            stores.delete_table(branch.clients, step.name)


@contextmanager
def _recorded(branch: Branch, teardown: Teardown) -> Iterator[None]:
    """Lock the branch so that no release starts, and record the teardown in its history."""
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


def _execute(branch: Branch, step: Step, callbacks: Callbacks, poll: float) -> None:
    aws = AwsContext(branch.clients, branch.place)
    if step.act == "notification" and step.notification is not None:
        _remove_notification(aws, step.notification)
    elif step.act == "resource" and step.resource is not None:
        delete_resource(aws, step.resource.found)
    elif step.act == "retain":
        retain.retain_data(_stacks(branch, callbacks, poll), step.name, say=callbacks.say)
    elif step.act == "images":
        _delete_images(aws, step.name)
    elif step.act == "stack":
        _delete_stack(branch, step.name, callbacks, poll)
    elif step.act == "bucket":
        stores.delete_bucket(aws.clients, step.name, callbacks.count)


def _stacks(branch: Branch, callbacks: Callbacks, poll: float) -> Stacks:
    return Stacks(branch.clients, branch.place, who=branch.who, say=callbacks.say, poll=poll)


def _remove_notification(aws: AwsContext, entry: BucketNotification) -> None:
    """Remove one notification of a bucket; all others stay as they are."""
    with explained("change the notifications of", aws.place.bucket(entry.bucket)):
        client = aws.clients.s3
        answer: Any = client.get_bucket_notification_configuration(Bucket=entry.bucket)
        answer.pop("ResponseMetadata", None)
        entries = answer.get("LambdaFunctionConfigurations", [])
        kept = [
            one
            for one in entries
            if one.get("Id", "") != entry.id
            or function_in(aws, one["LambdaFunctionArn"]) != entry.function
        ]
        if len(kept) == len(entries):
            return
        answer["LambdaFunctionConfigurations"] = kept
        # Otherwise S3 checks that the targets of all others still accept its messages.
        client.put_bucket_notification_configuration(
            Bucket=entry.bucket,
            NotificationConfiguration=answer,
            SkipDestinationValidation=True,
        )


def _delete_images(aws: AwsContext, repository: str) -> None:
    """Delete all images: CloudFormation does not delete a repository that contains some."""
    failed: list[Any] = []
    try:
        for _ in range(_ROUNDS):  # images that an index refers to can be deleted after the index
            failed = _delete_images_once(aws.clients, repository)
            if not failed:
                return
    except Exception as error:
        if not is_gone(error):
            raise
        return
    raise StorageError(
        f"cannot delete {quantity(len(failed), 'image')} of {repository}",
        why=str(failed[0].get("failureReason", "")),
        next="look at them in AWS's console, then run this again",
    )


def _delete_images_once(clients: Clients, repository: str) -> list[Any]:
    """Delete all images that can be deleted now; the failures."""
    client = clients.client("ecr")
    with explained("list the images of", repository):
        pages = client.get_paginator("list_images").paginate(repositoryName=repository)
        found = sorted({image["imageDigest"] for page in pages for image in page["imageIds"]})
    failed: list[Any] = []
    for n in range(0, len(found), _IMAGES_AT_ONCE):
        ids = [{"imageDigest": digest} for digest in found[n : n + _IMAGES_AT_ONCE]]
        with explained("delete images from", repository):
            answer = client.batch_delete_image(repositoryName=repository, imageIds=ids)
        failed += answer.get("failures", ())
    return failed


def _delete_stack(branch: Branch, name: str, callbacks: Callbacks, poll: float) -> None:
    stacks = _stacks(branch, callbacks, poll)
    state = stacks.wait(name, callbacks.event)
    if not state.exists:
        return
    check_role(branch, state)
    data = retain.at_risk(stacks, state)
    if data:  # someone has changed the stack since the plan was made
        raise StorageError(
            f"deleting the stack {name} would delete data: {', '.join(data)}",
            next="run this again: it makes a new plan",
        )
    stacks.delete(name, progress=callbacks.event)


def check_role(branch: Branch, state: StackState) -> None:
    """Check that the role with which a stack was deployed exists: it is needed to delete it.

    Raises:
        StorageError: it does not exist.
    """
    role = state.role.rsplit("/", 1)[-1]
    if not role:
        return
    try:
        with explained("look for the role", state.role):
            branch.clients.client("iam").get_role(RoleName=role)
    except Exception as error:
        if not is_gone(error):
            return  # unknown: CloudFormation will say
        raise StorageError(
            f"the stack {state.name} cannot be deleted: its role {role} does not exist",
            why="CloudFormation needs this role, which the stack"
            f" {branch.names.codepipeline_stack} creates, and someone has deleted it",
            next=f"`tidegate bootstrap {branch.name}` creates it again; then run this again",
        ) from None
