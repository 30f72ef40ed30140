"""The monthly cost of a branch, from recorded runs or from stated assumptions; pure.

    observed = observed_usage(manifest, records, begin=begin, end=end)
    costs = estimate(expected_usage(manifest, observed), resources_of(plan))
    print(describe(costs))

It uses AWS's list prices (``prices``) for the resources and requests of Tidegate. The number of
requests of a run was counted on the emulator, and is checked by
``tests/aws/test_aws_requests_of_a_run.py``. Not included: taxes, data that leaves AWS (downloads),
customer-managed keys, other users of the buckets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.costs.prices import DATED, PRICES, factor
from tidegate.deploy.costs.usage import ASSUMED, HOURS, Assumptions, Usage
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.sweep import MEMORY
from tidegate.runtime.records import to_json
from tidegate.targets.aws.swept_config import PERIOD

WRITES, WRITES_EACH = 28, 7
"""Write units of DynamoDB for a run, and for each of its products, indexes included.
Counted on the emulator: 32 with one product, 64 with eight, without the indexes."""
READS, READS_EACH = 3, 2
"""Read units of DynamoDB for a run, and for each of its products. Counted: 5 for one product,
18 for eight."""
MESSAGES = 4
"""Requests to SQS for one run: send, receive, set the visibility, delete."""
POLLS = 5 * 3 * 60 * HOURS
"""Requests to SQS a month for an idle queue: Lambda has five connections, and each sends a request
every 20 seconds (AWS: *Why are my Amazon SQS charges higher than expected?*)."""
SWEEPS = HOURS * 3600 / PERIOD
"""Sweeps of a stack a month."""
SWEEP_SECONDS, SWEEP_READS = 0.2, 4
"""What a sweep takes for each config: seconds, and read units of DynamoDB. Assumed."""
RECORD, RECORD_EACH = 5_000, 2_500
"""Bytes in the ledger for a run, and for each of its products, with indexes and overhead."""
_GB = 1e9


@dataclass(frozen=True)
class Resources:
    """The resources of a branch, which cost money whether anything runs or not."""

    queues: int
    """Queues that Lambda polls."""
    alarm_metrics: int
    """Metrics in all alarms."""
    dashboards: int
    """Dashboards."""
    pipelines: int
    """Pipelines; each has an image."""
    tmp: Mapping[str, int] = field(default_factory=dict)
    """The ``/tmp`` of each config's function, MB."""
    arm: frozenset[str] = frozenset()
    """The configs that run on ARM processors."""
    compute: str = "medium"
    """The size of the build machine: small, medium or large."""
    codepipeline: bool = True
    """Whether CodePipeline starts the builds."""
    backups: bool = True
    """Whether the ledger can be restored to any second."""
    stored: int | None = None
    """Bytes in the buckets now; None if unknown."""
    images: int | None = None
    """Bytes in the image repository now; None if unknown."""


@dataclass(frozen=True)
class Line:
    """One kind of use in a month."""

    price: str
    """The kind of use (``prices.PRICES``)."""
    what: str
    """What it is, in words."""
    amount: float
    """The amount in a month."""
    unit: str
    """The unit of the amount."""
    usd: float
    """The price of one unit, in US dollars."""

    @property
    def monthly(self) -> float:
        """US dollars a month."""
        return self.amount * self.usd


@dataclass(frozen=True)
class Estimate:
    """The monthly cost of a branch."""

    lines: tuple[Line, ...]
    """The kinds of use, the most expensive first."""
    configs: Mapping[str, float]
    """The cost of each config's own runs, US dollars a month."""
    free: float
    """The value of AWS's free tier, US dollars a month, if nothing else in the account uses it."""
    growth: float
    """By how much each month's new files raise the cost of all later months, US dollars."""
    assumptions: tuple[str, ...]
    """The assumptions, in words."""
    region: str
    """The region."""
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
    """The resources of a plan; ``stored`` and ``images`` are the bytes stored now."""
    configs = plan.configs
    alarms = [alarm for stack in plan.stacks for alarm in (*stack.alarms, stack.sweep.alarm)]
    alarms += [alarm for config in configs for alarm in config.alarms]
    return Resources(
        queues=len(configs),
        alarm_metrics=sum(len(alarm.metrics) for alarm in alarms),
        dashboards=len(plan.stacks),
        pipelines=len({config.tags["pipeline"] for config in configs}),
        tmp={config.id: config.function.ephemeral_storage for config in configs},
        arm=frozenset(c.id for c in configs if c.function.architecture == "arm64"),
        compute=compute,
        codepipeline=codepipeline,
        backups=plan.backups,
        stored=stored,
        images=images,
    )


