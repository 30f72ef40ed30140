"""How much each config runs in a month: as it is on record, or as it is assumed; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise

from cronsim import CronSim

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import RunRecord

HOURS = 730.0
"""Hours in a month, as AWS counts."""
MONTH = timedelta(hours=HOURS)
COLD = timedelta(minutes=10)
"""A function that rested for so long is started anew: as is commonly seen; AWS does not say."""
_WHOLE = timedelta(days=1)
_FROM = datetime(2026, 11, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Assumptions:
    """What is assumed where nothing is on record. Sizes and times are those of real pipelines, as
    they were measured once."""

    files_a_day: float = 24
    """Files that arrive for an ingest each day, where ``expect_every`` does not say."""
    seconds: float = 5
    """How long a run takes."""
    cold_seconds: float = 10
    """How much longer it takes when the function is started anew."""
    input_mb: float = 2
    """How large a raw file is."""
    products: float = 4
    """Products of a run: a data file and three plots."""
    output_mb: float = 4
    """How large the products of a run are together."""
    staged: float = 24
    """Products that one run of a VAP reads."""
    log_kb: float = 20
    """How much a run logs."""
    log_months: float = 3
    """For how many months logs are kept."""
    ledger_months: float = 12
    """For how many months of records the ledger is counted."""
    builds: float = 20
    """Pushes a month that build something."""
    build_minutes: float = 6
    """How long a build takes."""
    image_mb: float = 400
    """What one image takes in the registry, compressed."""
    images_kept: float = 3
    """How many images of a pipeline are kept, counted as if they had nothing in common."""

    def of_runs(self) -> Iterator[str]:
        """What is assumed of runs, in words."""
        yield (
            f"{self.files_a_day:g} files a day arrive for each ingest (or as many as"
            f" `expect_every` says), of {self.input_mb:g} MB; schedules run when they are due"
        )
        yield (
            f"a run takes {self.seconds:g} s, and {self.cold_seconds:g} s more after a pause of"
            f" {COLD.total_seconds() / 60:g} minutes; it makes {self.products:g} products of"
            f" {self.output_mb:g} MB together, and {self.log_kb:g} kB of log"
        )

    def of_builds(self, images: bool) -> Iterator[str]:
        """What is assumed of builds, in words; and of ``images``, where they are not known."""
        yield f"{self.builds:g} builds a month of {self.build_minutes:g} minutes"
        if images:
            yield f"{self.images_kept:g} images a pipeline, of {self.image_mb:g} MB"


ASSUMED = Assumptions()
"""What is assumed unless something else is said."""


@dataclass(frozen=True)
class Load:
    """How much one config runs in a month, and what each run takes on average."""

    config: str
    """The config's id."""
    runs: float
    """Runs a month."""
    billed: float
    """Seconds of a run that are paid for, those of starting included."""
    memory: int
    """The function's memory, MB."""
    inputs: float = 0
    """Raw files of a run."""
    input_bytes: float = 0
    """Bytes of a run's raw files."""
    staged: float = 0
    """Products that a run reads."""
    products: float = 0
    """Products that a run makes."""
    product_bytes: float = 0
    """Bytes of a run's products."""
    log_bytes: float = 0
    """Bytes that a run logs."""
    hours: float = HOURS
    """Hours of the month in which something runs."""
    scheduled: float = 0
    """How often a month its schedule is due; 0 where files set it off."""
    seen: bool = False
    """Whether this is from runs on record."""


def loads(
    manifest: Manifest,
    seen: Mapping[str, Load] | None = None,
    assumptions: Assumptions = ASSUMED,
) -> dict[str, Load]:
    """The load of each config: as it was seen, else as it is assumed."""
    known = seen or {}
    return {
        config.id: known.get(config.id) or assumed(config, assumptions)
        for config in manifest.configs
    }


def assumed(config: Config, assumptions: Assumptions = ASSUMED) -> Load:
    """The load of a config of which nothing is on record."""
    scheduled = due(config)
    if config.trigger == "Cron":
        runs = scheduled
    elif config.expect_every:
        runs = MONTH.total_seconds() / config.expect_every
    else:
        runs = assumptions.files_a_day * MONTH / _WHOLE
    pause = MONTH / runs if runs else MONTH
    files = config.trigger == "S3"
    return Load(
        config=config.id,
        runs=runs,
        billed=assumptions.seconds + (assumptions.cold_seconds if pause > COLD else 0),
        memory=config.memory,
        inputs=1 if files else 0,
        input_bytes=assumptions.input_mb * 1e6 if files else 0,
        staged=assumptions.staged if config.kind == "VAP" else 0,
        products=assumptions.products,
        product_bytes=assumptions.output_mb * 1e6,
        log_bytes=assumptions.log_kb * 1e3,
        hours=min(HOURS, runs),
        scheduled=scheduled,
    )


def observed(
    manifest: Manifest,
    records: Iterable[RunRecord],
    *,
    begin: datetime,
    end: datetime,
    assumptions: Assumptions = ASSUMED,
) -> dict[str, Load]:
    """The loads that runs on record tell of, as they would be in a month.

    ``records`` are those that started in [begin, end); of less than a day nothing is concluded.
    What was adopted was not run here, and does not count.
    """
    if end - begin < _WHOLE:
        return {}
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        if begin <= record.started < end and not record.run.adopted:
            by_config.setdefault(record.run.config, []).append(record)
    scale = MONTH / (end - begin)
    return {
        config.id: _seen(config, by_config[config.id], scale, assumptions)
        for config in manifest.configs
        if by_config.get(config.id)
    }


def _seen(
    config: Config, records: Sequence[RunRecord], scale: float, assumptions: Assumptions
) -> Load:
    records = sorted(records, key=lambda record: record.started)
    pauses = [b.started - a.started for a, b in pairwise(records)]
    cold = 1 + sum(pause > COLD for pause in pauses)
    # A record tells of its last attempt only; the others are taken to have been like it.
    attempts = sum(max(1, record.tries) for record in records) / len(records)
    seconds = _mean([record.seconds.get("total", 0.0) for record in records]) * attempts
    hours = {record.started.replace(minute=0, second=0, microsecond=0) for record in records}
    return Load(
        config=config.id,
        runs=len(records) * scale,
        billed=seconds + assumptions.cold_seconds * cold / len(records),
        memory=config.memory,
        inputs=_mean([len(record.run.inputs) for record in records]),
        input_bytes=_mean([sum(i.size for i in record.run.inputs) for record in records]),
        staged=_mean([len(record.run.products) for record in records]),
        products=_mean([len(record.products) for record in records]),
        product_bytes=_mean([sum(p.size for p in record.products) for record in records]),
        log_bytes=assumptions.log_kb * 1e3,
        hours=len(hours) * scale,
        scheduled=due(config),
        seen=True,
    )


def due(config: Config) -> float:
    """How often a month a config's schedule is due; 0 for none."""
    if config.trigger != "Cron" or config.schedule is None:
        return 0
    # Over four years for rare ones, so that what is due once a year is not taken for never.
    days, count = 30, 0
    for days in (30, 1461):
        count = 0
        until = _FROM + timedelta(days=days)
        for moment in CronSim(config.schedule, _FROM - timedelta(seconds=1)):
            if moment >= until:
                break
            count += 1
        if count >= 4:
            break
    return count / days * (HOURS / 24)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
