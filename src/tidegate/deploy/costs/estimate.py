"""What a branch costs a month: from the runs on record, or from stated assumptions; pure.

    seen = observed(manifest, records, begin=begin, end=end)
    costs = estimate(loads(manifest, seen), resources_of(plan))
    print(describe(costs))

It goes by AWS's list prices (``prices``) for what Tidegate makes and does. How many requests a run
makes was counted on the emulator, and ``tests/aws/test_aws_requests_of_a_run.py`` counts again.
Not in it: taxes, data that leaves AWS (downloads), keys of one's own, other users of the buckets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.costs.prices import DATED, PRICES, factor
from tidegate.deploy.costs.usage import ASSUMED, HOURS, Assumptions, Load
from tidegate.deploy.design.model import Plan
from tidegate.runtime.records import to_json

WRITES, WRITES_EACH = 32, 7
"""DynamoDB's write units of a run, and of each of its products more, with those of the indexes.
Counted on the emulator: 36 for one product, 68 for eight, before the indexes."""
READS, READS_EACH = 10, 1
"""DynamoDB's read units of a run, and of each of its products more. Counted: 11 and 18."""
MESSAGES = 4
"""Requests of SQS for one run: sent, received, deleted, and one more to spare."""
POLLS = 5 * 3 * 60 * HOURS
"""Requests of SQS a month for a queue in which nothing happens: Lambda keeps five connections, each
asks again after 20 seconds (AWS: *Why are my Amazon SQS charges higher than expected?*)."""
METRICS = 8
"""Metrics of its own that each config tells of (``aws.function.measures``)."""
RECORD, RECORD_EACH = 5_000, 2_500
"""Bytes in the ledger for a run, and for each of its products more, with indexes and overhead."""
_GB = 1e9


@dataclass(frozen=True)
class Resources:
    """What there is, whatever runs."""

    queues: int
    """Queues that Lambda looks into."""
    alarm_metrics: int
    """Metrics in all alarms."""
    dashboards: int
    """Dashboards."""
    pipelines: int
    """Images: one a pipeline."""
    tmp: Mapping[str, int] = field(default_factory=dict)
    """The ``/tmp`` of each config's function, MB."""
    arm: frozenset[str] = frozenset()
    """The configs that run on ARM processors."""
    compute: str = "medium"
    """The size of the build machine: small, medium or large."""
    codepipeline: bool = True
    """Whether builds come by way of CodePipeline."""
    stored: int | None = None
    """Bytes in the buckets now; not known when None."""
    images: int | None = None
    """Bytes in the image repository now; not known when None."""


@dataclass(frozen=True)
class Line:
    """One kind of use in a month."""

    price: str
    """The kind of use (``prices.PRICES``)."""
    what: str
    """What it is, in words."""
    amount: float
    """How much of it there is in a month."""
    unit: str
    """What is counted."""
    usd: float
    """The price of one unit, in US dollars."""

    @property
    def monthly(self) -> float:
        """US dollars a month."""
        return self.amount * self.usd


@dataclass(frozen=True)
class Estimate:
    """What a branch costs a month."""

    lines: tuple[Line, ...]
    """The kinds of use, the dearest first."""
    configs: Mapping[str, float]
    """What each config's own running costs, US dollars a month."""
    free: float
    """So much less, US dollars a month, where nothing else in the account uses what AWS gives away
    every month."""
    growth: float
    """What is added to every later month's bill by what one month stores, US dollars."""
    assumptions: tuple[str, ...]
    """What it rests on, in words."""
    region: str
    """Where."""
    dated: str = DATED
    """The date of the prices."""

    @property
    def total(self) -> float:
        """US dollars a month."""
        return sum(line.monthly for line in self.lines)


def resources_of(
    plan: Plan,
    *,
    stored: int | None = None,
    images: int | None = None,
    codepipeline: bool = True,
    compute: str = "medium",
) -> Resources:
    """What a plan makes; ``stored`` and ``images`` are bytes that are there now."""
    configs = [config for stack in plan.stacks for config in stack.configs]
    return Resources(
        queues=len(configs),
        alarm_metrics=sum(max(1, len(a.metrics)) for c in configs for a in c.alarms),
        dashboards=len(plan.stacks),
        pipelines=len({config.tags["pipeline"] for config in configs}),
        tmp={config.id: config.function.ephemeral_storage for config in configs},
        arm=frozenset(c.id for c in configs if c.function.architecture == "arm64"),
        compute=compute,
        codepipeline=codepipeline,
        stored=stored,
        images=images,
    )