def estimate(
    usage: Mapping[str, Usage],
    resources: Resources,
    *,
    region: str = "us-west-2",
    assumptions: Assumptions = ASSUMED,
) -> Estimate:
    """The monthly cost in a region; ``usage`` is by config."""
    amounts: dict[str, float] = {}
    configs: dict[str, float] = {}
    higher = factor(region)
    for id, own in usage.items():
        used = dict(_variable_use(own, resources))
        configs[id] = sum(n * PRICES[kind].usd * higher for kind, n in used.items())
        for kind, amount in used.items():
            amounts[kind] = amounts.get(kind, 0.0) + amount
    for kind, amount in _fixed_use(usage, resources, assumptions):
        amounts[kind] = amounts.get(kind, 0.0) + amount
    lines = [
        Line(kind, WHAT[kind], amount, PRICES[kind].unit, PRICES[kind].usd * higher)
        for kind, amount in amounts.items()
        if amount
    ]
    added = sum(own.runs * (own.input_bytes + own.product_bytes) for own in usage.values()) / _GB
    return Estimate(
        lines=tuple(sorted(lines, key=lambda line: (-line.monthly, line.price))),
        configs=configs,
        free=_free(amounts) * higher,
        growth=added * PRICES["s3-storage"].usd * higher,
        assumptions=tuple(_describe_assumptions(usage, resources, region, assumptions)),
        region=region,
    )


def _free(amounts: Mapping[str, float]) -> float:
    """The value of AWS's free tier for these amounts, in US dollars of us-west-2."""
    free = {kind: min(amount, PRICES[kind].free) for kind, amount in amounts.items()}
    both = ("lambda-x86", "lambda-arm")  # share one free tier
    if all(kind in free for kind in both):
        free["lambda-arm"] = min(free["lambda-arm"], PRICES["lambda-x86"].free - free["lambda-x86"])
    return sum(amount * PRICES[kind].usd for kind, amount in free.items())


