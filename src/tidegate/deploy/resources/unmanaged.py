"""The resources of a branch that belong to no stack, and those that only look like its own.

Stacks delete their own resources. This is about the others: what the older recipe created outside
its stack, and what an interrupted deletion left behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from tidegate.deploy.resources.base import (
    AwsContext,
    FoundResource,
    SearchableType,
    is_gone,
    tags_of,
)
from tidegate.deploy.resources.ownership import OwnershipRules
from tidegate.deploy.resources.registry import FUNCTION, RULE, SEARCHABLE_TYPES, identify_arn
from tidegate.errors import StorageError, TidegateError
from tidegate.targets.aws.clients import Missing, explained

_AT_ONCE = 8
T = TypeVar("T")
Known = set[tuple[SearchableType, str]]
"""Resources by type and name."""


@dataclass(frozen=True)
class UnmanagedResource:
    """A resource outside all stacks that belongs to the branch."""

    found: FoundResource
    """The resource."""
    why: str
    """The evidence that it belongs to the branch."""


@dataclass(frozen=True)
class ForeignResource:
    """A resource that looks like the branch's, and is kept."""

    what: str
    """The resource, with its name."""
    why: str
    """The evidence that it is not the branch's."""


@dataclass(frozen=True)
class BucketNotification:
    """A notification of a bucket that calls a function of the branch."""

    bucket: str
    """The bucket."""
    id: str
    """The id of the notification."""
    function: str
    """The function."""
    prefix: str
    """The keys that it is about."""


@dataclass(frozen=True)
class UnmanagedResources:
    """The result of a search."""

    resources: tuple[UnmanagedResource, ...] = ()
    """What belongs to the branch, in the order of deletion."""
    foreign: tuple[ForeignResource, ...] = ()
    """What looks like it, and belongs to someone else."""
    notifications: tuple[BucketNotification, ...] = ()
    """What calls its functions when files arrive, in the older recipe."""
    unchecked: tuple[str, ...] = ()
    """What could not be searched, and why."""


def attempt(what: str, unchecked: list[str], ask: Callable[[], T]) -> T | None:
    """AWS's answer; None if it refuses, and then a remark why is added to ``unchecked``."""
    try:
        with explained(f"look for {what}"):
            return ask()
    except TidegateError as error:
        unchecked.append(f"{what}: {error.why or error.what}")
    except Missing as error:
        unchecked.append(f"{what}: {error}")
    return None


def list_functions(aws: AwsContext, unchecked: list[str]) -> list[FoundResource]:
    """All functions of the account and region, of every branch and of others."""
    return attempt(FUNCTION.plural, unchecked, lambda: list(FUNCTION.find(aws, ""))) or []


def find_unmanaged(
    aws: AwsContext,
    rules: OwnershipRules,
    functions: Sequence[FoundResource],
    managed: Known,
    buckets: Iterable[str],
) -> UnmanagedResources:
    """All resources of the branch, but for those that its stacks manage.

    ``functions`` are all functions of the account and region; ``buckets`` those with notifications
    that may call the branch's functions.
    """
    own_functions = _search(aws, rules, functions, managed, FUNCTION)
    # A function's log belongs to whoever owns the function, however that is known.
    ours = {one.found.name for one in own_functions.resources}
    ours |= {name for type, name in managed if type is FUNCTION}
    theirs = {found.name for found in functions} - ours
    rules = replace(
        rules,
        logs=rules.logs | {f"/aws/lambda/{name}" for name in ours},
        foreign=frozenset(theirs),
    )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        search = partial(_search, aws, rules, functions, managed)
        found = list(pool.map(search, (one for one in SEARCHABLE_TYPES if one is not FUNCTION)))
    by_name = [own_functions, *found]
    known = managed | {_key(one.found) for result in by_name for one in result.resources}
    results = [*by_name, _find_by_tags(aws, rules, known)]
    resources = [one for result in results for one in result.resources]
    unchecked = [text for result in results for text in result.unchecked]
    tagged_functions = {r.found.name for r in resources if r.found.type is FUNCTION}
    ours, theirs = ours | tagged_functions, theirs - tagged_functions
    shared = _shared_rules(aws, resources, theirs, unchecked)
    foreign = [one for result in results for one in result.foreign]
    foreign += [*shared.values(), *_foreign_callers(aws, resources, unchecked)]
    order = {type: number for number, type in enumerate(SEARCHABLE_TYPES)}
    return UnmanagedResources(
        resources=tuple(
            sorted(
                (r for r in resources if not (r.found.type is RULE and r.found.name in shared)),
                key=lambda one: (order[one.found.type], one.found.name),
            )
        ),
        foreign=_merge(foreign),
        notifications=_find_notifications(aws, rules, ours, theirs, buckets, unchecked),
        unchecked=tuple(unchecked),
    )


