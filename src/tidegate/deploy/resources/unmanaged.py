"""What a branch has outside its stacks, and what only looks like it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from tidegate.deploy.resources.handlers import HANDLERS, Handler, Seen, Way, is_gone, tags_of
from tidegate.deploy.resources.ownership import Belongings, Kind
from tidegate.errors import StorageError, TidegateError
from tidegate.targets.aws.clients import Missing, explained

_AT_ONCE = 8
T = TypeVar("T")
Inside = set[tuple[Kind, str]]

_ARNS: Mapping[str, tuple[Kind, str]] = {
    "cloudwatch": ("alarm", "alarm:"),
    "codebuild": ("build project", "project/"),
    "codepipeline": ("pipeline", ""),
    "ecr": ("repository", "repository/"),
    "events": ("rule", "rule/"),
    "lambda": ("function", "function:"),
    "logs": ("log group", "log-group:"),
    "scheduler": ("schedule group", "schedule-group/"),
    "sns": ("topic", ""),
    "sqs": ("queue", ""),
}
"""By service: the kind of things that we look for, and how the resource in an ARN begins."""


@dataclass(frozen=True)
class Thing:
    """Something outside all stacks that is the branch's."""

    seen: Seen
    """What it is."""
    why: str
    """How that is known."""


@dataclass(frozen=True)
class Stranger:
    """Something that looks like the branch's, and is left alone."""

    what: str
    """What it is, with its name."""
    why: str
    """What speaks against it."""


@dataclass(frozen=True)
class Notification:
    """An entry of a bucket's notifications that calls a function of the branch's."""

    bucket: str
    """The bucket."""
    id: str
    """The entry's id."""
    function: str
    """The function."""
    prefix: str
    """The keys that it is about."""


@dataclass(frozen=True)
class Loose:
    """What was found."""

    things: tuple[Thing, ...] = ()
    """What is the branch's, in the order in which it is to go."""
    strangers: tuple[Stranger, ...] = ()
    """What looks like it, and is another's."""
    notifications: tuple[Notification, ...] = ()
    """What calls its functions when files arrive, in the older recipe."""
    unseen: tuple[str, ...] = ()
    """What could not be looked for, and why."""


def tried(what: str, unseen: list[str], ask: Callable[[], T]) -> T | None:
    """What AWS tells; None where it does not, with a remark why."""
    try:
        with explained(f"look for {what}"):
            return ask()
    except TidegateError as error:
        unseen.append(f"{what}: {error.why or error.what}")
    except Missing as error:
        unseen.append(f"{what}: {error}")
    return None


def functions(way: Way, unseen: list[str]) -> list[Seen]:
    """All functions of the account and region, whosever they are."""
    find = next(handler.find for handler in HANDLERS if handler.kind == "function")
    return tried("functions", unseen, lambda: list(find(way, ""))) or []


def look(
    way: Way,
    belongings: Belongings,
    functions: Sequence[Seen],
    inside: Inside,
    buckets: Iterable[str],
) -> Loose:
    """All that is the branch's, but for what is ``inside`` its stacks."""
    code = [handler for handler in HANDLERS if handler.kind == "function"]
    found = [_of_kind(way, belongings, functions, inside, handler) for handler in code]
    # A function's log is whose the function is, however that is known.
    ours = {thing.seen.name for one in found for thing in one.things}
    ours |= {name for kind, name in inside if kind == "function"}
    belongings = replace(
        belongings,
        logs=belongings.logs | {f"/aws/lambda/{name}" for name in ours},
        foreign=frozenset(seen.name for seen in functions) - ours,
    )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        search = partial(_of_kind, way, belongings, functions, inside)
        found += pool.map(search, (handler for handler in HANDLERS if handler not in code))
    tagged = _tagged(way, belongings, inside | {_key(t.seen) for one in found for t in one.things})
    things = [thing for one in (*found, tagged) for thing in one.things]
    strangers = [stranger for one in (*found, tagged) for stranger in one.strangers]
    unseen = [text for one in (*found, tagged) for text in one.unseen]
    ours = {name for kind, name in inside if kind == "function"}
    ours |= {thing.seen.name for thing in things if thing.seen.kind == "function"}
    theirs = {seen.name for seen in functions} - ours
    rules = _shared_rules(way, things, theirs, unseen)
    strangers += [*rules.values(), *_callers(way, things, unseen)]
    order = {handler.kind: number for number, handler in enumerate(HANDLERS)}
    return Loose(
        things=tuple(
            sorted(
                (thing for thing in things if _key(thing.seen) not in rules),
                key=lambda thing: (order[thing.seen.kind], thing.seen.name),
            )
        ),
        strangers=_each_once(strangers),
        notifications=_notifications(way, belongings, ours, theirs, buckets, unseen),
        unseen=tuple(unseen),
    )


