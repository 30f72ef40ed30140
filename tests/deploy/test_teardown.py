"""Teardown of a branch: everything of it is deleted; its data, and what is not its own, is kept."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("boto3")

from deployed_branch import ACCOUNT, CONFIG, Deployed, account, signed_in
from ministack_process import REGION, MiniStack, ministack

from tidegate.deploy.cloudformation import retain
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.core.history import History, Release
from tidegate.deploy.design.templates import Template
from tidegate.deploy.resources.registry import SEARCHABLE_TYPES
from tidegate.deploy.teardown import plan_teardown, take_inventory
from tidegate.deploy.teardown.execution import check_role
from tidegate.deploy.teardown.stores import older_buckets
from tidegate.errors import StorageError, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.aws]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with (
        pytest.MonkeyPatch.context() as patch,
        ministack(tmp_path_factory.mktemp("destroy")) as running,
    ):
        signed_in(patch, running)
        yield running


@pytest.fixture
def main(aws: MiniStack, tmp_path: Path) -> Deployed:
    return account(aws, tmp_path)


@pytest.fixture
def dev(main: Deployed) -> Deployed:
    return Deployed(main.stack, main.folder, "dev")


def put(main: Deployed, bucket: str, *keys: str) -> None:
    for key in keys:
        main.clients.s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def keys(main: Deployed, bucket: str) -> list[str]:
    return [o["Key"] for o in main.clients.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def everything(main: Deployed) -> dict[str, Any]:
    """All that there is in the account."""
    return {
        "functions": main.functions(),
        "rules": main.rules(),
        "logs": main.log_groups(),
        "buckets": main.buckets(),
        "tables": main.tables(),
        "queues": main.queues(),
        "iam": main.iam(),
        "builds": main.builds(),
        "stacks": main.living_stacks(),
    }


# What is deleted and what is kept.


def test_a_branch_is_deleted_and_another_kept(main: Deployed, dev: Deployed) -> None:
    dev.deploy()
    before = everything(main)
    main.deploy()
    artifacts = main.names.artifacts_bucket(ACCOUNT, REGION)
    location = {"LocationConstraint": REGION}
    main.clients.s3.create_bucket(Bucket=artifacts, CreateBucketConfiguration=location)
    put(main, artifacts, "templates/x.json")
    put(main, "waves-raw", "buoy/morro/a.csv")
    put(main, "waves-products", "storage/root/a.nc")
    push_image(main, "waves-main")

    told = main.tidegate("destroy", "main", "--dry-run", "--json").json
    assert told["removed"] is False
    assert [(s["act"], s["name"]) for s in told["delete"]] == [
        ("stack", "waves-main-PipelinesStack"),
        ("images", "waves-main"),
        ("stack", "waves-main-CodePipelineStack"),
        ("bucket", artifacts),
    ]
    assert everything(main)["stacks"] == before["stacks"] | {
        "waves-main-PipelinesStack",
        "waves-main-CodePipelineStack",
    }

    done = main.tidegate("destroy", "main", "--yes")
    assert "nothing is left of main" in done.out
    after = everything(main)
    assert after.pop("tables") - before.pop("tables") == {"waves-main-ledger"}
    assert after == before
    assert keys(main, "waves-raw") == ["buoy/morro/a.csv"]
    assert keys(main, "waves-products") == ["storage/root/a.nc"]
    again = main.tidegate("destroy", "main", "--yes")
    assert "main" in again.err, "that nothing is left"


def push_image(main: Deployed, repository: str) -> None:
    """An image, as far as the API goes."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
                   "digest": "sha256:" + "0" * 64},
        "layers": [],
    }  # fmt: skip
    for tag in ("buoy-main", "buoy-0123456789abcdef"):
        main.clients.client("ecr").put_image(
            repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag
        )