def _merge(foreign: Iterable[ForeignResource]) -> tuple[ForeignResource, ...]:
    """Each resource once, with all the evidence."""
    found: dict[str, dict[str, None]] = {}
    for one in foreign:
        found.setdefault(one.what, {})[one.why] = None
    return tuple(ForeignResource(what, "; ".join(whys)) for what, whys in found.items())


def _key(found: FoundResource) -> tuple[SearchableType, str]:
    return found.type, found.name


def _search(
    aws: AwsContext,
    rules: OwnershipRules,
    functions: Sequence[FoundResource],
    managed: Known,
    type: SearchableType,
) -> UnmanagedResources:
    """The resources of one type that are the branch's, and those that look like it, by name."""
    unchecked: list[str] = []

    def find() -> list[FoundResource]:
        if type is FUNCTION:
            return [*functions]
        found = [one for prefix in rules.prefixes(type) for one in type.find(aws, prefix)]
        return list({one.name: one for one in found}.values())

    # Only ask for the tags of resources with names that may be the branch's.
    candidates = [
        found
        for found in attempt(type.plural, unchecked, find) or ()
        if _key(found) not in managed
        and rules.decide(type, found.name, {}, found.settings) is not None
    ]
    return _decide(aws, rules, candidates, unchecked)


def _decide(
    aws: AwsContext,
    rules: OwnershipRules,
    candidates: Iterable[FoundResource],
    unchecked: list[str],
) -> UnmanagedResources:
    """Sort candidates into the branch's own and others."""
    resources: list[UnmanagedResource] = []
    foreign: list[ForeignResource] = []
    for found in candidates:
        tags = attempt(f"tags of the {found.title}", unchecked, partial(tags_of, aws, found))
        if tags is None:  # they might say that it belongs to someone else
            foreign.append(ForeignResource(f"the {found.title}", "its tags cannot be read"))
            continue
        ownership = rules.decide(found.type, found.name, tags, found.settings)
        if ownership is not None and ownership.ours:
            resources.append(UnmanagedResource(replace(found, tags=tags), ownership.why))
        elif ownership is not None:
            foreign.append(ForeignResource(f"the {found.title}", ownership.why))
    return UnmanagedResources(tuple(resources), tuple(foreign), unchecked=tuple(unchecked))


def _find_by_tags(aws: AwsContext, rules: OwnershipRules, known: Known) -> UnmanagedResources:
    """What has the branch's tags and was not found by its name."""
    filters = [{"Key": key, "Values": [value]} for key, value in rules.tags.items()]
    unchecked: list[str] = []

    def list_arns() -> list[str]:
        items = aws.list_all(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=filters,
        )
        return [item["ResourceARN"] for item in items]

    results: list[UnmanagedResources] = []
    for arn in attempt("tagged resources", unchecked, list_arns) or ():
        identified = identify_arn(arn)
        if identified is None or identified in known:
            continue
        type, name = identified
        # AWS goes on listing deleted resources for a while: check that it still exists.
        find = partial(_list, type, aws, name)
        existing = attempt(f"the {type.label} {name}", unchecked, find) or []
        candidates = [found for found in existing if found.name == name]
        results.append(_decide(aws, rules, candidates, unchecked=[]))
    return UnmanagedResources(
        tuple(one for result in results for one in result.resources),
        tuple(one for result in results for one in result.foreign),
        unchecked=(*unchecked, *(text for result in results for text in result.unchecked)),
    )


