"""Collects all parts of the status in parallel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from typing import TypeVar

from tidegate import config as configuration
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.console import Console
from tidegate.deploy.status import buckets, cost, deployed, running
from tidegate.deploy.status.attempts import or_unknown
from tidegate.deploy.status.model import Config, Stack, Status, Unknown
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.names import numbered

_AT_ONCE = 16
T = TypeVar("T")


def collect_status(branch: Branch, now: datetime | None = None) -> Status:
    """Everything that AWS says about a branch; what it does not say is ``Unknown``.

    Raises:
        ConfigurationError: there are no credentials, or they belong to another account.
    """
    assert branch.who  # checks the credentials once, before all other requests
    moment = now or datetime.now(timezone.utc)
    manifest = configuration.resolve(branch.reading, None).manifest
    assert manifest is not None  # open_branch has read it
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return _collect(pool, branch, manifest, moment)


def _collect(pool: ThreadPoolExecutor, branch: Branch, manifest: Manifest, now: datetime) -> Status:
    names = branch.names
    pipelines = tuple(dict.fromkeys(config.pipeline for config in manifest.configs))

    def start(ask: Callable[[], T]) -> Future[T | Unknown]:
        return pool.submit(or_unknown, ask)

    stacks = start(partial(deployed.stacks, branch))
    pipeline = start(partial(deployed.pipeline, branch))
    build = start(partial(deployed.build, branch))
    images = start(partial(deployed.images, branch, pipelines))
    releases = start(partial(deployed.releases, branch))
    alarms = start(partial(running.firing_alarms, branch.clients, names, manifest))
    sizes = [
        start(partial(buckets.describe_bucket, branch, name, role, now))
        for name, role in _bucket_roles(branch)
    ]
    outputs = start(partial(buckets.compare_with_ledger, branch))
    configs = _collect_configs(pool, branch, manifest, stacks.result(), alarms.result(), now)
    last, counted, firing = releases.result(), [s.result() for s in sizes], alarms.result()
    estimate = or_unknown(
        partial(
            cost.estimate_cost,
            branch,
            manifest,
            running.ledger_of(branch),
            images.result(),
            counted,
            pipeline.result(),
            now,
        )
    )
    console = Console(branch.place)
    return Status(
        branch=branch.name,
        account=branch.place.account,
        region=branch.place.region,
        stacks=stacks.result(),
        pipeline=pipeline.result(),
        build=build.result(),
        images=images.result(),
        buckets=tuple(counted),
        outputs=outputs.result(),
        configs=configs,
        alarms=firing if isinstance(firing, Unknown) else len(firing),
        release=last if isinstance(last, Unknown) else last[0],
        latest=last if isinstance(last, Unknown) else last[1],
        cost=estimate,
        urls={
            "console": console.home,
            "dashboard": console.dashboard(names.dashboard),
            "ledger": console.table(names.ledger_table),
            "alerts": console.topic(names.alerts_topic),
        },
    )


def _collect_configs(
    pool: ThreadPoolExecutor,
    branch: Branch,
    manifest: Manifest,
    stacks: tuple[Stack, ...] | Unknown,
    alarms: tuple[str, ...] | Unknown,
    now: datetime,
) -> tuple[Config, ...]:
    """The status of each config; ``alarms`` are the names of those that are firing."""
    count = _count_pipelines_stacks(stacks)
    groups = [_schedule_group(branch, n) for n in range(1, count + 1)]
    bus = branch.names.event_bus if count == 1 else ""  # each stack has one
    schedules = or_unknown(partial(running.schedules, branch.clients, groups))
    rows = {row.config: row for row in configuration.summary(manifest, now)}
    firing = () if isinstance(alarms, Unknown) else alarms
    futures = [
        pool.submit(running.config, branch, config, rows, schedules, firing, bus)
        for config in manifest.configs
    ]
    return tuple(future.result() for future in futures)


def _bucket_roles(branch: Branch) -> list[tuple[str, str]]:
    keys = branch.keys
    found = [
        (keys.input_bucket_name, "input"),
        (keys.output_bucket_name, "output"),
        (branch.artifacts_bucket, "artifacts"),
    ]
    return [(name, role) for name, role in found if name]


def _count_pipelines_stacks(stacks: tuple[Stack, ...] | Unknown) -> int:
    """How many pipelines stacks there may be: the last stack is the CodePipeline stack."""
    return max(len(stacks) - 1, 1) if isinstance(stacks, tuple) else 1


def _schedule_group(branch: Branch, number: int) -> str:
    return numbered(branch.names.schedule_group, number)
