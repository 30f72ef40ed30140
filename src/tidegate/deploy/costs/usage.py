"""How much each config runs in a month: from recorded runs, or assumed; pure."""

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
"""A function without a run for so long has a cold start. AWS does not document the time."""
_WHOLE = timedelta(days=1)
_FROM = datetime(2026, 11, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Assumptions:
    """What is assumed for configs without recorded runs. Sizes and times were measured on real
    pipelines."""

    files_a_day: float = 24
    """Files that arrive for an ingest each day, if it has no ``expect_every``."""
    seconds: float = 5
    """Duration of a run, s."""
    cold_seconds: float = 10
    """Additional duration of a run with a cold start, s."""
    input_mb: float = 2
    """Size of a raw file, MB."""
    products: float = 4
    """Products of a run: a data file and three plots."""
    output_mb: float = 4
    """Total size of the products of a run, MB."""
    staged: float = 24
    """Products that one run of a VAP reads."""
    log_kb: float = 20
    """Size of the log of a run, kB."""
    log_months: float = 3
    """For how many months logs are kept."""
    ledger_months: float = 12
    """How many months of records the ledger contains."""
    builds: float = 20
    """Pushes a month that build something."""
    build_minutes: float = 6
    """How long a build takes."""
    image_mb: float = 400
    """Compressed size of an image, MB."""
    images_kept: float = 3
    """How many images of a pipeline are kept; shared layers are ignored."""

    def of_runs(self) -> Iterator[str]:
        """The assumptions about runs, in words."""
        yield (
            f"{self.files_a_day:g} files of {self.input_mb:g} MB arrive for each ingest every day"
            " (or as many as `expect_every` says); schedules run when they are due"
        )
        yield (
            f"a run takes {self.seconds:g} s, and {self.cold_seconds:g} s more after a pause of"
            f" {COLD.total_seconds() / 60:g} minutes; it makes {self.products:g} products with a"
            f" total of {self.output_mb:g} MB, and {self.log_kb:g} kB of log"
        )

    def of_builds(self, images: bool) -> Iterator[str]:
        """The assumptions about builds, in words; and about ``images``, if they are unknown."""
        yield f"{self.builds:g} builds a month of {self.build_minutes:g} minutes"
        if images:
            yield f"{self.images_kept:g} images of {self.image_mb:g} MB for each pipeline"


ASSUMED = Assumptions()
"""The default assumptions."""


@dataclass(frozen=True)
class Usage:
    """How much one config runs in a month, and what each run needs on average."""

    config: str
    """The config's id."""
    runs: float
    """Runs a month."""
    billed: float
    """Billed seconds of a run, cold starts included."""
    memory: int
    """The function's memory, MB."""
    inputs: float = 0
    """Raw files that a run reads."""
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
    """How often a month its schedule is due; 0 if files start its runs."""
    recorded: bool = False
    """Whether this is from recorded runs, not assumed."""


def expected_usage(
    manifest: Manifest,
    observed: Mapping[str, Usage] | None = None,
    assumptions: Assumptions = ASSUMED,
) -> dict[str, Usage]:
    """The usage of each config: observed, or else assumed."""
    known = observed or {}
    return {
        config.id: known.get(config.id) or assumed_usage(config, assumptions)
        for config in manifest.configs
    }


def assumed_usage(config: Config, assumptions: Assumptions = ASSUMED) -> Usage:
    """The usage of a config without recorded runs."""
    scheduled = due(config)
    if config.trigger == "Cron":
        runs = scheduled
    elif config.expect_every:
        runs = MONTH.total_seconds() / config.expect_every
    else:
        runs = assumptions.files_a_day * MONTH / _WHOLE
    pause = MONTH / runs if runs else MONTH
    files = config.trigger == "S3"
    return Usage(
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


def observed_usage(
    manifest: Manifest,
    records: Iterable[RunRecord],
    *,
    begin: datetime,
    end: datetime,
    assumptions: Assumptions = ASSUMED,
) -> dict[str, Usage]:
    """The usage of configs with recorded runs, scaled to a month; by config.

    ``records`` are runs that started in [begin, end); less than a day is too short for an estimate.
    Adopted runs do not count: they were not run here.
    """
    if end - begin < _WHOLE:
        return {}
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        if begin <= record.started < end and not record.run.adopted:
            by_config.setdefault(record.run.config, []).append(record)
    scale = MONTH / (end - begin)
    return {
        config.id: _recorded_usage(config, by_config[config.id], scale, assumptions)
        for config in manifest.configs
        if by_config.get(config.id)
    }


def _recorded_usage(
    config: Config, records: Sequence[RunRecord], scale: float, assumptions: Assumptions
) -> Usage:
    records = sorted(records, key=lambda record: record.started)
    pauses = [b.started - a.started for a, b in pairwise(records)]
    cold = 1 + sum(pause > COLD for pause in pauses)
    # A record contains its last attempt only; the others are assumed to be like it.
    attempts = sum(max(1, record.tries) for record in records) / len(records)
    seconds = _mean([record.seconds.get("total", 0.0) for record in records]) * attempts
    hours = {record.started.replace(minute=0, second=0, microsecond=0) for record in records}
    return Usage(
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
        recorded=True,
    )


def due(config: Config) -> float:
    """How often a month a config's schedule is due; 0 if it has none."""
    if config.trigger != "Cron" or config.schedule is None:
        return 0
    # Over four years for rare schedules: one that is due once a year must not count as never.
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