WHAT: Mapping[str, str] = {
    "lambda-x86": "functions while they run",
    "lambda-arm": "functions while they run, on ARM",
    "lambda-requests": "starts of functions",
    "lambda-tmp": "storage in /tmp while functions run",
    "s3-put": "files written to buckets",
    "s3-get": "files read from buckets",
    "s3-storage": "files in buckets",
    "dynamodb-write": "writes to the ledger",
    "dynamodb-read": "reads of the ledger",
    "dynamodb-storage": "the ledger",
    "dynamodb-backup": "the ledger's backups",
    "sqs": "queues, mostly Lambda polling empty ones",
    "eventbridge": "events of files that arrive",
    "scheduler": "schedules",
    "logs": "logs written",
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


def _variable_use(usage: Usage, resources: Resources) -> Iterator[tuple[str, float]]:
    """What one config's runs use in a month, by kind of use."""
    runs, seconds = usage.runs, usage.runs * usage.billed
    yield ("lambda-arm" if usage.config in resources.arm else "lambda-x86",
           seconds * usage.memory / 1024)  # fmt: skip
    yield "lambda-requests", runs
    yield "lambda-tmp", seconds * max(0, resources.tmp.get(usage.config, 512) - 512) / 1024
    # Each product and the log; and the raw file, which somebody uploads.
    yield "s3-put", runs * (usage.products + 1 + usage.inputs)
    yield "s3-get", runs * 2 * (usage.inputs + usage.staged)
    yield "dynamodb-write", runs * (WRITES + WRITES_EACH * usage.products)
    yield "dynamodb-read", runs * (READS + READS_EACH * usage.products + usage.staged)
    yield "sqs", runs * MESSAGES + POLLS
    if usage.scheduled:
        yield "scheduler", usage.scheduled
    else:
        yield "eventbridge", runs * usage.inputs
    yield "logs", runs * usage.log_bytes / _GB


def _fixed_use(
    usage: Mapping[str, Usage], resources: Resources, assumptions: Assumptions
) -> Iterator[tuple[str, float]]:
    """What is used whether anything runs or not, by kind of use."""
    yield "alarms", resources.alarm_metrics
    yield "dashboards", resources.dashboards
    # Each sweep takes a second, and a moment for each config. A search for files lists once a day.
    swept = SWEEPS * resources.queues
    seconds = SWEEPS * resources.dashboards + swept * SWEEP_SECONDS
    yield "lambda-x86", seconds * MEMORY / 1024
    yield "lambda-requests", SWEEPS * resources.dashboards
    yield "scheduler", SWEEPS * resources.dashboards
    yield "sqs", swept * 2
    yield "dynamodb-read", swept * SWEEP_READS
    yield "s3-put", HOURS / 24 * resources.queues
    images = resources.images
    if images is None:
        images = round(resources.pipelines * assumptions.image_mb * assumptions.images_kept * 1e6)
    yield "ecr", images / _GB
    if resources.stored is not None:
        yield "s3-storage", resources.stored / _GB
    records = sum(own.runs * (RECORD + RECORD_EACH * own.products) for own in usage.values())
    ledger = records * assumptions.ledger_months / _GB
    yield "dynamodb-storage", ledger
    if resources.backups:
        yield "dynamodb-backup", ledger
    logged = sum(own.runs * own.log_bytes for own in usage.values()) / _GB
    yield "logs-storage", logged * assumptions.log_months
    minutes = assumptions.builds * assumptions.build_minutes
    yield f"codebuild-{resources.compute}", minutes
    if resources.codepipeline:
        # Two source actions take a minute each; the build action takes as long as the build.
        yield "codepipeline", minutes + 2 * assumptions.builds


def _describe_assumptions(
    usage: Mapping[str, Usage], resources: Resources, region: str, assumptions: Assumptions
) -> Iterator[str]:
    recorded = [own for own in usage.values() if own.recorded]
    if recorded:
        yield f"from recorded runs: {len(recorded)} of {len(usage)} configs"
    assumed = [own for own in usage.values() if not own.recorded]
    if assumed:
        names = ", ".join(own.config for own in assumed[:6]) + (", …" if len(assumed) > 6 else "")
        yield f"assumed, because no runs are recorded, or for less than a day: {names}"
        yield from assumptions.of_runs()
    yield from assumptions.of_builds(resources.images is None)
    if resources.stored is None:
        yield "files that are already in the buckets are not included"
    higher = factor(region)
    if higher != 1:
        yield (
            f"prices of {region} are assumed to be {100 * (higher - 1):.0f} % above those of"
            " us-west-2"
        )
    yield "not included: taxes, data that leaves AWS, e-mails, other users of the buckets"
    doubtful = sorted(kind for kind, price in PRICES.items() if price.checked == "unconfirmed")
    yield f"list prices as of {DATED}; not confirmed: {', '.join(WHAT[kind] for kind in doubtful)}"


def describe(costs: Estimate) -> str:
    """The estimate as text."""
    lines = [f"about ${costs.total:,.2f} a month in {costs.region} (prices of {costs.dated})"]
    small = [line for line in costs.lines if line.monthly < 0.005]
    for line in costs.lines:
        if line not in small:
            lines.append(f"  {line.monthly:>10,.2f}  {line.what}: {_amount(line)}")
    if small:
        lines.append(f"        < .01  {', '.join(line.what for line in small)}")
    if costs.free >= 0.005:
        lines.append(
            f"up to ${costs.free:,.2f} less, if nothing else in the account uses AWS's free tier"
        )
    if costs.growth >= 0.005:
        lines.append(f"and ${costs.growth:,.2f} more each month, because stored files accumulate")
    return "\n".join([*lines, *(f"  * {text}" for text in costs.assumptions)]) + "\n"


def _amount(line: Line) -> str:
    amount = f"{line.amount:,.0f}" if line.amount >= 100 else f"{line.amount:,.3g}"
    unit = line.unit if line.amount == 1 else _plural(line.unit)
    if line.usd < 0.001:
        return f"{amount} {unit} at ${line.usd * 1e6:,.4g} a million"
    return f"{amount} {unit} at ${line.usd:,.4g}"


def _plural(unit: str) -> str:
    """``GB-months``, ``minutes of an action``; other units of several words do not change."""
    if unit == "metric in an alarm":
        return "metrics in alarms"
    head, of, rest = unit.partition(" of ")
    return unit if " " in head and head != "write unit" else f"{head}s{of}{rest}"


def as_data(costs: Estimate) -> dict[str, Any]:
    """The estimate as ``--json`` prints it."""
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
                "checked": PRICES[line.price].checked,
            }
            for line in costs.lines
        ],
        "assumptions": list(costs.assumptions),
    }
