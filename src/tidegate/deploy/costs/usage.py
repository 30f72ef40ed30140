"""How much each config runs in a month: from recorded runs, or assumed; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise, takewhile
from statistics import fmean

from cronsim import CronSim

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import RunRecord

HOURS = 730.0
"""Hours in a month, as AWS counts."""
MONTH = timedelta(hours=HOURS)
COLD = timedelta(minutes=10)
"""A function without a run for so long has a cold start. AWS does not document the time."""
_DAY = timedelta(days=1)
_FROM = datetime(2026, 11, 1, tzinfo=timezone.utc)

# Assumed without recorded runs. Sizes and times were measured on real pipelines.
FILES_A_DAY = 24
SECONDS, COLD_SECONDS = 5, 10
INPUT_MB, PRODUCTS, OUTPUT_MB, LOG_KB = 2, 4, 4, 20
STAGED = 24  # products that a run of a VAP reads
ASSUMED = f"""\
{FILES_A_DAY} files of {INPUT_MB} MB arrive for each ingest every day (or as many as \
`expect_every` says); schedules run when they are due
a run takes {SECONDS} s, and {COLD_SECONDS} s more after a pause of {COLD.total_seconds() / 60:g} \
minutes; it makes {PRODUCTS} products with a total of {OUTPUT_MB} MB, and {LOG_KB} kB of log\
"""
"""The same in words, two lines."""


@dataclass(frozen=True)
class Usage:
    """How much one config runs in a month, and what each run needs on average."""

    config: str  # its id
    runs: float  # a month
    billed: float  # seconds of a run, cold starts included
    memory: int  # of the function, MB
    inputs: float = 0  # raw files that a run reads
    staged: float = 0  # products that a run reads
    products: float = 0  # products that a run makes
    added_bytes: float = 0  # its raw files and products
    scheduled: float = 0  # how often a month its schedule is due; 0 if files start its runs
    recorded: bool = False  # from recorded runs, not assumed


def expected_usage(
    manifest: Manifest, observed: Mapping[str, Usage] | None = None
) -> dict[str, Usage]:
    """The usage of each config: observed, or else assumed."""
    known = observed or {}
    return {config.id: known.get(config.id) or assumed_usage(config) for config in manifest.configs}


def assumed_usage(config: Config) -> Usage:
    """The usage of a config without recorded runs."""
    runs = scheduled = due(config)
    files = config.trigger == "S3"
    if files:
        runs = MONTH / timedelta(seconds=config.expect_every or _DAY.total_seconds() / FILES_A_DAY)
    cold = not runs or MONTH / runs > COLD
    return Usage(
        config=config.id,
        runs=runs,
        billed=SECONDS + (COLD_SECONDS if cold else 0),
        memory=config.memory,
        inputs=1 if files else 0,
        staged=STAGED if config.kind == "VAP" else 0,
        products=PRODUCTS,
        added_bytes=(OUTPUT_MB + (INPUT_MB if files else 0)) * 1e6,
        scheduled=scheduled,
    )


def observed_usage(
    manifest: Manifest, records: Iterable[RunRecord], *, begin: datetime, end: datetime
) -> dict[str, Usage]:
    """The usage of configs with recorded runs, scaled to a month; by config.

    ``records`` are runs that started in [begin, end); less than a day is too short for an estimate.
    Adopted runs do not count: they were not run here.
    """
    if end - begin < _DAY:
        return {}
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        if begin <= record.started < end and not record.run.adopted:
            by_config.setdefault(record.run.config, []).append(record)
    scale = MONTH / (end - begin)
    return {
        config.id: _recorded_usage(config, by_config[config.id], scale)
        for config in manifest.configs
        if config.id in by_config
    }


def _recorded_usage(config: Config, records: Sequence[RunRecord], scale: float) -> Usage:
    started = sorted(record.started for record in records)
    cold = 1 + sum(after - before > COLD for before, after in pairwise(started))
    # A record contains its last attempt only; the others are assumed to be like it.
    attempts = fmean(max(1, record.tries) for record in records)
    seconds = fmean(record.seconds.get("total", 0.0) for record in records) * attempts
    sizes = [i.size for record in records for i in record.run.inputs]
    sizes += [product.size for record in records for product in record.products]
    return replace(
        assumed_usage(config),
        runs=len(records) * scale,
        billed=seconds + COLD_SECONDS * cold / len(records),
        inputs=fmean(len(record.run.inputs) for record in records),
        staged=fmean(len(record.run.products) for record in records),
        products=fmean(len(record.products) for record in records),
        added_bytes=sum(sizes) / len(records),
        recorded=True,
    )


def due(config: Config) -> float:
    """How often a month a config's schedule is due; 0 if it has none."""
    if config.trigger != "Cron" or config.schedule is None:
        return 0
    days = count = 0
    # Over four years for rare schedules: one that is due once a year must not count as never.
    for days in (30, 1461):
        until = _FROM + timedelta(days=days)
        times = CronSim(config.schedule, _FROM - timedelta(seconds=1))
        count = sum(1 for _ in takewhile(until.__gt__, times))
        if count >= 4:
            break
    return count / days * (HOURS / 24)