def test_leftovers_of_the_older_recipe_are_deleted(main: Deployed, dev: Deployed) -> None:
    ours = main.older_function("buoy", "morro")
    gone = main.older_function("tides", "noaa")  # no longer in the config
    other = main.older_function("tides", "noaa", name="waves-main-tides-noaa")
    for name, arn in (("buoy-morro", ours), ("tides-noaa", gone)):
        main.older_rule(f"waves-main-lambda-{name}-cron-rule", arn)
    main.clients.client("logs").create_log_group(
        logGroupName="/aws/codebuild/wavesmainbuildproject1A2B3C4D-aB3dE5fG7hI9"
    )
    theirs = dev.older_function("buoy", "morro")
    dev.older_rule("waves-dev-lambda-buoy-morro-cron-rule", theirs)
    foreign = main.older_function("x", "y", name="somebody-elses", BRANCH="", PIPELINE_NAME="")
    main.older_rule("nightly", foreign)
    main.older_rule("waves-main-backup", ours)
    main.older_function("x", "y", name="waves-main-lambda-x-y", BRANCH="other")
    main.older_function("x", "y", name="waves-mainly-lambda-x-y", BRANCH="mainly")
    main.notify(
        "waves-raw",
        {
            "waves-main-lambda-buoy-morro-s3-notification": ("buoy/morro/", ours),
            "waves-main-lambda-lost-site-s3": (
                "lost/site/", ours.replace("buoy-morro", "lost-site")
            ),
            "dev": ("buoy/morro/", theirs),
            "foreign": ("x/", foreign),
        },
        EventBridgeConfiguration={},
    )  # fmt: skip

    told = main.tidegate("destroy", "main", "--dry-run")
    goes, stays = told.out.split("\nto keep\n")
    assert "the function waves-main-tides-noaa" in goes
    assert "the rule waves-main-backup\t" in stays
    assert "it calls waves-main-lambda-buoy-morro, which will be deleted" in stays
    assert "the function waves-main-lambda-x-y\tits BRANCH is other" in stays
    assert "--delete-data waves-products --used-by dev --used-by mainly --used-by other" in stays
    assert "somebody-elses" not in goes
    assert "mainly" not in goes

    done = main.tidegate("destroy", "main", "--yes")
    assert "nothing is left of main" in done.out
    assert main.functions() == {
        "waves-dev-lambda-buoy-morro",
        "somebody-elses",
        "waves-main-lambda-x-y",
        "waves-mainly-lambda-x-y",
    }
    assert main.rules() == {"waves-dev-lambda-buoy-morro-cron-rule", "nightly", "waves-main-backup"}
    assert main.log_groups() == {f"/aws/lambda/{name}" for name in main.functions()}
    left = main.notifications("waves-raw")
    assert [one["Id"] for one in left["LambdaFunctionConfigurations"]] == ["dev", "foreign"]
    assert left["EventBridgeConfiguration"] == {}
    assert other.endswith("waves-main-tides-noaa")


def test_every_searchable_type_is_deleted_outside_stacks(main: Deployed) -> None:
    """As a deletion leaves them that keeps what it could not delete."""
    client, names, empty = main.clients.client, main.names, everything(main)
    trust = json.dumps({"Statement": []})
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    boundary = client("iam").create_policy(PolicyName=names.boundary, PolicyDocument=policy)[
        "Policy"
    ]["Arn"]
    client("iam").create_policy_version(PolicyArn=boundary, PolicyDocument=policy)
    role = names.role("buoy", "morro")
    client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trust)
    client("iam").put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=policy)
    client("iam").attach_role_policy(RoleName=role, PolicyArn=boundary)
    client("sqs").create_queue(QueueName=names.dead_letter_queue("buoy", "morro"))
    client("scheduler").create_schedule_group(Name=names.schedule_group)
    client("events").create_event_bus(Name=names.event_bus)
    on_bus = {"EventBusName": names.event_bus}
    client("events").put_rule(Name="r", EventPattern='{"source":["a"]}', **on_bus)
    target = {"Id": "1", "Arn": f"arn:aws:sqs:us-west-2:{ACCOUNT}:q"}
    client("events").put_targets(Rule="r", Targets=[target], **on_bus)
    client("sns").create_topic(Name=names.alerts_topic)
    client("ecr").create_repository(repositoryName=names.image_repository)
    push_image(main, names.image_repository)
    client("cloudwatch").put_dashboard(
        DashboardName=names.dashboard, DashboardBody='{"widgets": []}'
    )
    client("cloudwatch").put_metric_alarm(
        AlarmName=names.alarm("buoy", "morro", "age"), Namespace="n", MetricName="m",
        ComparisonOperator="GreaterThanThreshold", Threshold=1, EvaluationPeriods=1, Period=60,
        Statistic="Sum",
    )  # fmt: skip
    client("codebuild").create_project(
        name=names.build_project, source={"type": "NO_SOURCE"}, artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "small"},
        serviceRole=f"arn:aws:iam::{ACCOUNT}:role/x",
    )  # fmt: skip
    client("logs").create_log_group(logGroupName=names.build_log_group)
    main.older_function("buoy", "morro")
    main.older_rule(names.rule("buoy", "morro"))
    types = {one.found.type.type for one in take_inventory(main.opened()).unmanaged}
    # The emulator has no CodePipeline.
    assert types == {one.type for one in SEARCHABLE_TYPES} - {"AWS::CodePipeline::Pipeline"}
    main.tidegate("destroy", "main", "--yes")
    assert everything(main) == empty
    assert not client("scheduler").list_schedule_groups(NamePrefix="waves")["ScheduleGroups"]
    assert not client("events").list_event_buses(NamePrefix="waves")["EventBuses"]
    assert not client("cloudwatch").list_dashboards()["DashboardEntries"]
    assert not client("cloudwatch").describe_alarms()["MetricAlarms"]