def estimate(
    load: Mapping[str, Load],
    resources: Resources,
    *,
    region: str = "us-west-2",
    assumptions: Assumptions = ASSUMED,
) -> Estimate:
    """What it all costs a month in some region."""
    amounts: dict[str, float] = {}
    configs: dict[str, float] = {}
    higher = factor(region)
    for id, own in load.items():
        used = dict(_used(own, resources))
        configs[id] = sum(n * PRICES[kind].usd * higher for kind, n in used.items())
        for kind, amount in used.items():
            amounts[kind] = amounts.get(kind, 0.0) + amount
    for kind, amount in _standing(load, resources, assumptions):
        amounts[kind] = amounts.get(kind, 0.0) + amount
    lines = [
        Line(kind, WHAT[kind], amount, PRICES[kind].unit, PRICES[kind].usd * higher)
        for kind, amount in amounts.items()
        if amount
    ]
    added = sum(own.runs * (own.input_bytes + own.product_bytes) for own in load.values()) / _GB
    return Estimate(
        lines=tuple(sorted(lines, key=lambda line: (-line.monthly, line.price))),
        configs=configs,
        free=_free(amounts) * higher,
        growth=added * PRICES["s3-storage"].usd * higher,
        assumptions=tuple(_words(load, resources, region, assumptions)),
        region=region,
    )


def _free(amounts: Mapping[str, float]) -> float:
    """What AWS gives away of these every month, in US dollars of us-west-2."""
    free = {kind: min(amount, PRICES[kind].free) for kind, amount in amounts.items()}
    both = ("lambda-x86", "lambda-arm")  # share one allowance
    if all(kind in free for kind in both):
        free["lambda-arm"] = min(free["lambda-arm"], PRICES["lambda-x86"].free - free["lambda-x86"])
    return sum(amount * PRICES[kind].usd for kind, amount in free.items())


WHAT: Mapping[str, str] = {
    "lambda-x86": "functions while they run",
    "lambda-arm": "functions while they run, on ARM",
    "lambda-requests": "starts of functions",
    "lambda-tmp": "room in /tmp while functions run",
    "s3-put": "files written to buckets",
    "s3-get": "files read from buckets",
    "s3-storage": "files in buckets",
    "dynamodb-write": "writes to the ledger",
    "dynamodb-read": "reads of the ledger",
    "dynamodb-storage": "the ledger",
    "dynamodb-backup": "the ledger's backups",
    "sqs": "queues, most of it Lambda looking into empty ones",
    "eventbridge": "events of files that arrive",
    "scheduler": "schedules",
    "logs": "logs taken in",
    "logs-storage": "logs kept",
    "metrics": "metrics of runs",
    "alarms": "alarms",
    "dashboards": "dashboards",
    "ecr": "images",
    "codebuild-small": "builds",
    "codebuild-medium": "builds",
    "codebuild-large": "builds",
    "codepipeline": "steps of CodePipeline",
}
"""What each kind of use is, in words."""


def _used(load: Load, resources: Resources) -> Iterator[tuple[str, float]]:
    """What one config's runs use in a month, by kind of use."""
    runs, seconds = load.runs, load.runs * load.billed
    yield ("lambda-arm" if load.config in resources.arm else "lambda-x86",
           seconds * load.memory / 1024)  # fmt: skip
    yield "lambda-requests", runs
    yield "lambda-tmp", seconds * max(0, resources.tmp.get(load.config, 512) - 512) / 1024
    # Each product and the log; and the raw file, by whoever uploads it.
    yield "s3-put", runs * (load.products + 1 + load.inputs)
    yield "s3-get", runs * 2 * (load.inputs + load.staged)
    yield "dynamodb-write", runs * (WRITES + WRITES_EACH * load.products)
    yield "dynamodb-read", runs * (READS + READS_EACH * load.products + load.staged)
    yield "sqs", runs * MESSAGES + POLLS
    if load.scheduled:
        yield "scheduler", load.scheduled
    else:
        yield "eventbridge", runs * load.inputs
    yield "logs", runs * load.log_bytes / _GB
    yield "metrics", METRICS * min(load.hours, HOURS) / HOURS


