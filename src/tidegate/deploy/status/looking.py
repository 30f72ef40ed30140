"""Asking for all parts at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from typing import TypeVar

from tidegate import config as configuration
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.console import Console
from tidegate.deploy.status import costing, deployed, running, stored
from tidegate.deploy.status.asking import known
from tidegate.deploy.status.model import Status, Unknown
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.names import fit

_AT_ONCE = 16
T = TypeVar("T")


def look(branch: Branch, now: datetime | None = None) -> Status:
    """All that there is to tell of a branch; what AWS does not tell is unknown, with the reason.

    Raises:
        ConfigurationError: the credentials are missing, or another account's.
    """
    assert branch.who  # whose credentials these are is asked once, and first
    moment = now or datetime.now(timezone.utc)
    manifest = configuration.resolve(branch.reading, None).manifest
    assert manifest is not None  # open_branch has read it
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return _looked(pool, branch, manifest, moment)


def _looked(pool: ThreadPoolExecutor, branch: Branch, manifest: Manifest, now: datetime) -> Status:
    clients, names = branch.clients, branch.names
    pipelines = tuple(dict.fromkeys(config.pipeline for config in manifest.configs))
    stacks = pool.submit(known, partial(deployed.stacks, branch))
    pipeline = pool.submit(known, partial(deployed.pipeline, branch))
    build = pool.submit(known, partial(deployed.build, branch))
    images = pool.submit(known, partial(deployed.images, branch, pipelines))
    releases = pool.submit(known, partial(deployed.releases, branch))
    alarms = pool.submit(known, partial(running.ringing, clients, names, manifest))
    buckets = [
        pool.submit(known, partial(stored.bucket, branch, name, role, now))
        for name, role in _buckets(branch)
    ]
    numbers = range(1, _numbers(stacks.result()) + 1)
    groups = [names.schedule_group if n == 1 else _group(branch, n) for n in numbers]
    schedules = known(partial(running.schedules, clients, groups))
    rows = {row.config: row for row in configuration.summary(manifest, now)}
    ringing = alarms.result()
    rings = () if isinstance(ringing, Unknown) else ringing
    configs = [
        pool.submit(running.config, branch, config, rows, schedules, rings)
        for config in manifest.configs
    ]
    last = releases.result()
    counted = [bucket.result() for bucket in buckets]
    ledger = running.ledger_of(branch)
    cost = known(
        partial(
            costing.cost, branch, manifest, ledger, images.result(), counted, pipeline.result(), now
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
        configs=tuple(config.result() for config in configs),
        alarms=ringing if isinstance(ringing, Unknown) else len(ringing),
        release=last if isinstance(last, Unknown) else last[0],
        latest=last if isinstance(last, Unknown) else last[1],
        cost=cost,
        urls={
            "console": console.home,
            "dashboard": console.dashboard(names.dashboard),
            "ledger": console.table(names.ledger_table),
            "alerts": console.topic(names.alerts_topic),
        },
    )


def _buckets(branch: Branch) -> list[tuple[str, str]]:
    keys = branch.keys
    artifacts = branch.names.artifacts_bucket(branch.place.account, branch.place.region)
    found = [
        (keys.input_bucket_name, "input"),
        (keys.output_bucket_name, "output"),
        (artifacts, "artifacts"),
    ]
    return [(name, role) for name, role in found if name]


def _numbers(stacks: object) -> int:
    """How many pipelines stacks there may be: the last of all is the CodePipeline stack."""
    return max(len(stacks) - 1, 1) if isinstance(stacks, tuple) else 1


def _group(branch: Branch, number: int) -> str:
    return fit(f"{branch.names.schedule_group}-{number}", limit=64)
