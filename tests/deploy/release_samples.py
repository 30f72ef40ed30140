"""Configs, keys and plans for the tests of releases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.config.models import AwsKeys
from tidegate.deploy.core.package import Tool
from tidegate.deploy.design.model import Code, Image, Plan
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.runtime.manifest import Config, Manifest, NoticeSettings

ACCOUNT = "123456789012"
REGION = "us-west-2"
DIGEST = "sha256:" + "ab" * 32
OPTIONS = Options(code_version="4f2a9c1")

KEYS = AwsKeys(
    pipelines_repo_name="waves",
    account_id=ACCOUNT,
    region=REGION,
    input_bucket_name="waves-raw",
    output_bucket_name="waves-products",
)

CODEPIPELINE = KEYS.model_copy(
    update={
        "github_org": "tsdat",
        "aws_repo_name": "aws-template",
        "github_codestar_arn": "arn:aws:codeconnections:us-west-2:123456789012:connection/5b0a2f7c",
    }
)
TOOL = Tool(
    version="0.1.0",
    uv="0.13.9",
    wheel="tidegate/0123456789abcdef/tidegate-0.1.0-py3-none-any.whl",
    wheel_sha256="0123456789abcdef" * 4,
    constraints="tidegate/fedcba9876543210/constraints.txt",
    constraints_sha256="fedcba9876543210" * 4,
)


def ingest(name: str = "morro", pipeline: str = "buoy", **more: Any) -> Config:
    settings: dict[str, Any] = {"input_path": f"{pipeline}/{name}/", **more}
    return Config(
        pipeline, name, "Ingest", "S3", f"pipelines/{pipeline}/config/{name}.yaml", **settings
    )


def vap(name: str = "morro", pipeline: str = "wave_vap", **more: Any) -> Config:
    settings: dict[str, Any] = {"schedule": "0 * * * *", "window": "hour", **more}
    return Config(
        pipeline, name, "VAP", "Cron", f"pipelines/{pipeline}/config/{name}.yaml", **settings
    )


def texts(name: str = "noaa", pipeline: str = "tides", **more: Any) -> Config:
    settings: dict[str, Any] = {
        "schedule": "0 3 1 * *",
        "inputs": ("{begin:%Y%m}",),
        "window": "month",
        **more,
    }
    return Config(
        pipeline, name, "Ingest", "Cron", f"pipelines/{pipeline}/config/{name}.yaml", **settings
    )


def several() -> tuple[Config, ...]:
    """One of each kind."""
    return (
        ingest(expect_every=1200, concurrency=4),
        ingest("humboldt", timeout=120, memory=1024, retries=0, concurrency=1),
        vap(),
        texts(schedule="0 3 1 * MON"),
    )


def many(count: int) -> tuple[Config, ...]:
    return tuple(
        vap(f"site{n}") if n % 3 == 0 else ingest(f"site{n}", expect_every=1200)
        for n in range(count)
    )


def plan_of(
    *configs: Config,
    branch: str = "main",
    options: Options = OPTIONS,
    images: Mapping[str, Code] | None = None,
    keys: AwsKeys = KEYS,
    notices: Mapping[str, NoticeSettings] | None = None,
    **more: Any,
) -> Plan:
    codes: dict[str, Code] = {config.pipeline: Image(DIGEST) for config in configs}
    return plan_release(
        keys,
        Manifest(configs, notices=notices or {}),
        branch,
        codes | dict(images or {}),
        options,
        **more,
    )
