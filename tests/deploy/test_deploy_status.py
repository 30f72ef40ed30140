"""What is deployed and how it goes: on the emulator, on moto, and when AWS does not tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")

from answering_server import answering
from deployed_branch import ACCOUNT, CONFIG, Deployed, account, signed_in
from ministack_process import REGION, MiniStack, ministack

from tidegate.deploy import status
from tidegate.deploy.core.history import History, Release, ReleasedImage
from tidegate.deploy.status import buckets, deployed
from tidegate.deploy.status.model import Unknown
from tidegate.runtime.runs import Failure, Input, Product, Run, RunRecord

pytestmark = [pytest.mark.slow, pytest.mark.aws]
NOW = datetime.now(timezone.utc)
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with (
        pytest.MonkeyPatch.context() as patch,
        ministack(tmp_path_factory.mktemp("status")) as running,
    ):
        signed_in(patch, running)
        yield running


@pytest.fixture(scope="module")
def main(aws: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """A branch that is deployed, with one run that went well and two that failed."""
    main = account(aws, tmp_path_factory.mktemp("workspace"))
    main.deploy()
    ran(main, "buoy/morro", "a.csv", NOW - timedelta(hours=3))
    ran(main, "buoy/morro", "b.csv", NOW - timedelta(hours=2), failed=True)
    ran(main, "buoy/morro", "c.csv", NOW - timedelta(hours=1))
    ran(main, "buoy/humboldt", "d.csv", NOW - timedelta(minutes=5), failed=True)
    return main


def ran(main: Deployed, config: str, name: str, when: datetime, *, failed: bool = False) -> None:
    """A run on record that ended half a minute after its file arrived."""
    run = Run(config, (Input(f"{config}/{name}", "1", 10),), arrived=when)
    claim = main.ledger.claim(run, owner="t", lease=timedelta(hours=1), now=when, release="")
    assert claim.record is not None
    record: RunRecord = replace(
        claim.record,
        state="failed" if failed else "succeeded",
        finished=when + timedelta(seconds=30),
        failure=Failure("bad-input", "no such column") if failed else None,
        seconds={"total": 20.0},
    )
    main.ledger.finish(record)


def test_configs(main: Deployed) -> None:
    names, clients = main.names, main.clients
    queue = names.queue("buoy", "humboldt")
    for name in (queue, names.dead_letter_queue("buoy", "humboldt")):
        url = clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        if name == queue:  # else the function would take it
            mapping = clients.client("lambda").list_event_source_mappings(
                FunctionName=names.function("buoy", "humboldt")
            )["EventSourceMappings"][0]
            clients.client("lambda").update_event_source_mapping(
                UUID=mapping["UUID"], Enabled=False
            )
        clients.sqs.send_message(QueueUrl=url, MessageBody="{}")
    clients.client("cloudwatch").set_alarm_state(
        AlarmName=names.alarm("buoy", "humboldt", "age"), StateValue="ALARM", StateReason="t"
    )
    found = status.collect_status(main.opened(), NOW)
    morro, humboldt, vap = found.configs
    assert [config.id for config in found.configs] == [
        "buoy/morro", "buoy/humboldt", "wave_vap/morro"
    ]  # fmt: skip
    assert (morro.last.about, morro.last.outcome) == ("buoy/morro/c.csv", "succeeded")
    assert (morro.last.lag, morro.failed) == (30.0, 1)
    assert (humboldt.last.outcome, humboldt.last.why) == ("failed", "no such column")
    assert (humboldt.last.lag, humboldt.failed) == (None, 1)
    assert (humboldt.queues.waiting, humboldt.queues.dead) == (1, 1)
    assert (humboldt.alarms, found.alarms) == (("age",), 1)
    assert (vap.last, vap.failed, vap.schedule) == (None, 0, "ENABLED")
    due = NOW.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    assert (vap.next, morro.next, morro.schedule) == (due, None, "")
    assert {(c.function.state, c.function.commit) for c in found.configs} == {("Active", "4f2a9c1")}
    assert morro.urls["input"].endswith("prefix=buoy%2Fmorro%2F&showversions=false")
    assert set(vap.urls) == {"function", "log", "queue", "dead letters", "schedule"}


def test_stacks_images_and_releases(main: Deployed) -> None:
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
                   "digest": "sha256:" + "0" * 64},
        "layers": [],
    }  # fmt: skip
    for tag in ("buoy-main", "buoy-0123456789abcdef"):
        main.clients.client("ecr").put_image(
            repositoryName="waves-main", imageManifest=json.dumps(manifest), imageTag=tag
        )
    history = History(main.names.ledger_table, main.clients)
    images = {"buoy": ReleasedImage("buoy-0123456789abcdef", DIGEST)}
    when = NOW - timedelta(days=1)
    history.put(Release("1-c1", "c1", "arn:x/ann", when, "deployed", images))
    history.put(Release("2-c2", "c2", "arn:x/bob", NOW, "failed", error="no such package"))
    found = status.collect_status(main.opened(), NOW)
    assert [(s.name, s.status, s.configs) for s in found.stacks] == [
        ("waves-main-PipelinesStack", "CREATE_COMPLETE", 3),
        ("waves-main-CodePipelineStack", "CREATE_COMPLETE", 0),
    ]
    buoy, vap = found.images.images
    assert buoy.tags == ("buoy-0123456789abcdef", "buoy-main")
    assert (vap.pipeline, vap.digest) == ("wave_vap", "")
    assert (found.release.id, found.release.who) == ("1-c1", "arn:x/ann")
    assert (found.latest.id, found.latest.error) == ("2-c2", "no such package")


def test_products_on_record_that_are_not_in_the_bucket(main: Deployed) -> None:
    assert status.collect_status(main.opened(), NOW).outputs.problem == ""
    run = Run("buoy/morro", (Input("buoy/morro/lost.csv", "1", 10),), arrived=NOW)
    when = NOW - timedelta(days=2)
    claim = main.ledger.claim(run, owner="t", lease=timedelta(hours=1), now=when, release="")
    assert claim.record is not None
    lost = Product("lost.nc", "data", 1, "0" * 64, "a.b", NOW, NOW)
    done = replace(claim.record, state="succeeded", finished=when, products=(lost,))
    main.ledger.finish(done)
    found = status.collect_status(main.opened(), NOW).outputs
    assert (found.looked_for, found.missing) == (1, ("lost.nc",))
    assert "verify --target aws" in found.problem


def test_buckets_are_counted_with_a_limit(main: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        main.clients.s3.put_object(Bucket="waves-products", Key=f"{n}.nc", Body=b"12345")
    opened = main.opened()
    found = buckets.describe_bucket(opened, "waves-products", "output")
    assert (found.objects, found.bytes, found.more, found.counted) == (5, 25, False, None)
    monkeypatch.setattr(buckets, "MOST", 3)
    found = buckets.describe_bucket(opened, "waves-products", "output")
    assert (found.objects, found.more) == (3, True)
    assert buckets.describe_bucket(opened, "no-such-bucket", "output").objects is None


def test_buckets_that_cloudwatch_has_counted_are_not_listed(main: Deployed) -> None:
    yesterday = NOW - timedelta(days=1)

    def metric(name: str, kind: str, value: float) -> dict[str, Any]:
        dimensions = {"BucketName": "waves-raw", "StorageType": kind}
        return {
            "MetricName": name,
            "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
            "Timestamp": yesterday,
            "Value": value,
        }

    main.clients.client("cloudwatch").put_metric_data(
        Namespace="AWS/S3",
        MetricData=[
            metric("NumberOfObjects", "AllStorageTypes", 123_456),
            metric("BucketSizeBytes", "StandardStorage", 7e9),
            metric("BucketSizeBytes", "GlacierStorage", 1e9),
        ],
    )
    found = buckets.describe_bucket(main.opened(), "waves-raw", "input", NOW)
    assert (found.objects, found.bytes, found.more) == (123_456, 8_000_000_000, False)
    assert found.counted is not None


def test_the_command(main: Deployed) -> None:
    told = main.tidegate("status", "main", "--json").json
    assert told["branch"] == "main"
    assert set(told["pipeline"]) == {"unknown"}
    assert told["cost"]["total"] > 0
    assert "buoy/morro" in told["cost"]["configs"]
    assert told["configs"][0]["last"]["outcome"] == "succeeded"
    assert told["urls"]["ledger"].startswith("https://us-west-2.console.aws.amazon.com/dynamodb")
    done = main.tidegate("status", "main", "--links", "--costs")
    rows = [line.split("\t") for line in done.out.splitlines()]
    [row] = [row for row in rows if row[0] == "buoy/morro"]
    assert row[3:6] == ["succeeded", "30.0 s", "1"]
    assert any(row[0] == "CodePipeline" and row[2].startswith("unknown: ") for row in rows)
    assert any(row[0] == "buoy/morro log" and "log-group" in row[1] for row in rows)
    assert "a month in us-west-2" in done.out


def test_a_branch_that_is_not_deployed(main: Deployed) -> None:
    done = main.tidegate("status", "dev")
    assert "`tidegate deploy dev`" in done.err
    rows = {line.split("\t")[0]: line.split("\t") for line in done.out.splitlines()}
    assert rows["buoy/morro"][1] == "not deployed"
    assert rows["wave_vap/morro"][8] == "missing"
    told = main.tidegate("status", "dev", "--json").json
    assert all(stack["status"] == "" for stack in told["stacks"])
    assert told["images"]["exists"] is False
    assert told["configs"][0]["function"]["state"] == ""
    assert set(told["configs"][0]["last"]) == {"unknown"}  # there is no ledger
    assert told["cost"]["total"] > 0


# CodePipeline and CodeBuild, on moto's server.


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def test_the_pipeline_and_its_builds(
    main: Deployed, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("CODEPIPELINE", "CODEBUILD"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", moto)
    opened = main.opened()
    assert deployed.pipeline(opened).exists is False
    assert deployed.build(opened).id == ""
    identity = make_pipeline(moto, opened.names.codepipeline)
    found = deployed.pipeline(opened)
    assert (found.exists, found.status) == (True, "Succeeded")
    assert isinstance(found.stages, Unknown)  # moto has no state of stages
    client = opened.clients.client("codebuild")
    client.create_project(
        name=opened.names.build_project,
        source={"type": "S3", "location": "bucket/source.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={
            "type": "LINUX_CONTAINER",
            "image": "x",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
        serviceRole=f"arn:aws:iam::{identity}:role/service-role/build",
    )
    assert deployed.build(opened).id == ""
    client.start_build(projectName=opened.names.build_project)
    build = deployed.build(opened)
    assert build.id.startswith("waves-main-build:")
    assert build.status == "SUCCEEDED"
    assert build.ended is not None
    assert build.url.endswith(f"/build/{build.id.replace(':', '%3A')}?region={REGION}")


def make_pipeline(moto: str, name: str) -> str:
    """A pipeline that has run; the account that it is in."""
    import boto3

    boto3.client("iam", endpoint_url=moto).create_role(
        RoleName="pipeline",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Statement": [
                    {"Effect": "Allow", "Action": "sts:AssumeRole",
                     "Principal": {"Service": "codepipeline.amazonaws.com"}}
                ]
            }
        ),
    )  # fmt: skip
    client = boto3.client("codepipeline", endpoint_url=moto)
    identity = boto3.client("sts", endpoint_url=moto).get_caller_identity()["Account"]

    def stage(name: str, category: str, provider: str, **more: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actions": [{"name": name, "actionTypeId": kind, **more}]}

    client.create_pipeline(
        pipeline={
            "name": name,
            "roleArn": f"arn:aws:iam::{identity}:role/pipeline",
            "artifactStore": {"type": "S3", "location": "bucket"},
            "stages": [
                stage("Source", "Source", "S3", outputArtifacts=[{"name": "a"}]),
                stage("Build", "Build", "CodeBuild", inputArtifacts=[{"name": "a"}]),
            ],
        }
    )
    client.start_pipeline_execution(name=name)
    return str(identity)


def test_the_stages_as_codepipeline_tells_them(
    main: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no emulator has: the state of the stages, with the reason of a failure."""
    state = {
        "pipelineName": "waves-main-pipeline",
        "stageStates": [
            {
                "stageName": "Source",
                "latestExecution": {"status": "Succeeded", "pipelineExecutionId": "1"},
                "actionStates": [
                    {"actionName": "pipelines", "latestExecution": {
                        "status": "Succeeded", "lastStatusChange": 1_700_000_000}}
                ],
            },
            {
                "stageName": "Build",
                "latestExecution": {"status": "Failed", "pipelineExecutionId": "1"},
                "actionStates": [
                    {"actionName": "build", "latestExecution": {
                        "status": "Failed", "lastStatusChange": 1_700_000_060,
                        "errorDetails": {"code": "JobFailed", "message": "Build failed"}}}
                ],
            },
        ],
    }  # fmt: skip
    last = {
        "pipelineExecutionId": "1",
        "status": "Failed",
        "startTime": 1_700_000_000,
        "sourceRevisions": [{"actionName": "pipelines", "revisionId": "4f2a9c1"}],
    }
    target = "CodePipeline_20150709"
    with answering() as server:
        server.answers[f"{target}.ListPipelineExecutions"] = {"pipelineExecutionSummaries": [last]}
        server.answers[f"{target}.GetPipelineState"] = state
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODEPIPELINE", server.endpoint)
        found = deployed.pipeline(main.opened())
    assert not isinstance(found.stages, Unknown)
    source, build = found.stages
    assert (source.name, source.status, source.said) == ("Source", "Succeeded", "")
    assert (build.status, build.said) == ("Failed", "Build failed")
    assert (found.status, found.commits) == ("Failed", {"pipelines": "4f2a9c1"})