def test_a_rule_that_also_calls_others_is_kept(main: Deployed) -> None:
    ours = main.older_function("buoy", "morro")
    foreign = main.older_function("x", "y", name="somebody-elses", BRANCH="")
    main.older_rule("waves-main-lambda-buoy-morro-cron-rule", ours, foreign)
    done = main.tidegate("destroy", "main", "--yes")
    assert "it also calls somebody-elses" in done.out
    assert main.rules() == {"waves-main-lambda-buoy-morro-cron-rule"}
    assert main.functions() == {"somebody-elses"}


def test_names_that_were_shortened_are_found_by_their_tags(main: Deployed) -> None:
    """Of a config that the file no longer has: only the tags tell."""
    long = CONFIG.replace("pipelines_repo_name: waves", "pipelines_repo_name: waves-of-the-coast")
    (main.folder / "pipelines_config.yml").write_text(long)
    names = main.opened().names
    name = names.function("a" * 40, "b" * 40)
    assert not name.startswith(names.base)
    arn = main.older_function("a" * 40, "b" * 40, name=name, BRANCH="main")
    tags = {"repository": "waves-of-the-coast", "branch": "main"}
    main.clients.client("lambda").tag_resource(Resource=arn, Tags=tags)
    dev = main.opened().names.__class__("waves-of-the-coast", "dev")
    other = dev.function("a" * 40, "b" * 40)
    theirs = main.older_function("a" * 40, "b" * 40, name=other, BRANCH="dev")
    main.clients.client("lambda").tag_resource(Resource=theirs, Tags={**tags, "branch": "dev"})
    inventory = take_inventory(main.opened())
    assert [(one.found.name, one.why) for one in inventory.unmanaged] == [(name, "its tags")]


def test_a_stack_with_tags_of_another_branch_is_kept(main: Deployed) -> None:
    body = json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})
    tags = {"repository": "other", "branch": "main"}
    main.stacks.execute(main.stacks.plan(Template("waves-main-CodePipelineStack", body, tags)))
    done = main.tidegate("destroy", "main", "--yes")
    assert "waves-main-CodePipelineStack\tits tags say repository other" in done.out
    assert main.living_stacks() == {"waves-main-CodePipelineStack"}


def test_sibling_stacks_are_deleted(main: Deployed) -> None:
    main.deploy(present={"wave_vap/morro": 2})
    assert "waves-main-PipelinesStack-2" in main.living_stacks()
    main.tidegate("destroy", "main", "--yes")
    assert main.living_stacks() == set()


# Data.


def older_stack(main: Deployed) -> None:
    """As the older recipe's: its buckets are to be emptied and deleted with it."""
    bucket = {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
    }
    resources: dict[str, Any] = {
        f"B{n}": {**bucket, "Properties": {"BucketName": name}}
        for n, name in enumerate(("older-raw", "older-products"))
    }
    resources["Role"] = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Statement": []}},
    }
    # The CDK CLI sends YAML.
    body = yaml.safe_dump({"Resources": resources})
    client = main.clients.client("cloudformation")
    client.create_stack(StackName="waves-main-CodePipelineStack", TemplateBody=body)
    waiter = client.get_waiter("stack_create_complete")
    waiter.wait(StackName="waves-main-CodePipelineStack", WaiterConfig={"Delay": 1})


