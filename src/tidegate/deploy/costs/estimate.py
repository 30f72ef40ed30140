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

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from tidegate.deploy.costs.prices import DATED, ELSEWHERE, PRICES, REGIONS
from tidegate.deploy.costs.usage import ASSUMED, HOURS, LOG_KB, Usage
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.sweep import MEMORY
from tidegate.targets.aws.swept_config import PERIOD

# For a run and for each of its products, indexes included. Counted on the emulator: 32 write units
# with one product and 64 with eight, without the indexes; 5 and 18 read units.
WRITES, WRITES_EACH = 28, 7
READS, READS_EACH = 3, 2
MESSAGES = 4  # to SQS for one run: send, receive, set the visibility, delete
# Of an idle queue in a month: Lambda has five connections, and each sends a request every 20
# seconds. Source: AWS, "Why are my Amazon SQS charges higher than expected?"
POLLS = 5 * 3 * 60 * HOURS
SWEEPS = HOURS * 3600 / PERIOD  # of a stack in a month
SWEEP_SECONDS, SWEEP_READS = 0.2, 6  # of a sweep for each config; assumed
RECORD, RECORD_EACH = 5_000, 2_500  # bytes in the ledger for a run, and for each of its products
_GB = 1e9

# Assumed, too.
BUILDS, BUILD_MINUTES = 20, 6  # a month, and each
IMAGES_KEPT, IMAGE_MB = 3, 400  # of a pipeline, compressed; layers that they share are ignored
LEDGER_MONTHS, LOG_MONTHS = 12, 3  # that records and logs are kept


@dataclass(frozen=True)
class Resources:
    """The resources of a branch, which cost money whether anything runs or not."""

    queues: int  # that Lambda polls
    alarm_metrics: int  # in all alarms
    dashboards: int
    pipelines: int  # each has an image
    tmp: Mapping[str, int] = field(default_factory=dict)  # of each config's function, MB
    arm: frozenset[str] = frozenset()  # configs that run on ARM processors
    builds: float = BUILDS  # a month
    codepipeline: bool = True  # starts the builds
    backups: bool = True  # of the ledger, to any second
    stored: int | None = None  # bytes in the buckets now; None if unknown
    images: int | None = None  # bytes in the image repository now; None if unknown


def resources_of(
    plan: Plan, *, stored: int | None = None, images: int | None = None, codepipeline: bool = True
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
        codepipeline=codepipeline,
        backups=plan.backups,
        stored=stored,
        images=images,
    )


@dataclass(frozen=True)
class Line:
    """One kind of use in a month."""

    price: str  # a key of ``PRICES``
    amount: float
    usd: float  # for one unit

    @property
    def monthly(self) -> float:
        """US dollars a month."""
        return self.amount * self.usd

    @property
    def text(self) -> str:
        """The amount and the price of a unit, in words."""
        price = PRICES[self.price]
        amount = f"{self.amount:,.0f}" if self.amount >= 100 else f"{self.amount:,.3g}"
        unit = price.unit if self.amount == 1 else f"{price.unit}s"
        usd, of = (self.usd, "") if self.usd >= 0.001 else (self.usd * 1e6, " a million")
        return f"{price.what}: {amount} {unit} at ${usd:,.4g}{of}"


@dataclass(frozen=True)
class Estimate:
    """The monthly cost of a branch, in US dollars."""

    lines: tuple[Line, ...]  # the most expensive first
    configs: Mapping[str, float]  # the cost of each config's own runs
    free: float  # the value of AWS's free tier, if nothing else in the account uses it
    growth: float  # by how much each month's new files raise the cost of all later months
    assumptions: tuple[str, ...]  # in words
    region: str
    dated: str = DATED

    @property
    def total(self) -> float:
        """US dollars a month."""
        return sum(line.monthly for line in self.lines)


def estimate(
    usage: Mapping[str, Usage], resources: Resources, *, region: str = "us-west-2"
) -> Estimate:
    """The monthly cost in a region; ``usage`` is by config."""
    usd = {kind: price.usd * REGIONS.get(region, ELSEWHERE) for kind, price in PRICES.items()}
    own = {id: dict(_variable_use(used, resources)) for id, used in usage.items()}
    amounts: dict[str, float] = defaultdict(float)
    variable = (used.items() for used in own.values())
    for kind, amount in chain(*variable, _fixed_use(usage, resources)):
        amounts[kind] += amount
    lines = [Line(kind, amount, usd[kind]) for kind, amount in amounts.items() if amount]
    added = sum(used.runs * used.added_bytes for used in usage.values())
    free = {kind: min(amount, PRICES[kind].free) for kind, amount in amounts.items()}
    shared = PRICES["lambda-arm"].free - free.get("lambda-x86", 0)  # by both kinds of processors
    free["lambda-arm"] = min(free.get("lambda-arm", 0), shared)
    return Estimate(
        tuple(sorted(lines, key=lambda line: (-line.monthly, line.price))),
        {id: sum(n * usd[kind] for kind, n in used.items()) for id, used in own.items()},
        sum(amount * usd[kind] for kind, amount in free.items()),
        added / _GB * usd["s3-storage"],
        tuple(_describe_assumptions(usage, resources, region)),
        region,
    )


