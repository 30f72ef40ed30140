"""Deployments without their builds, on the emulator: what holds data, and the first stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, MiniStack, ministack

from tidegate.deploy.cloudformation.changes import ChangeSet
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.workflow import deploying
from tidegate.errors import ConfigurationError, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.aws]

CONFIG = """
pipelines_repo_name: waves
account_id: "000000000000"
region: us-west-2
input_bucket_name: waves-raw
output_bucket_name: waves-products
create_buckets: true
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/pipeline.yaml
"""
GITHUB = """
github_org: ocean
aws_repo_name: waves-aws
github_codestar_arn: arn:aws:codeconnections:us-west-2:000000000000:connection/5b0a2f7c
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[MiniStack]:
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "aws").mkdir()
        with ministack(tmp_path / "aws") as running:
            for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": running.endpoint}.items():
                patch.setenv(name, value)
            patch.delenv("AWS_PROFILE", raising=False)
            yield running


def branch(folder: Path, text: str = CONFIG) -> Branch:
    (folder / "pipelines_config.yml").write_text(text)
    return open_branch(folder, "main")


def deploy(opened: Branch, folder: Path, said: list[str], *, agree: bool = True) -> list[ChangeSet]:
    """Deploy as the command does; what was to be agreed to."""
    asked: list[ChangeSet] = []
    found = deploying.plan_deployment(opened, said.append, folder=folder)
    deploying.check_older_recipe(found)
    deploying.create_data_stores(found, folder, said.append)

    def answer(changes: ChangeSet) -> bool:
        asked.append(changes)
        return agree

    deploying.deploy_stack(found, answer, said.append)
    return asked


def test_a_second_deployment_finds_nothing_to_do(stack: MiniStack, tmp_path: Path) -> None:
    opened = branch(tmp_path, CONFIG + GITHUB)
    first: list[str] = []
    second: list[str] = []
    [changes] = deploy(opened, tmp_path, first)
    assert changes.counts["created"] > 5
    assert any("created the bucket waves-raw" in line for line in first)
    assert deploy(opened, tmp_path, second) == []
    assert second == ["nothing changes in the stack waves-main-CodePipelineStack"]


def test_a_no_leaves_no_stack(stack: MiniStack, tmp_path: Path) -> None:
    opened = branch(tmp_path)
    assert deploy(opened, tmp_path, [], agree=False)
    stacks = opened.clients.client("cloudformation").describe_stacks()["Stacks"]
    assert [s["StackStatus"] for s in stacks if s["StackStatus"] != "DELETE_COMPLETE"] == []


BUCKET = {"Raw": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "waves-raw"}}}
TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])  # the CDK CLI sends YAML
@pytest.mark.parametrize(
    ("older", "said"),
    [(BUCKET, r"deleted: Raw\n`tidegate destroy main"), (TOPIC, "would fail\n")],
)
def test_the_older_recipes_stack_is_left_alone(
    stack: MiniStack,
    tmp_path: Path,
    older: dict[str, Any],
    dump: Callable[[object], str],
    said: str,
) -> None:
    opened = branch(tmp_path)
    client = opened.clients.client("cloudformation")
    client.create_stack(
        StackName="waves-main-CodePipelineStack", TemplateBody=dump({"Resources": older})
    )
    client.get_waiter("stack_create_complete").wait(
        StackName="waves-main-CodePipelineStack", WaiterConfig={"Delay": 1}
    )
    with pytest.raises(UsageError, match=f"older recipe's\n.*{said}"):
        deploy(opened, tmp_path, [])
    if older is BUCKET:
        opened.clients.s3.head_bucket(Bucket="waves-raw")


def test_nothing_would_start_a_release(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--from DIR"):
        deploying.check_pipeline_keys(branch(tmp_path))
    deploying.check_pipeline_keys(branch(tmp_path, CONFIG + GITHUB))


def test_a_bundle_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--from"):
        deploying.build_bundle(branch(tmp_path), tmp_path / "none", None, print)