# When AWS does not tell.


def test_aws_that_answers_with_errors_only(main: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    services = (
        "CLOUDFORMATION", "CODEPIPELINE", "CODEBUILD", "ECR", "LAMBDA", "SQS", "SCHEDULER",
        "CLOUDWATCH", "DYNAMODB", "S3",
    )  # fmt: skip
    with answering() as server:
        elsewhere = {f"AWS_ENDPOINT_URL_{name}": server.endpoint for name in services}
        told = main.tidegate("status", "main", "--json", **elsewhere).json
        shown = main.tidegate("status", "main", **elsewhere)
    for part in ("stacks", "pipeline", "build", "images", "alarms", "release", "latest"):
        assert set(told[part]) == {"unknown"}, part
    assert all(set(bucket) == {"unknown"} for bucket in told["buckets"])
    for config in told["configs"]:
        for part in ("function", "last", "failed", "queues"):
            assert set(config[part]) == {"unknown"}, part
    assert "AccessDenied" in told["stacks"]["unknown"]
    assert "unknown: " in shown.out


def test_credentials_of_another_account(main: Deployed, tmp_path: Path) -> None:
    other = Deployed(main.stack, tmp_path)
    (tmp_path / "pipelines_config.yml").write_text(CONFIG.replace(ACCOUNT, "123456789012"))
    refused = other.tidegate("status", "main", code=2)
    assert "these credentials are for the account 000000000000" in refused.err
