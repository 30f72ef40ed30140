"""docs/aws.md is held against what is made."""

from __future__ import annotations

from pathlib import Path

from tidegate.config.models import AwsKeys
from tidegate.names import Names
from tidegate.release import buckets, table
from tidegate.release.codepipeline import CodePipelineOptions, plan_codepipeline
from tidegate.release.package import Tool

TEXT = (Path(__file__).parents[2] / "docs" / "aws.md").read_text()
KEYS = AwsKeys(
    pipelines_repo_name="waves",
    aws_repo_name="deployment",
    github_org="tsdat",
    github_codestar_arn="arn:aws:codeconnections:us-west-2:123456789012:connection/1",
    account_id="123456789012",
    region="us-west-2",
    input_bucket_name="raw",
    output_bucket_name="products",
)
PLAN = plan_codepipeline(KEYS, "main", Tool("1", "1", "w", "0", "c", "0"), ["buoy"])


def test_settings_of_buckets_and_table() -> None:
    for id, wanted in buckets.SETTINGS.items():
        assert id == "expiry" or wanted.text in TEXT
    for wanted in table.SETTINGS.values():
        assert wanted.text in TEXT


def test_what_starts_a_release() -> None:
    assert PLAN.pipeline is not None
    for source in PLAN.pipeline.sources:
        assert "  ".join(source.paths) in TEXT


def test_figures() -> None:
    assert f"stopped after {PLAN.project.minutes} minutes" in TEXT
    kept = CodePipelineOptions().keep_images
    assert f"the image that runs and {kept} earlier" in " ".join(TEXT.split())


def test_names_of_roles() -> None:
    names = Names("waves", "main")
    for name in (names.codepipeline_role, names.build_role, names.deploy_role, names.boundary):
        assert f"`…{name.removeprefix(names.base)}`" in TEXT
