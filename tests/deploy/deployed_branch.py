"""Branches on the emulator: deployed as a release does it, and as the older recipe left them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from command_here import run_here
from ministack_process import REGION, MiniStack
from release_samples import TOOL

from tidegate import config as configuration
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.upload import Upload, upload_to
from tidegate.deploy.core import branch as branches
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.codepipeline import plan_codepipeline
from tidegate.deploy.design.model import Plan, Zip
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.deploy.design.templates import synthesize
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger, create_table
from tidegate.targets.aws.names import Names

ACCOUNT = "000000000000"
PLACE = Place(ACCOUNT, REGION)
CONFIG = f"""\
pipelines_repo_name: waves
account_id: "{ACCOUNT}"
region: {REGION}
input_bucket_name: waves-raw
output_bucket_name: waves-products
branches:
  dev: {{output_bucket_name: waves-products-dev}}
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/morro.yaml
    humboldt:
      input_bucket_path: buoy/humboldt/
      config_file_path: pipelines/buoy/config/humboldt.yaml
- name: wave_vap
  type: VAP
  trigger: Cron
  schedule: Hourly
  configs:
    morro:
      config_file_path: pipelines/wave_vap/config/morro.yaml
"""
HANDLER = "def handler(event, context):\n    return {'batchItemFailures': []}\n"
OLDER = {
    "PIPELINE_NAME": "", "CONFIG_ID": "", "RETAIN_INPUT_FILES": "true", "CODE_VERSION": "1",
    "TSDAT_S3_BUCKET_NAME": "waves-products", "BRANCH": "",
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Deployed:
    """A branch of the config in a folder."""

    stack: MiniStack
    folder: Path
    name: str = "main"

    @cached_property
    def clients(self) -> Clients:
        return self.stack.clients()

    @property
    def names(self) -> Names:
        return Names("waves", self.name)

    @property
    def stacks(self) -> Stacks:
        return Stacks(self.clients, PLACE, poll=0.05)

    @property
    def upload(self) -> Upload:
        return upload_to("waves-code", self.clients, PLACE)

    @property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger(self.names.ledger_table, self.clients)

    def opened(self) -> branches.Branch:
        return branches.open_branch(self.folder, self.name)

    def tidegate(self, *arguments: str, code: int = 0, **environment: str) -> Done:
        """A command; its exit code is checked."""
        done = Done(*run_here(arguments, self.folder, environment))
        assert done.code == code, f"{arguments}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err
        return done

    def plan(self, **more: Any) -> Plan:
        reading = configuration.read(self.folder / "pipelines_config.yml", files=False)
        manifest = configuration.resolve(reading, None).manifest
        assert manifest is not None
        code = Zip("waves-code", "abc.zip", handler="index.handler", runtime="python3.12")
        return plan_release(
            reading.require().for_branch(self.name),
            manifest,
            self.name,
            {config.pipeline: code for config in manifest.configs},
            Options(metric_math=False, code_version="4f2a9c1"),
            **more,
        )

    def deploy(self, **more: Any) -> None:
        """The ledger, the CodePipeline stack and the pipelines stacks."""
        plan = self.plan(**more)
        if self.names.ledger_table not in self.clients.dynamodb.list_tables()["TableNames"]:
            create_table(self.names.ledger_table, self.clients)
        keys = self.opened().keys
        first = plan_codepipeline(keys, self.name, TOOL, ["buoy", "wave_vap"])
        for template in (*synthesize(first), *synthesize(plan)):
            self.stacks.execute(self.stacks.plan(template, upload=self.upload))

    # As the older recipe did.

    def older_function(self, pipeline: str, config: str, name: str = "", **more: str) -> str:
        """A function outside any stack, with its log group; its ARN."""
        given = name or f"{self.names.base}-lambda-{pipeline}-{config}"
        own = {"PIPELINE_NAME": pipeline, "CONFIG_ID": config, "BRANCH": self.name}
        made = self.clients.client("lambda").create_function(
            FunctionName=given, Runtime="python3.12", Handler="index.handler",
            Role=f"arn:aws:iam::{ACCOUNT}:role/any", Code={"ZipFile": zipped()},
            Environment={"Variables": OLDER | own | more},
        )  # fmt: skip
        self.clients.client("logs").create_log_group(logGroupName=f"/aws/lambda/{given}")
        return str(made["FunctionArn"])

    def older_rule(self, name: str, *targets: str) -> None:
        client = self.clients.client("events")
        client.put_rule(Name=name, ScheduleExpression="rate(1 day)", State="DISABLED")
        entries = [{"Id": str(n), "Arn": arn} for n, arn in enumerate(targets, 1)]
        if entries:
            client.put_targets(Rule=name, Targets=entries)

    def notify(self, bucket: str, entries: dict[str, tuple[str, str]], **more: Any) -> None:
        """The notifications of a bucket: by id, the prefix and the function."""
        self.clients.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "LambdaFunctionConfigurations": [
                    {
                        "Id": id,
                        "LambdaFunctionArn": arn,
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
                    }
                    for id, (prefix, arn) in entries.items()
                ],
                **more,
            },
        )

    # What is there.

    def functions(self) -> set[str]:
        pages = self.clients.client("lambda").get_paginator("list_functions").paginate()
        return {one["FunctionName"] for page in pages for one in page["Functions"]}

    def rules(self) -> set[str]:
        return {rule["Name"] for rule in self.clients.client("events").list_rules()["Rules"]}

    def log_groups(self) -> set[str]:
        found = self.clients.client("logs").describe_log_groups()["logGroups"]
        return {group["logGroupName"] for group in found}

    def buckets(self) -> set[str]:
        return {bucket["Name"] for bucket in self.clients.s3.list_buckets()["Buckets"]}

    def tables(self) -> set[str]:
        return set(self.clients.dynamodb.list_tables()["TableNames"])

    def queues(self) -> set[str]:
        urls = self.clients.sqs.list_queues().get("QueueUrls", ())
        return {url.rsplit("/", 1)[-1] for url in urls}

    def iam(self) -> set[str]:
        """Roles and policies of the account's own."""
        client = self.clients.client("iam")
        roles = {one["RoleName"] for one in client.list_roles()["Roles"]}
        return roles | {p["PolicyName"] for p in client.list_policies(Scope="Local")["Policies"]}

    def builds(self) -> set[str]:
        """Projects of CodeBuild, repositories and topics."""
        repositories = self.clients.client("ecr").describe_repositories()["repositories"]
        topics = self.clients.client("sns").list_topics()["Topics"]
        return {
            *self.clients.client("codebuild").list_projects()["projects"],
            *(one["repositoryName"] for one in repositories),
            *(one["TopicArn"] for one in topics),
        }

    def living_stacks(self) -> set[str]:
        listed = self.clients.client("cloudformation").list_stacks()["StackSummaries"]
        return {s["StackName"] for s in listed if s["StackStatus"] != "DELETE_COMPLETE"}

    def notifications(self, bucket: str) -> dict[str, Any]:
        answer: Any = self.clients.s3.get_bucket_notification_configuration(Bucket=bucket)
        answer.pop("ResponseMetadata", None)
        return dict(answer)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", HANDLER)
    return buffer.getvalue()


def account(stack: MiniStack, folder: Path) -> Deployed:
    """An empty account with the buckets that the config names."""
    import urllib.request

    reset = urllib.request.Request(f"{stack.endpoint}/_ministack/reset", method="POST")
    urllib.request.urlopen(reset).close()
    (folder / "pipelines_config.yml").write_text(CONFIG)
    main = Deployed(stack, folder)
    for bucket in ("waves-raw", "waves-products", "waves-products-dev", "waves-code"):
        main.clients.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    main.clients.s3.put_object(Bucket="waves-code", Key="abc.zip", Body=zipped())
    return main


def signed_in(patch: pytest.MonkeyPatch, stack: MiniStack) -> None:
    """An environment in which nothing can reach the real AWS."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "TIDEGATE_"))]:
        patch.delenv(name)
    for name, value in stack.environment.items():
        patch.setenv(name, value)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
