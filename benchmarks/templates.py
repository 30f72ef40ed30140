"""(i) The time to plan many configs and to write their CloudFormation templates."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.report import Figure, median
from tidegate.config.models import AwsKeys
from tidegate.deploy.design.model import Image
from tidegate.deploy.design.plan import plan_release
from tidegate.deploy.design.templates import LARGEST, synthesize
from tidegate.runtime.manifest import Config, Manifest, Pipeline

COUNTS = (1, 100, 300)
KEYS = AwsKeys(
    account_id="123456789012",
    region="us-west-2",
    pipelines_repo_name="waves",
    input_bucket_name="waves-raw",
    output_bucket_name="waves-products",
)
IMAGE = Image("sha256:" + "0" * 64)


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The templates of all configs of a branch, for growing numbers of configs."""
    figures: list[Figure] = []
    for count in (1, 2) if quick else COUNTS:
        times: list[float] = []
        for _ in range(1 if quick else 5):
            seconds, stacks, size = _plan_and_write(count)
            times.append(seconds)
        figures += [
            median("i", f"{count} configs: planned and written as templates in", times, "s"),
            Figure("i", f"{count} configs: stacks", stacks, ""),
            Figure("i", "  the longest template", size / 1000, "kB", at_most=LARGEST / 1000),
        ]
    return figures


def _plan_and_write(count: int) -> tuple[float, int, int]:
    """The time in s, the number of stacks, and the length of the longest template in bytes."""
    configs = tuple(map(_config, range(count)))
    images = {config.pipeline: IMAGE for config in configs}
    began = time.perf_counter()
    templates = synthesize(plan_release(KEYS, Manifest(configs), "main", images))
    took = time.perf_counter() - began
    return took, len(templates), max(len(template.body.encode()) for template in templates)


def _config(number: int) -> Config:
    """Every third config is an hourly VAP; the others are ingests that expect data each day."""
    name = f"site{number}"
    if number % 3 == 2:
        tsdat = Pipeline("Class", datastreams=(f"{name}.buoy.a1",))
        return Config(
            "vap", name, "VAP", "Cron", "v.yaml", schedule="0 * * * *", window="hour", tsdat=tsdat
        )
    path = f"buoy/{name}/"
    return Config("buoy", name, "Ingest", "S3", "b.yaml", input_path=path, expect_every=86_400)