def _variable_use(usage: Usage, resources: Resources) -> Iterator[tuple[str, float]]:
    """What one config's runs use in a month, by kind of use."""
    runs, seconds = usage.runs, usage.runs * usage.billed
    arm = usage.config in resources.arm
    yield "lambda-arm" if arm else "lambda-x86", seconds * usage.memory / 1024
    yield "lambda-requests", runs
    yield "lambda-tmp", seconds * max(0, resources.tmp.get(usage.config, 512) - 512) / 1024
    # Each product and the log; and the raw file, which somebody uploads.
    yield "s3-put", runs * (usage.products + 1 + usage.inputs)
    yield "s3-get", runs * 2 * (usage.inputs + usage.staged)
    yield "dynamodb-write", runs * (WRITES + WRITES_EACH * usage.products)
    yield "dynamodb-read", runs * (READS + READS_EACH * usage.products + usage.staged)
    yield "sqs", runs * MESSAGES + POLLS
    yield "scheduler", usage.scheduled
    files = 0 if usage.scheduled else runs * usage.inputs
    yield "eventbridge", files
    yield "event-bus", files
    yield "logs", runs * LOG_KB * 1e3 / _GB


def _fixed_use(usage: Mapping[str, Usage], resources: Resources) -> Iterator[tuple[str, float]]:
    """What is used whether anything runs or not, by kind of use."""
    yield "alarms", resources.alarm_metrics
    yield "dashboards", resources.dashboards
    # Each sweep takes a second, and a moment for each config. A search for files lists once a day.
    sweeps, swept = SWEEPS * resources.dashboards, SWEEPS * resources.queues
    yield "lambda-x86", (sweeps + swept * SWEEP_SECONDS) * MEMORY / 1024
    yield "lambda-requests", sweeps
    yield "scheduler", sweeps
    yield "sqs", swept * 2
    yield "dynamodb-read", swept * SWEEP_READS
    yield "s3-put", HOURS / 24 * resources.queues
    images = resources.pipelines * IMAGE_MB * IMAGES_KEPT * 1e6
    yield "ecr", (images if resources.images is None else resources.images) / _GB
    yield "s3-storage", (resources.stored or 0) / _GB
    records = sum(own.runs * (RECORD + RECORD_EACH * own.products) for own in usage.values())
    ledger = records * LEDGER_MONTHS / _GB
    yield "dynamodb-storage", ledger
    yield "dynamodb-backup", ledger if resources.backups else 0
    runs = sum(own.runs for own in usage.values())
    yield "logs-storage", runs * LOG_KB * 1e3 / _GB * LOG_MONTHS
    minutes = resources.builds * BUILD_MINUTES
    yield "codebuild", minutes
    # Two source actions take a minute each; the build action takes as long as the build.
    yield "codepipeline", minutes + 2 * resources.builds if resources.codepipeline else 0


def _describe_assumptions(
    usage: Mapping[str, Usage], resources: Resources, region: str
) -> Iterator[str]:
    assumed = [own.config for own in usage.values() if not own.recorded]
    if recorded := len(usage) - len(assumed):
        yield f"from recorded runs: {recorded} of {len(usage)} configs"
    if assumed:
        names = ", ".join(assumed[:6]) + (", …" if len(assumed) > 6 else "")
        yield f"assumed, because no runs are recorded, or for less than a day: {names}"
        yield from ASSUMED.splitlines()
    yield f"{resources.builds:g} builds a month of {BUILD_MINUTES} minutes"
    if resources.images is None:
        yield f"{IMAGES_KEPT} images of {IMAGE_MB} MB for each pipeline"
    if resources.stored is None:
        yield "files that are already in the buckets are not included"
    if (higher := REGIONS.get(region, ELSEWHERE)) != 1:
        percent = f"{100 * (higher - 1):.0f} % above those of us-west-2"
        yield f"prices of {region} are assumed to be {percent}"
    yield "not included: taxes, data that leaves AWS, e-mails, other users of the buckets"
    doubtful = sorted(kind for kind, price in PRICES.items() if price.checked == "unconfirmed")
    names = ", ".join(PRICES[kind].what for kind in doubtful)
    yield f"list prices as of {DATED}; not confirmed: {names}"


def describe(costs: Estimate) -> str:
    """The estimate as text."""
    lines = [f"about ${costs.total:,.2f} a month in {costs.region} (prices of {costs.dated})"]
    lines += [f"  {x.monthly:>10,.2f}  {x.text}" for x in costs.lines if x.monthly >= 0.005]
    if small := [PRICES[line.price].what for line in costs.lines if line.monthly < 0.005]:
        lines.append(f"        < .01  {', '.join(small)}")
    if costs.free >= 0.005:
        less = "less, if nothing else in the account uses AWS's free tier"
        lines.append(f"up to ${costs.free:,.2f} {less}")
    if costs.growth >= 0.005:
        lines.append(f"and ${costs.growth:,.2f} more each month, because stored files accumulate")
    return "\n".join([*lines, *(f"  * {text}" for text in costs.assumptions)]) + "\n"


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
            {**PRICES[line.price]._asdict(), **asdict(line), "monthly": round(line.monthly, 4)}
            for line in costs.lines
        ],
        "assumptions": list(costs.assumptions),
    }