def _list(type: SearchableType, aws: AwsContext, prefix: str) -> list[FoundResource]:
    return list(type.find(aws, prefix))


# Rules and functions.


def _shared_rules(
    aws: AwsContext,
    resources: Iterable[UnmanagedResource],
    theirs: set[str],
    unchecked: list[str],
) -> dict[str, ForeignResource]:
    """The branch's rules that also call functions of others, by name: they are kept."""
    kept: dict[str, ForeignResource] = {}
    for found in (one.found for one in resources if one.found.type is RULE):
        targets = attempt(f"targets of {found.name}", unchecked, partial(_targets, aws, found.name))
        others = sorted({function_in(aws, arn) for arn in targets or ()} & theirs)
        if others:
            why = f"it also calls {', '.join(others)}"
            kept[found.name] = ForeignResource(f"the {found.title}", why)
    return kept


def _targets(aws: AwsContext, rule: str) -> list[str]:
    found = aws.list_all("events", "list_targets_by_rule", "Targets", Rule=rule)
    return [str(target["Arn"]) for target in found]


def _foreign_callers(
    aws: AwsContext, resources: Iterable[UnmanagedResource], unchecked: list[str]
) -> list[ForeignResource]:
    """Rules with other names that call functions which are to be deleted."""
    resources = list(resources)
    own = {one.found.name for one in resources if one.found.type is RULE}
    callers: list[ForeignResource] = []
    for found in (one.found for one in resources if one.found.type is FUNCTION):
        names = attempt(
            f"callers of {found.name}", unchecked, partial(_rules_calling, aws, found.arn)
        )
        callers += [
            ForeignResource(f"the rule {name}", f"it calls {found.name}, which will be deleted")
            for name in names or ()
            if name not in own
        ]
    return callers


def _rules_calling(aws: AwsContext, arn: str) -> list[str]:
    found = aws.list_all("events", "list_rule_names_by_target", "RuleNames", TargetArn=arn)
    return [str(name) for name in found]


def function_in(aws: AwsContext, arn: str) -> str:
    """The name of a function of this account and region, from its ARN; "" for anything else."""
    parts, place = arn.split(":"), aws.place
    if len(parts) < 7 or parts[2:6] != ["lambda", place.region, place.account, "function"]:
        return ""
    return parts[6]


# Notifications of buckets.


def _find_notifications(
    aws: AwsContext,
    rules: OwnershipRules,
    ours: set[str],
    theirs: set[str],
    buckets: Iterable[str],
    unchecked: list[str],
) -> tuple[BucketNotification, ...]:
    """The notifications of these buckets that call the branch's functions, deleted ones too."""
    found: list[BucketNotification] = []
    for bucket in buckets:
        entries = attempt(
            f"notifications of {bucket}", unchecked, partial(read_notifications, aws, bucket)
        )
        for entry in entries or ():
            name = function_in(aws, entry["LambdaFunctionArn"])
            deleted = name and name not in theirs and name not in ours
            ownership = rules.decide(FUNCTION, name) if deleted else None
            if name in ours or (ownership is not None and ownership.ours):
                found.append(BucketNotification(bucket, entry.get("Id", ""), name, _prefix(entry)))
    return tuple(found)


def read_notifications(aws: AwsContext, bucket: str) -> list[dict[str, Any]]:
    """The notifications of a bucket that call functions; none if the bucket does not exist."""
    try:
        with explained("read the notifications of", aws.place.bucket(bucket)):
            answer = aws.clients.s3.get_bucket_notification_configuration(Bucket=bucket)
    except (StorageError, Missing) as error:
        if is_gone(error):
            return []
        raise
    return [json.loads(json.dumps(one)) for one in answer.get("LambdaFunctionConfigurations", ())]


def _prefix(entry: Mapping[str, Any]) -> str:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    return next((str(r["Value"]) for r in rules if str(r["Name"]).lower() == "prefix"), "")
