"""How events about new files reach the configs of a stack; pure.

S3 sends them to the account's default event bus, which takes 300 rules: too few for a rule for
each config. So each stack has one rule there, for the common prefixes of its configs. It passes
events on to an event bus of the stack, on which each config has a rule with its own prefix. A file
that two configs wait for comes to both, whether they are in one stack or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tidegate.deploy.design.model import Arrivals, ConfigResources, Rule
from tidegate.deploy.design.roles import Role, events_statements
from tidegate.targets.aws.names import numbered

if TYPE_CHECKING:
    from tidegate.deploy.core.place import Place
    from tidegate.deploy.design.plan import Planner

LONGEST_PATTERN = 2048
"""Characters of a rule's pattern that EventBridge takes."""


def plan_arrivals(
    planner: Planner, number: int, configs: Sequence[ConfigResources]
) -> Arrivals | None:
    """The event bus of the stack of that number, and what passes events on to it."""
    rules = [config.rule for config in configs if config.rule is not None]
    if not rules:
        return None
    names, place = planner.names, planner.place
    bus = numbered(names.event_bus, number, 256)
    bus_arn = place.arn("events", f"event-bus/{bus}")
    name = names.arrivals("rule", number)
    arn = place.arn("events", f"rule/{name}")
    prefixes = [key["prefix"] for rule in rules for key in rule.pattern["detail"]["object"]["key"]]
    pattern = arrival_pattern(planner.keys.input_bucket_name or "", prefixes)
    dead = names.arrivals("dead_letter_queue", number)
    role = Role(
        numbered(names.events_role, number),
        "events.amazonaws.com",
        events_statements(bus_arn),
        # The console of EventBridge makes roles with these conditions.
        {"StringEquals": {"aws:SourceAccount": place.account, "aws:SourceArn": arn}},
        planner.boundary,
        names.role_path,
    )
    rule = Rule(name, arn, pattern)
    return Arrivals(bus, bus_arn, rule, role, dead, place.arn("sqs", dead))


def on_bus(config: ConfigResources, arrivals: Arrivals | None, place: Place) -> ConfigResources:
    """The config with its rule on the stack's event bus."""
    if config.rule is None or arrivals is None:
        return config
    bus, name = arrivals.bus, config.rule.name
    rule = replace(config.rule, bus=bus, arn=place.arn("events", f"rule/{bus}/{name}"))
    return replace(config, rule=rule)


def arrival_pattern(bucket: str, prefixes: Iterable[str]) -> dict[str, Any]:
    """The pattern of events about objects below these prefixes.

    If all prefixes are too long for one pattern, it has shorter ones, and matches more events.
    """
    found = common_prefixes(prefixes)
    while len(json.dumps(pattern := _pattern(bucket, found))) > LONGEST_PATTERN:
        found = common_prefixes(_shorten(found))
    return pattern


def common_prefixes(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without those that begin with another one, sorted."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def _pattern(bucket: str, prefixes: Sequence[str]) -> dict[str, Any]:
    detail = {
        "bucket": {"name": [bucket]},
        "object": {"key": [{"prefix": prefix} for prefix in prefixes]},
    }
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}


def _shorten(prefixes: Sequence[str]) -> list[str]:
    """The sorted prefixes with one less: the two that are most alike become their common part."""
    if len(prefixes) == 1:
        return [prefixes[0][:-1]]
    shared = [_common_part(*pair) for pair in pairwise(prefixes)]
    at = max(range(len(shared)), key=lambda n: len(shared[n]))
    return [*prefixes[:at], shared[at], *prefixes[at + 2 :]]


def _common_part(one: str, other: str) -> str:
    """What both begin with."""
    length = next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), len(one))
    return one[:length]
