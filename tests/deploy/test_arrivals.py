"""Files that arrive: which configs S3's events reach, and within which limits of EventBridge."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_checks import of_type
from release_samples import ingest, many, plan_of, vap

from tidegate.deploy.design.arrivals import LONGEST_PATTERN, arrival_pattern, common_prefixes
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import synthesize
from tidegate.runtime.events import FileArrived
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input
from tidegate.runtime.select import takes
from tidegate.targets.aws import messages
from tidegate.targets.aws.messages import FunctionScope

NOW = datetime(2026, 11, 29, tzinfo=timezone.utc)


def matches(pattern: Any, event: Any) -> bool:
    """EventBridge's matching, as far as our patterns use it."""
    if isinstance(pattern, Mapping):
        return all(key in event and matches(part, event[key]) for key, part in pattern.items())
    return any(
        event.startswith(one["prefix"]) if isinstance(one, Mapping) else event == one
        for one in pattern
    )


def route(plan: Plan, bucket: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configs that get S3's event about a new file, and the event: by the rules of a plan."""
    event = messages.arrived(bucket, Input(key, "etag", 1))
    for stack in plan.stacks:
        if stack.arrivals is None:
            assert not any(config.rule for config in stack.configs)
        elif matches(stack.arrivals.rule.pattern, event):
            for config in stack.configs:
                if config.rule is not None and matches(config.rule.pattern, event):
                    assert config.rule.bus == stack.arrivals.bus
                    yield config.id, event


def starts(config: Config, event: Mapping[str, Any], output: str) -> bool:
    """Whether a message starts a run of a config, or is a companion."""
    scope = FunctionScope(config, "waves-raw", output)
    [content] = messages.read(event, NOW, scope)
    return isinstance(content, FileArrived) and takes(config, content.input.key)


FOLDERS = st.lists(st.sampled_from(["a", "b", "ab", "é", "x" * 90, "y" * 90]), max_size=4)
PATHS = FOLDERS.map(lambda parts: "".join(f"{part}/" for part in parts))
FILES = st.sampled_from(["f.csv", "a", "a.tmp", "b 1+%20.csv", ".hidden"])
INGESTS = st.tuples(PATHS, st.sampled_from([(), ("*.csv",), ("b/*",)]))


@settings(max_examples=60)
@given(
    st.lists(INGESTS, min_size=1, max_size=40),
    st.lists(st.tuples(PATHS, FILES), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_a_file_reaches_the_configs_that_it_reaches_on_this_machine(
    wanted: list[tuple[str, tuple[str, ...]]], files: list[tuple[str, str]], random: Any
) -> None:
    """Each once, whatever the prefixes, in however many stacks the configs are."""
    configs = [
        ingest(f"site{n}", input_path=path, ignore=ignore)
        for n, (path, ignore) in enumerate(wanted)
    ]
    plan = plan_of(*configs, vap(), present={config.id: random.randint(1, 3) for config in configs})
    by_id = {config.id: config for config in configs}
    for folder, name in files:
        key = f"{folder}{name}"
        got = list(route(plan, "waves-raw", key))
        assert max(Counter(id for id, _ in got).values(), default=1) == 1
        ran = {id for id, event in got if starts(by_id[id], event, "waves-products")}
        assert ran == {config.id for config in configs if takes(config, key)}
        assert not list(route(plan, "another-bucket", key))


@given(st.lists(st.text(string.ascii_letters + "é/🌊", max_size=300), min_size=1, max_size=40))
def test_common_prefixes_are_no_narrower(prefixes: list[str]) -> None:
    """Shorter than EventBridge's limit, and not wider than needed for that."""
    pattern = arrival_pattern("waves-raw", prefixes)
    assert len(json.dumps(pattern)) <= LONGEST_PATTERN
    found = [one["prefix"] for one in pattern["detail"]["object"]["key"]]
    assert all(any(prefix.startswith(one) for one in found) for prefix in prefixes)
    if sum(map(len, map(json.dumps, prefixes))) + 20 * len(prefixes) < 1500:
        assert found == common_prefixes(prefixes)
        assert set(found) <= set(prefixes)


def test_prefixes_that_are_most_alike_become_one() -> None:
    near = [f"lidar/{'z' * 60}/{n:02}/" for n in range(30)]
    [*others, last] = [
        one["prefix"]
        for one in arrival_pattern("waves-raw", ["buoy/morro/", *near])["detail"]["object"]["key"]
    ]
    assert others[0] == "buoy/morro/"
    assert last.startswith(f"lidar/{'z' * 60}/")


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_within_the_limits_of_event_buses(count: int) -> None:
    """A bus takes 300 rules, an account 100 buses: however many configs there are."""
    plan = plan_of(*many(count), ingest("last"))
    on_buses: Counter[tuple[str, str]] = Counter()
    for template in synthesize(plan):
        for rule in of_type(template, "Events::Rule").values():
            bus = rule.get("EventBusName", {"Ref": "default"})["Ref"]
            on_buses[bus, template.stack] += 1
            assert len(json.dumps(rule["EventPattern"])) <= LONGEST_PATTERN
    assert [n for (bus, _), n in on_buses.items() if bus == "default"] == [1] * len(plan.stacks)
    assert len(plan.stacks) <= 100
    assert max(on_buses.values()) <= 300


def test_no_bus_without_files() -> None:
    [stack] = plan_of(vap()).stacks
    assert stack.arrivals is None


def test_events_that_are_not_passed_on_go_to_the_sweep() -> None:
    [stack] = plan_of(ingest()).stacks
    assert stack.arrivals is not None
    event = json.loads(stack.sweep.schedule.message)
    assert event["tidegate"]["undelivered"] == stack.arrivals.dead_letters