def test_data_outlives_the_older_recipes_stack(main: Deployed) -> None:
    older_stack(main)
    config = CONFIG.replace("waves-raw", "older-raw").replace(
        "waves-products\n", "older-products\n"
    )
    (main.folder / "pipelines_config.yml").write_text(config)
    put(main, "older-raw", "a")
    put(main, "older-products", "b")
    steps = main.tidegate("destroy", "main", "--dry-run", "--json").json["delete"]
    assert [step["act"] for step in steps] == ["retain", "stack"]
    main.tidegate("destroy", "main", "--yes")
    assert main.living_stacks() == set()
    assert (keys(main, "older-raw"), keys(main, "older-products")) == (["a"], ["b"])


def test_without_retaining_data_would_be_lost(main: Deployed) -> None:
    """The test above could fail: the emulator deletes the buckets with their stack."""
    older_stack(main)
    put(main, "older-raw", "a")
    main.clients.client("cloudformation").delete_stack(StackName="waves-main-CodePipelineStack")
    assert "older-raw" not in main.buckets()


def test_retaining_is_done_once(main: Deployed) -> None:
    older_stack(main)
    name = "waves-main-CodePipelineStack"
    assert retain.retain_data(main.stacks, name) == ("B0", "B1")
    assert retain.retain_data(main.stacks, name) == ()
    assert retain.retain_data(main.stacks, "no-such-stack") == ()


def test_data_is_only_deleted_by_name_with_all_versions(main: Deployed) -> None:
    main.deploy()
    versioned = {"Status": "Enabled"}
    for bucket in ("waves-products", "waves-raw"):
        main.clients.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioned)
        put(main, bucket, "a", "a", "b")
    main.clients.s3.delete_object(Bucket="waves-products", Key="b")
    main.clients.s3.create_multipart_upload(Bucket="waves-products", Key="unfinished")
    done = main.tidegate(
        "destroy", "main", "--yes", "--delete-data", "waves-products", "--delete-data",
        "waves-main-ledger",
    )  # fmt: skip
    assert "deleted 4 objects" in done.err
    assert "waves-products" not in main.buckets()
    assert main.tables() == set()
    assert {"waves-raw", "waves-products-dev"} <= main.buckets()
    assert len(main.clients.s3.list_object_versions(Bucket="waves-raw")["Versions"]) == 3


def test_a_bucket_that_another_branch_uses(main: Deployed, dev: Deployed) -> None:
    main.deploy()
    refused = main.tidegate("destroy", "main", "--yes", "--delete-data", "waves-raw", code=2)
    assert "--delete-data waves-raw --used-by dev" in refused.err
    assert "waves-main-PipelinesStack" in main.living_stacks()
    # Also where only a function tells: of a branch that the config does not name.
    main.older_function("buoy", "morro", name="waves-old-lambda-buoy-morro", BRANCH="old")
    told = main.tidegate("destroy", "main", "--dry-run").out
    assert "--delete-data waves-products --used-by old" in told
    main.tidegate("destroy", "main", "--yes", "--delete-data", "waves-raw", "--used-by", "dev")
    assert "waves-raw" not in main.buckets()


def test_a_name_that_is_no_data_of_the_branch(main: Deployed) -> None:
    refused = main.tidegate("destroy", "main", "--yes", "--delete-data", "waves-code", code=2)
    assert "waves-products" in refused.err, "which ones there are"
    for name in ("waves-products-dev", "nonsense", "waves-dev-ledger"):
        with pytest.raises(UsageError, match=name):
            plan_teardown(main.opened(), delete_data=[name])
    assert {"waves-products-dev", "waves-code"} <= main.buckets()


def test_the_bucket_of_the_older_recipes_builds_is_known(main: Deployed) -> None:
    name = "waves-main-codepipelines-wavesmainbuildpipelineart-1a2b3c4d5e6f"
    for bucket in (name, name.replace("main", "dev")):
        location = {"LocationConstraint": REGION}
        main.clients.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    assert older_buckets(main.opened()) == [name]
    plan = plan_teardown(main.opened())
    assert any(name in kept.what for kept in plan.kept)
    assert not plan.steps


# Asking, holding, going on.


def test_nobody_is_asked_without_a_terminal(main: Deployed) -> None:
    main.deploy()
    refused = main.tidegate("destroy", "main", code=2)
    assert "use --yes" in refused.err
    assert "waves-main-PipelinesStack" in main.living_stacks()