def _each_once(strangers: Iterable[Stranger]) -> tuple[Stranger, ...]:
    """All that speaks against each of them, together."""
    found: dict[str, dict[str, None]] = {}
    for stranger in strangers:
        found.setdefault(stranger.what, {})[stranger.why] = None
    return tuple(Stranger(what, "; ".join(whys)) for what, whys in found.items())


def _key(seen: Seen) -> tuple[Kind, str]:
    return seen.kind, seen.name


def _of_kind(
    way: Way, belongings: Belongings, functions: Sequence[Seen], inside: Inside, handler: Handler
) -> Loose:
    """The things of one kind that are the branch's, and those that look like it, by name."""
    unseen: list[str] = []

    def find() -> list[Seen]:
        if handler.kind == "function":
            return [*functions]
        prefixes = belongings.prefixes(handler.kind)
        found = [seen for prefix in prefixes for seen in handler.find(way, prefix)]
        return list({seen.name: seen for seen in found}.values())

    # By its name alone most is nobody's that we know: the tags of that are not worth asking for.
    candidates = [
        seen
        for seen in tried(f"{handler.kind}s", unseen, find) or ()
        if _key(seen) not in inside
        and belongings.judge(handler.kind, seen.name, {}, seen.settings) is not None
    ]
    return _judged(way, belongings, handler, candidates, unseen)


def _judged(
    way: Way,
    belongings: Belongings,
    handler: Handler,
    candidates: Iterable[Seen],
    unseen: list[str],
) -> Loose:
    things: list[Thing] = []
    strangers: list[Stranger] = []
    for seen in candidates:
        tags = tried(
            f"tags of the {seen.kind} {seen.name}", unseen, partial(tags_of, handler, way, seen)
        )
        if tags is None:  # they might say that it is another's
            strangers.append(Stranger(f"the {seen.kind} {seen.name}", "its tags cannot be read"))
            continue
        verdict = belongings.judge(seen.kind, seen.name, tags, seen.settings)
        if verdict is not None and verdict.ours:
            things.append(Thing(replace(seen, tags=tags), verdict.why))
        elif verdict is not None:
            strangers.append(Stranger(f"the {seen.kind} {seen.name}", verdict.why))
    return Loose(tuple(things), tuple(strangers), unseen=tuple(unseen))


def _tagged(way: Way, belongings: Belongings, known: Inside) -> Loose:
    """What has the branch's tags and was not found by its name."""
    filters = [{"Key": key, "Values": [value]} for key, value in belongings.tags.items()]
    unseen: list[str] = []

    def list_them() -> list[str]:
        items = way.pages(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=filters,
        )
        return [item["ResourceARN"] for item in items]

    handlers = {handler.kind: handler for handler in HANDLERS}
    found: list[Loose] = []
    for arn in tried("tagged things", unseen, list_them) or ():
        told = named(arn)
        if told is None or told in known:
            continue
        handler, name = handlers[told[0]], told[1]
        # AWS goes on listing what is gone for a while: it is looked at itself.
        find = partial(_all, handler, way, name)
        there = tried(f"the {handler.kind} {name}", unseen, find) or []
        candidates = [seen for seen in there if seen.name == name]
        found.append(_judged(way, belongings, handler, candidates, unseen=[]))
    return Loose(
        tuple(thing for one in found for thing in one.things),
        tuple(stranger for one in found for stranger in one.strangers),
        unseen=(*unseen, *(text for one in found for text in one.unseen)),
    )