def _standing(
    load: Mapping[str, Load], resources: Resources, assumptions: Assumptions
) -> Iterator[tuple[str, float]]:
    """What is there whatever runs, by kind of use."""
    yield "alarms", resources.alarm_metrics
    yield "dashboards", resources.dashboards
    images = resources.images
    if images is None:
        images = round(resources.pipelines * assumptions.image_mb * assumptions.images_kept * 1e6)
    yield "ecr", images / _GB
    if resources.stored is not None:
        yield "s3-storage", resources.stored / _GB
    records = sum(own.runs * (RECORD + RECORD_EACH * own.products) for own in load.values())
    ledger = records * assumptions.ledger_months / _GB
    yield "dynamodb-storage", ledger
    yield "dynamodb-backup", ledger
    logged = sum(own.runs * own.log_bytes for own in load.values()) / _GB
    yield "logs-storage", logged * assumptions.log_months
    minutes = assumptions.builds * assumptions.build_minutes
    yield f"codebuild-{resources.compute}", minutes
    if resources.codepipeline:
        # Two sources take a minute each, and the build's action lasts as long as the build.
        yield "codepipeline", minutes + 2 * assumptions.builds


def _words(
    load: Mapping[str, Load], resources: Resources, region: str, assumptions: Assumptions
) -> Iterator[str]:
    seen = [own for own in load.values() if own.seen]
    if seen:
        yield f"from the runs on record: {len(seen)} of {len(load)} configs"
    assumed = [own for own in load.values() if not own.seen]
    if assumed:
        names = ", ".join(own.config for own in assumed[:6]) + (", …" if len(assumed) > 6 else "")
        yield f"assumed, since no runs are on record: {names}"
        yield from assumptions.of_runs()
    yield from assumptions.of_builds(resources.images is None)
    if resources.stored is None:
        yield "what lies in the buckets already is not in it"
    higher = factor(region)
    if higher != 1:
        yield (
            f"prices of {region} are taken to be {100 * (higher - 1):.0f} % above those of"
            " us-west-2: a rule of thumb"
        )
    yield "not in it: taxes, data that leaves AWS, e-mails, whatever else uses the buckets"
    doubtful = sorted(kind for kind, price in PRICES.items() if price.seen == "unconfirmed")
    yield f"list prices as of {DATED}; not confirmed: {', '.join(WHAT[kind] for kind in doubtful)}"


def describe(costs: Estimate) -> str:
    """The estimate for a person's eyes, as text."""
    lines = [f"about ${costs.total:,.2f} a month in {costs.region} (prices of {costs.dated})"]
    small = [line for line in costs.lines if line.monthly < 0.005]
    for line in costs.lines:
        if line not in small:
            lines.append(f"  {line.monthly:>10,.2f}  {line.what}: {_amount(line)}")
    if small:
        lines.append(f"        < .01  {', '.join(line.what for line in small)}")
    if costs.free >= 0.005:
        lines.append(
            f"up to ${costs.free:,.2f} less, where nothing else in the account uses what AWS gives"
            " every month"
        )
    if costs.growth >= 0.005:
        lines.append(f"and ${costs.growth:,.2f} more each month, for what is stored")
    return "\n".join([*lines, *(f"  * {text}" for text in costs.assumptions)]) + "\n"


def _amount(line: Line) -> str:
    amount = f"{line.amount:,.0f}" if line.amount >= 100 else f"{line.amount:,.3g}"
    unit = line.unit if line.amount == 1 else _plural(line.unit)
    if line.usd < 0.001:
        return f"{amount} {unit} at ${line.usd * 1e6:,.4g} a million"
    return f"{amount} {unit} at ${line.usd:,.4g}"


def _plural(unit: str) -> str:
    """``GB-months``, ``minutes of an action``; what is not one word stays as it is."""
    if unit == "metric in an alarm":
        return "metrics in alarms"
    head, of, rest = unit.partition(" of ")
    return unit if " " in head and head != "write unit" else f"{head}s{of}{rest}"


def as_data(costs: Estimate) -> dict[str, Any]:
    """The estimate as ``--json`` gives it."""
    return {
        "total": round(costs.total, 4),
        "currency": "USD",
        "per": "month",
        "region": costs.region,
        "dated": costs.dated,
        "free": round(costs.free, 4),
        "growth": round(costs.growth, 4),
        "configs": {id: round(value, 4) for id, value in costs.configs.items()},
        "lines": [
            {
                **to_json(line),
                "monthly": round(line.monthly, 4),
                "source": PRICES[line.price].page,
                "checked": PRICES[line.price].seen,
            }
            for line in costs.lines
        ],
        "assumptions": list(costs.assumptions),
    }