@pytest.mark.parametrize(("typed", "code"), [("dev", 2), ("main", 0)])
def test_the_name_is_typed(main: Deployed, typed: str, code: int) -> None:
    main.older_function("buoy", "morro")
    terminal, end = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "destroy", "main"],
            cwd=main.folder, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.write(terminal, f"{typed}\n".encode())
        out, err = process.communicate(timeout=120)
    finally:
        os.close(terminal)
        os.close(end)
    assert process.returncode == code, err
    assert ("waves-main-lambda-buoy-morro" in main.functions()) == (code != 0)
    assert "type the name of the branch (main)" in err
    assert "the function waves-main-lambda-buoy-morro" in out


def test_not_while_a_release_goes_on(main: Deployed) -> None:
    main.deploy()
    history = History(main.names.ledger_table, main.clients)
    release = Release("20261124T120000-c1", "c1", "arn:x/someone", datetime.now(timezone.utc))
    history.put(Release(release.id, "c1", release.who, release.when, "deployed"))
    with history.releasing(release):
        busy = main.tidegate("destroy", "main", "--yes", code=4)
        assert "20261124T120000-c1 of this branch is in progress" in busy.err
        assert "waves-main-PipelinesStack" in main.living_stacks()
        main.tidegate("destroy", "main", "--yes", "--break-lock")
    assert main.living_stacks() == set()
    assert history.last() is None
    assert next(history.all()).state == "removed"


@pytest.mark.parametrize("at", ["the function", "the stack waves-main-CodePipelineStack"])
def test_a_second_try_goes_on_where_the_first_was_killed(main: Deployed, at: str) -> None:
    main.deploy()
    main.older_function("tides", "noaa")
    process = subprocess.Popen(
        [sys.executable, "-m", "tidegate", "destroy", "main", "--yes"],
        cwd=main.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith(f"removing {at}"):
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    # The hold of the one that died is still there.
    assert "of this branch is in progress" in main.tidegate("destroy", "main", "--yes", code=4).err
    done = main.tidegate("destroy", "main", "--yes", "--break-lock")
    assert "nothing is left of main" in done.out
    assert main.living_stacks() == set()
    assert main.functions() == set()


def test_ctrl_c_breaks_it_off_and_lets_the_branch_go(main: Deployed) -> None:
    main.deploy()
    process = subprocess.Popen(
        [sys.executable, "-m", "tidegate", "destroy", "main", "--yes"],
        cwd=main.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    with process:
        for line in process.stderr:
            said.append(line)
            if line.startswith("removing the stack"):
                process.send_signal(signal.SIGINT)
                break
        said.append(process.stderr.read())
    assert process.returncode == 130, said
    assert "Traceback" not in "".join(said)
    done = main.tidegate("destroy", "main", "--yes")  # nothing holds the branch
    assert "nothing is left of main" in done.out


def test_a_stack_whose_role_is_gone(main: Deployed) -> None:
    """The emulator does not return a stack's role, but knows whether a role exists."""
    role = f"arn:aws:iam::{ACCOUNT}:role/waves-main-deploy-role"
    state = StackState("waves-main-PipelinesStack", "CREATE_COMPLETE", role=role)
    with pytest.raises(StorageError, match="waves-main-deploy-role") as failed:
        check_role(main.opened(), state)
    assert "tidegate bootstrap main" in failed.value.next
    trust = json.dumps({"Statement": []})
    main.clients.client("iam").create_role(
        RoleName="waves-main-deploy-role", AssumeRolePolicyDocument=trust
    )
    check_role(main.opened(), state)
    check_role(main.opened(), replace(state, role=""))


def test_what_cannot_be_looked_for_is_told(main: Deployed) -> None:
    """The emulator has no CodePipeline, and says so."""
    done = main.tidegate("destroy", "main", "--dry-run")
    assert "not checked: CodePipeline pipelines" in done.err


def test_all_names_at_once_are_not_taken_for_the_branch(main: Deployed) -> None:
    """Nothing is deployed: there is nothing to remove, whatever else is in the account."""
    main.older_function("x", "y", name="waves-dev-lambda-x-y", BRANCH="dev")
    before = everything(main)
    assert not main.tidegate("destroy", "main", "--yes", "--json").json["delete"]
    assert everything(main) == before