def _all(handler: Handler, way: Way, prefix: str) -> list[Seen]:
    return list(handler.find(way, prefix))


def named(arn: str) -> tuple[Kind, str] | None:
    """The kind and name of what an ARN stands for, if it is of a kind that we look for; pure."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] not in _ARNS:
        return None
    kind, prefix = _ARNS[parts[2]]
    if not parts[5].startswith(prefix):
        return None
    return kind, parts[5][len(prefix) :].removesuffix(":*")


# Rules and functions.


def _shared_rules(
    way: Way, things: Iterable[Thing], theirs: set[str], unseen: list[str]
) -> dict[tuple[Kind, str], Stranger]:
    """Rules of ours that call others' functions too: they stay."""
    found: dict[tuple[Kind, str], Stranger] = {}
    for seen in (thing.seen for thing in things if thing.seen.kind == "rule"):
        targets = tried(f"targets of {seen.name}", unseen, partial(_targets, way, seen.name)) or []
        others = sorted({function_of(way, arn) for arn in targets} & theirs)
        if others:
            why = f"it also calls {', '.join(others)}"
            found[_key(seen)] = Stranger(f"the rule {seen.name}", why)
    return found


def _targets(way: Way, rule: str) -> list[str]:
    return [
        str(t["Arn"]) for t in way.pages("events", "list_targets_by_rule", "Targets", Rule=rule)
    ]


def _callers(way: Way, things: Iterable[Thing], unseen: list[str]) -> list[Stranger]:
    """Rules by other names that call functions which are to go."""
    rules = {thing.seen.name for thing in things if thing.seen.kind == "rule"}
    found: list[Stranger] = []
    for seen in (thing.seen for thing in things if thing.seen.kind == "function"):
        names = tried(f"callers of {seen.name}", unseen, partial(_rules_on, way, seen.arn)) or []
        found += [
            Stranger(f"the rule {name}", f"it calls {seen.name}, which goes")
            for name in names
            if name not in rules
        ]
    return found


def _rules_on(way: Way, arn: str) -> list[str]:
    pages = way.pages("events", "list_rule_names_by_target", "RuleNames", TargetArn=arn)
    return [str(name) for name in pages]


def function_of(way: Way, arn: str) -> str:
    """The name of a function of this account and region, by its ARN; "" for anything else."""
    parts, place = arn.split(":"), way.place
    if len(parts) < 7 or parts[2:6] != ["lambda", place.region, place.account, "function"]:
        return ""
    return parts[6]


# Notifications of buckets.


def _notifications(
    way: Way,
    belongings: Belongings,
    ours: set[str],
    theirs: set[str],
    buckets: Iterable[str],
    unseen: list[str],
) -> tuple[Notification, ...]:
    """The entries of these buckets that call functions of the branch's, there or gone."""
    found: list[Notification] = []
    for bucket in buckets:
        entries = tried(f"notifications of {bucket}", unseen, partial(notified, way, bucket))
        for entry in entries or ():
            name = function_of(way, entry["LambdaFunctionArn"])
            gone = name and name not in theirs and name not in ours
            verdict = belongings.judge("function", name) if gone else None
            if name in ours or (verdict is not None and verdict.ours):
                found.append(Notification(bucket, entry.get("Id", ""), name, _prefix(entry)))
    return tuple(found)


def notified(way: Way, bucket: str) -> list[dict[str, Any]]:
    """The entries of a bucket's notifications that call functions; none where it is gone."""
    try:
        with explained("read the notifications of", way.place.bucket(bucket)):
            answer = way.clients.s3.get_bucket_notification_configuration(Bucket=bucket)
    except (StorageError, Missing) as error:
        if is_gone(error):
            return []
        raise
    return [json.loads(json.dumps(one)) for one in answer.get("LambdaFunctionConfigurations", ())]


def _prefix(entry: Mapping[str, Any]) -> str:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    return next((str(r["Value"]) for r in rules if str(r["Name"]).lower() == "prefix"), "")
