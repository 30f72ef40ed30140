"""Which resources of a stack still exist, and what is in them: asked of the services themselves.

CloudFormation's own drift detection takes minutes for a full stack. One request for each resource,
several at a time, takes a second or two; only a plain "no such resource" counts as missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tidegate.deploy.cloudformation.stack_resource import StackResource
from tidegate.deploy.resources.base import EMPTY, AwsContext, is_gone
from tidegate.deploy.resources.registry import resource_type
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Missing, explained

_AT_ONCE = 6


@dataclass(frozen=True)
class DriftReport:
    """Which resources of a stack are missing."""

    missing: tuple[StackResource, ...]
    """The resources that no longer exist."""
    unchecked: tuple[str, ...]
    """The types of resources that could not be checked."""


def find_missing(aws: AwsContext, resources: Iterable[StackResource]) -> DriftReport:
    """Check which resources of a stack still exist."""
    checked = [r for r in resources if resource_type(r.type).existence_checked and r.physical]
    with ThreadPoolExecutor(_AT_ONCE, "tidegate-drift") as pool:
        existence = list(pool.map(partial(_exists, aws), checked))
    missing = tuple(r for r, exists in zip(checked, existence) if exists is False)
    unchecked = {r.type for r, exists in zip(checked, existence) if exists is None}
    return DriftReport(missing, tuple(sorted(unchecked)))


def describe_contents(aws: AwsContext, resources: Iterable[StackResource]) -> dict[str, str]:
    """What is in the resources that hold something, in words, by logical id; if known."""
    asked = [r for r in resources if resource_type(r.type).holds and r.physical]
    with ThreadPoolExecutor(_AT_ONCE, "tidegate-drift") as pool:
        contents = list(pool.map(partial(_contents, aws), asked))
    return {resource.logical: text for resource, text in zip(asked, contents) if text}


def _exists(aws: AwsContext, resource: StackResource) -> bool | None:
    """Whether a resource exists; None if that cannot be found out."""
    try:
        with explained(f"look for {resource.name}"):
            return resource_type(resource.type).exists_by_id(aws, resource.physical)
    except Exception as error:
        if is_gone(error):
            return False
        if isinstance(error, (TidegateError, Missing)):
            return None
        raise


def _contents(aws: AwsContext, resource: StackResource) -> str:
    try:
        with explained(f"look into {resource.name}"):
            return resource_type(resource.type).contents(aws, resource.physical)
    except Exception as error:
        if is_gone(error):
            return EMPTY
        if isinstance(error, TidegateError):
            return ""
        raise
