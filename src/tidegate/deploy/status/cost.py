"""The monthly cost of a branch, from its recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from tidegate.deploy.core.branch import Branch
from tidegate.deploy.costs import estimate, usage
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.plan import outline
from tidegate.deploy.status.model import Bucket, CodePipeline, Images, Unknown
from tidegate.errors import LedgerError
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.runs import RunRecord
from tidegate.targets.aws.ledger import DynamoLedger

MOST = 2000
"""How many of the latest runs the estimate uses at most."""
_LOOKS_BACK = timedelta(days=30)


def estimate_cost(
    branch: Branch,
    manifest: Manifest,
    ledger: DynamoLedger,
    images: Images | Unknown,
    buckets: Sequence[Bucket | Unknown],
    pipeline: CodePipeline | Unknown,
    now: datetime,
) -> estimate.Estimate:
    """The estimate, from the latest runs and from what is in the buckets now.

    Raises:
        ConfigurationError: a config cannot run on AWS as it is.
    """
    plan = outline(branch.keys, manifest, branch.name)
    records, begin = _latest_runs(ledger, now)
    observed = usage.observed_usage(manifest, records, begin=begin, end=now)
    whole = [b for b in buckets if isinstance(b, Bucket) and not b.more]
    stored = sum(b.bytes for b in whole) if len(whole) == len(buckets) else None
    resources = estimate.resources_of(
        plan,
        stored=stored,
        images=images.size if isinstance(images, Images) and images.count else None,
        codepipeline=not isinstance(pipeline, CodePipeline) or pipeline.exists,
    )
    return estimate.estimate(
        usage.expected_usage(manifest, observed), resources, region=branch.place.region
    )


def estimate_planned(
    branch: Branch, manifest: Manifest, plan: Plan, now: datetime
) -> estimate.Estimate:
    """The estimate for a planned release, from the latest runs if there are any."""
    records, begin = _latest_runs(DynamoLedger(branch.names.ledger_table, branch.clients), now)
    observed = usage.observed_usage(manifest, records, begin=begin, end=now)
    resources = estimate.resources_of(plan)
    return estimate.estimate(
        usage.expected_usage(manifest, observed), resources, region=branch.place.region
    )


def _latest_runs(ledger: DynamoLedger, now: datetime) -> tuple[list[RunRecord], datetime]:
    """The latest runs, and the time since which they are complete."""
    try:
        found = list(islice(ledger.records(limit=MOST), MOST))
    except LedgerError:  # nothing is deployed yet
        return [], now
    records = [record for record in found if record.started >= now - _LOOKS_BACK]
    return records, min((record.started for record in records), default=now)
