"""The CodePipeline stack's template: what is in it, what checks and emulators say of it.

What was checked where: cfn-lint and cdk-nag check the whole template. MiniStack deploys all but
CodePipeline's pipeline, which its CloudFormation does not know. moto's server takes the pipeline
itself through CodePipeline's own API, starts and lists it; nothing runs its actions.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from release_samples import CODEPIPELINE, KEYS, TOOL, ingest, plan_of, several

from tidegate.deploy.design.codepipeline import plan_codepipeline
from tidegate.deploy.design.codepipeline_model import PARAMETER, CodePipelinePlan

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, MiniStack, ministack
from release_checks import (
    brief,
    check_by_cfn_lint,
    listed,
    of_type,
    resources,
    statements,
)

from tidegate.deploy.cloudformation.stack_api import CloudFormationError
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core.history import History, Release
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.plan import Options
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import create_table
from tidegate.targets.aws.names import Names

PIPELINES = ("buoy", "wave_vap", "tides")


@cache
def made(*, pipeline: bool = True) -> tuple[CodePipelinePlan, Template]:
    plan = plan_codepipeline(CODEPIPELINE if pipeline else KEYS, "main", TOOL, PIPELINES)
    [template] = synthesize(plan)
    return plan, template


@pytest.fixture(params=[True, False], ids=["CodePipeline", "CodeBuild alone"])
def each(request: pytest.FixtureRequest) -> tuple[CodePipelinePlan, Template]:
    return made(pipeline=request.param)


def test_template(snapshot: Callable[[str, str], None]) -> None:
    snapshot("template-codepipeline.yaml", brief(made()[1]))


def test_template_without_codepipeline(snapshot: Callable[[str, str], None]) -> None:
    _, template = made(pipeline=False)
    assert "Parameters" not in json.loads(template.body)
    here = {id: resource["Type"] for id, resource in sorted(resources(template).items())}
    snapshot("template-codebuild.txt", yaml.safe_dump(here))
    # But for the pipeline, its role and its rule, both are made of the same.
    there = {id: resource["Type"] for id, resource in resources(made()[1]).items()}
    assert {*there.values()} - {*here.values()} == {"AWS::CodePipeline::Pipeline"}


class TestTemplate:
    def test_holds_what_was_planned(self, each: tuple[CodePipelinePlan, Template]) -> None:
        plan, template = each
        assert template.stack == "waves-main-CodePipelineStack"
        assert len(resources(template)) == plan.count
        assert not template.needs_upload

    def test_holds_nothing_that_cannot_be_made_again(
        self, each: tuple[CodePipelinePlan, Template]
    ) -> None:
        """No bucket and no table: they are made before it, and no stack can take them along."""
        types = {resource["Type"] for resource in resources(each[1]).values()}
        assert types <= {
            "AWS::CodeBuild::Project",
            "AWS::CodePipeline::Pipeline",
            "AWS::ECR::Repository",
            "AWS::Events::Rule",
            "AWS::IAM::ManagedPolicy",
            "AWS::IAM::Role",
            "AWS::Logs::LogGroup",
            "AWS::SNS::Topic",
            "AWS::SNS::TopicPolicy",
        }
        assert not any("DeletionPolicy" in resource for resource in resources(each[1]).values())

    def test_no_wildcard_action_and_nobody_from_outside(
        self, each: tuple[CodePipelinePlan, Template]
    ) -> None:
        template = each[1]
        roles = of_type(template, "IAM::Role").values()
        documents = [policy["PolicyDocument"] for role in roles for policy in role["Policies"]]
        documents += [role["AssumeRolePolicyDocument"] for role in roles]
        documents += [p["PolicyDocument"] for p in of_type(template, "SNS::TopicPolicy").values()]
        documents += [p["PolicyDocument"] for p in of_type(template, "IAM::ManagedPolicy").values()]
        documents += [
            r["RepositoryPolicyText"] for r in of_type(template, "ECR::Repository").values()
        ]
        assert len(documents) >= 7
        for statement in (s for document in documents for s in statements(document)):
            if statement["Effect"] == "Allow":
                assert not any("*" in action for action in listed(statement["Action"]))
                assert set(statement.get("Principal", {"Service": 0})) == {"Service"}
        assert not any("ManagedPolicyArns" in role for role in roles)

    def test_images(self, each: tuple[CodePipelinePlan, Template]) -> None:
        [images] = of_type(each[1], "ECR::Repository").values()
        assert images["RepositoryName"] == "waves-main"
        assert images["ImageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
        assert images["ImageTagMutabilityExclusionFilters"] == [
            {
                "ImageTagMutabilityExclusionFilterType": "WILDCARD",
                "ImageTagMutabilityExclusionFilterValue": "*-main",
            }
        ]
        assert images["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert images["EmptyOnDelete"] is True
        [readers] = statements(images["RepositoryPolicyText"])
        functions = "arn:aws:lambda:us-west-2:123456789012:function:waves-main-lambda-*"
        assert readers["Condition"] == {"ArnLike": {"aws:SourceArn": [functions]}}
        assert json.loads(images["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]

    def test_the_build(self, each: tuple[CodePipelinePlan, Template]) -> None:
        template = each[1]
        [project] = of_type(template, "CodeBuild::Project").values()
        assert project["Environment"]["PrivilegedMode"] is True
        assert project["TimeoutInMinutes"] == 180
        assert "LOCAL_DOCKER_LAYER_CACHE" in project["Cache"]["Modes"]
        assert yaml.safe_load(project["Source"]["BuildSpec"])["phases"]["build"]
        group = project["LogsConfig"]["CloudWatchLogs"]["GroupName"]["Ref"]
        logs = of_type(template, "Logs::LogGroup")[group]
        assert logs["LogGroupName"] == "/aws/codebuild/waves-main-build"
        assert logs["RetentionInDays"] == 90

    def test_people_are_told(self, each: tuple[CodePipelinePlan, Template]) -> None:
        plan, template = each
        rules = of_type(template, "Events::Rule")
        assert len(rules) == (3 if plan.pipeline else 2)  # pushes, ends of builds, recoveries
        [policy] = of_type(template, "SNS::TopicPolicy").values()
        [allowed] = [s for s in statements(policy["PolicyDocument"]) if s["Sid"] == "Builds"]
        assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
        assert "Condition" not in allowed  # EventBridge would drop every message
        for id, rule in rules.items():
            [target] = rule["Targets"]
            assert target["Arn"] == plan.topic_arn
            transformer = target["InputTransformer"]
            text = json.loads(transformer["InputTemplate"])
            for field in transformer["InputPathsMap"]:
                assert f"<{field}>" in text
            assert id == "RecoveryRule" or "https://us-west-2.console.aws.amazon.com/" in text

    def test_tags(self, each: tuple[CodePipelinePlan, Template]) -> None:
        for id, resource in resources(each[1]).items():
            if resource["Type"] in ("AWS::SNS::TopicPolicy", "AWS::IAM::ManagedPolicy"):
                continue
            tags = resource["Properties"]["Tags"]
            if isinstance(tags, list):
                tags = {tag["Key"]: tag["Value"] for tag in tags}
            assert tags == {"repository": "waves", "branch": "main"}, id


class TestPipeline:
    @pytest.fixture
    def pipeline(self) -> dict[str, Any]:
        [found] = of_type(made()[1], "CodePipeline::Pipeline").values()
        return found

    def test_triggers(self, pipeline: dict[str, Any]) -> None:
        """Pushes to the branch that touch what matters, and no others."""
        assert pipeline["PipelineType"] == "V2"
        source, release = pipeline["Stages"]
        names = [action["Name"] for action in source["Actions"]]
        triggers = [trigger["GitConfiguration"] for trigger in pipeline["Triggers"]]
        assert [trigger["SourceActionName"] for trigger in triggers] == names
        for trigger in triggers:
            [push] = trigger["Push"]
            assert push["Branches"] == {"Includes": ["main"]}
            assert push["FilePaths"]["Includes"]
        for action in source["Actions"]:
            configuration = action["Configuration"]
            assert configuration["DetectChanges"] == "false"
            assert configuration["OutputArtifactFormat"] == "CODEBUILD_CLONE_REF"
            assert configuration["ConnectionArn"] == CODEPIPELINE.github_codestar_arn
        [build] = release["Actions"]
        artifacts = [artifact["Name"] for artifact in build["InputArtifacts"]]
        assert artifacts == ["deployment", "pipelines"]
        assert build["Configuration"]["PrimarySource"] == "deployment"

    def test_the_build_is_told_the_commit(self, pipeline: dict[str, Any]) -> None:
        source, release = pipeline["Stages"]
        [named] = [a for a in source["Actions"] if a.get("Namespace")]
        [artifact] = named["OutputArtifacts"]
        assert artifact["Name"] == "pipelines"
        [variable] = json.loads(release["Actions"][0]["Configuration"]["EnvironmentVariables"])
        assert variable["name"] == "TIDEGATE_COMMIT"
        assert variable["value"] == f"#{{{named['Namespace']}.CommitId}}"

    def test_it_starts_when_all_else_is_there(self) -> None:
        """CodePipeline starts a pipeline when it is created: nobody presses a button."""
        found = resources(made()[1])
        [(id, pipeline)] = [
            (id, one) for id, one in found.items() if one["Type"].endswith("::Pipeline")
        ]
        waits = set(pipeline["DependsOn"])
        reached = set(waits)
        for name in waits:  # what these refer to is there before them
            reached |= {other for other in found if f'"{other}"' in json.dumps(found[name])}
        assert reached == set(found) - {id}

    def test_it_can_be_left_out(self) -> None:
        data = json.loads(made()[1].body)
        assert data["Parameters"][PARAMETER]["Default"] == "true"
        gated = [id for id, one in data["Resources"].items() if "Condition" in one]
        assert gated == ["Pipeline"]


@pytest.mark.functional
def test_cfn_lint(tmp_path: Path) -> None:
    long = plan_codepipeline(
        CODEPIPELINE.model_copy(update={"pipelines_repo_name": "a-rather-long-name-of-waves"}),
        "feature/of-mine",
        TOOL,
        [f"pipeline{n}" for n in range(60)],
    )
    check_by_cfn_lint([made()[1], *synthesize(long)], tmp_path)
    check_by_cfn_lint([made(pipeline=False)[1]], tmp_path)


NOT_NEEDED = {
    "ec2": "functions are in no network of ours",
    "elasticfilesystem": "no file system",
    "s3files": "no file system",
    "kms": "AWS's own keys",
    "s3": "code comes as images",
    "firehose": "logs are delivered nowhere",
    "events:PutPermission": "event buses have no policy",
    "events:RemovePermission": "event buses have no policy",
    "lambda:AssociateRuntimeAlias": "images have their own runtime",
    "lambda:DeleteFunctionCodeSigningConfig": "images are not signed",
    "lambda:GetCodeSigningConfig": "images are not signed",
    "lambda:GetLayerVersion": "images have no layers",
    "lambda:PassCapacityProvider": "no capacity of our own",
    "lambda:PublishVersion": "no versions",
    "lambda:PutFunctionCodeSigningConfig": "images are not signed",
    "lambda:PutFunctionScalingConfig": "not set",
    "lambda:PutRuntimeManagementConfig": "images have their own runtime",
    "logs:AssociateKmsKey": "not set",
    "logs:CreateLogDelivery": "not set",
    "logs:DeleteDataProtectionPolicy": "not set",
    "logs:DeleteIndexPolicy": "not set",
    "logs:DeleteResourcePolicy": "not set",
    "logs:DescribeResourcePolicies": "not set",
    "logs:DisassociateKmsKey": "not set",
    "logs:PutBearerTokenAuthentication": "not set",
    "logs:PutDataProtectionPolicy": "not set",
    "logs:PutIndexPolicy": "not set",
    "logs:PutLogGroupDeletionProtection": "not set",
    "logs:PutResourcePolicy": "not set",
    "iam:AttachRolePolicy": "roles have their own policies only",
    "iam:DetachRolePolicy": "roles have their own policies only",
    "iam:DeleteRolePermissionsBoundary": "the boundary stays",
}
"""What the schemas of AWS's resources list beyond what ours need, and why not."""


def test_cloudformation_may_do_what_the_resources_take() -> None:
    """By the schemas of the very types in the pipelines stacks, as cfn-lint brings them along."""
    cfnlint = pytest.importorskip("cfnlint")
    schemas = Path(cfnlint.__file__).parent / "data/schemas"
    index = json.loads((schemas / "providers/us-west-2.json").read_text())
    allowed = {
        action for statement in made()[0].deploy_role.statements for action in statement.actions
    }
    [template] = synthesize(plan_of(*several()))
    types = {resource["Type"] for resource in resources(template).values()}
    assert len(types) >= 11
    unneeded = set()
    for type in types:
        schema = json.loads((schemas / f"resources/{index[type]}.json").read_text())
        handlers = schema["handlers"]
        asked = {p for h in handlers if h != "list" for p in handlers[h]["permissions"]}
        for permission in asked - allowed:
            known = [k for k in (permission, permission.split(":")[0]) if k in NOT_NEEDED]
            assert known, f"{type} takes {permission}"
            unneeded |= set(known)
    assert unneeded == set(NOT_NEEDED), "each exception is one"


@pytest.mark.aws
def test_deployed_without_codepipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On MiniStack; and then the pipelines stacks' roles take its boundary."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    keys = CODEPIPELINE.model_copy(update={"account_id": "000000000000"})
    plan = plan_codepipeline(keys, "main", TOOL, PIPELINES)
    [template] = synthesize(plan)
    with ministack(tmp_path) as stack:
        clients = stack.clients()
        cloudformation = clients.client("cloudformation")

        def deploy(**parameters: str) -> None:
            cloudformation.create_stack(
                StackName=template.stack,
                TemplateBody=template.body,
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value}
                    for key, value in parameters.items()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )

        deploy(**{PARAMETER: "false"})
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=template.stack, WaiterConfig={"Delay": 1}
        )
        found = cloudformation.describe_stack_resources(StackName=template.stack)["StackResources"]
        assert len(found) == plan.count - 1
        builds = clients.client("codebuild").batch_get_projects(names=[plan.project.name])
        assert yaml.safe_load(builds["projects"][0]["source"]["buildspec"])["phases"]
        images = clients.client("ecr").describe_repositories(repositoryNames=["waves-main"])
        assert len(images["repositories"]) == 1
        role = clients.client("iam").get_role(RoleName=plan.deploy_role.name)["Role"]
        assert "cloudformation.amazonaws.com" in json.dumps(role["AssumeRolePolicyDocument"])
        cloudformation.delete_stack(StackName=template.stack)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=template.stack, WaiterConfig={"Delay": 1}
        )
        assert not clients.client("ecr").describe_repositories()["repositories"]


@pytest.mark.aws
def test_a_build_releases_with_its_own_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MiniStack with its permissions on: what a build needs it may do, and not much besides.

    It looks at the permissions of whoever calls, but not at those of the role that CloudFormation
    is given, nor at permissions for ECR's repositories and at conditions about keys of DynamoDB.
    """
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    keys = CODEPIPELINE.model_copy(update={"account_id": "000000000000"})
    plan = plan_codepipeline(keys, "main", TOOL, PIPELINES)
    names, [template] = Names("waves", "main"), synthesize(plan)
    with ministack(tmp_path, {"AUTH": "true"}) as stack:
        root = stack.clients()
        where: Any = {"LocationConstraint": "us-west-2"}
        for bucket in (plan.artifacts, "waves-raw"):
            root.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        root.s3.put_object(Bucket=plan.artifacts, Key=TOOL.wheel, Body=b"wheel")
        create_table(names.ledger_table, root)
        asked = Stacks(root, plan.place, poll=0.2)
        asked.execute(asked.plan(template, parameters={PARAMETER: "false"}))

        # Only for the project, whoever asks.
        with pytest.raises(root.client("sts").exceptions.ClientError, match="AccessDenied"):
            assume(root, plan.place.role(plan.project.role.name))
        build = as_role(stack, root, plan.project.role.name, plan.place)

        assert build.s3.get_object(Bucket=plan.artifacts, Key=TOOL.wheel)["Body"].read() == b"wheel"
        history = History(names.ledger_table, build)
        release = Release("20261124T1-c", "c", build_arn(build), datetime.now(timezone.utc))
        with history.releasing(release):
            history.put(release)
        stacks = Stacks(build, plan.place, poll=0.2)
        upload = upload_to(plan.artifacts, build, plan.place)
        options = Options(metric_math=False)
        role_arn = plan.place.role(names.deploy_role)
        for configs in (several(), several()[:1]):  # created, then changed
            for one in synthesize(plan_of(*configs, keys=keys, options=options)):
                stacks.execute(stacks.plan(one, role_arn=role_arn, upload=upload))
        assert [state.name for state in stacks.branch_stacks(names)] == [names.pipelines_stack]
        stacks.delete(names.pipelines_stack, role_arn=role_arn)

        [other] = synthesize(plan_of(ingest(), keys=keys, branch="dev", options=options))
        with pytest.raises(CloudFormationError, match="not authorized"):
            stacks.plan(other, role_arn=role_arn, upload=upload)
        denied = build.s3.exceptions.ClientError
        with pytest.raises(denied, match="AccessDenied"):
            build.s3.put_object(Bucket="waves-raw", Key="buoy/morro/a.csv", Body=b"")
        with pytest.raises(denied, match="AccessDenied"):
            build.s3.put_object(Bucket=plan.artifacts, Key=TOOL.wheel, Body=b"another")
        with pytest.raises(denied, match="AccessDenied"):
            build.client("iam").put_role_policy(
                RoleName=names.build_role, PolicyName="more", PolicyDocument="{}"
            )


def assume(clients: Clients, role: str) -> dict[str, str]:
    found: dict[str, str] = clients.client("sts").assume_role(
        RoleArn=role, RoleSessionName="build"
    )["Credentials"]
    return found


def as_role(stack: MiniStack, root: Clients, name: str, place: Place) -> Clients:
    """Clients with the permissions of a role of a service's, once we may take it on."""
    ourselves = {"AWS": f"arn:aws:iam::{place.account}:root"}
    trust = {"Effect": "Allow", "Principal": ourselves, "Action": "sts:AssumeRole"}
    root.client("iam").update_assume_role_policy(
        RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    given = assume(root, place.role(name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
        patch.setenv("AWS_SESSION_TOKEN", given["SessionToken"])
        clients = stack.clients()
        clients.client("sts")  # the session keeps the credentials of this moment
        clients.credentials()
    return clients


def build_arn(clients: Clients) -> str:
    return str(clients.client("sts").get_caller_identity()["Arn"])


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Clients]:
    """moto's server, in a process of its own."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto is not installed in this environment: it is in requirements/dev.txt")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "moto.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            yield Clients(region="us-west-2", endpoint=address)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def test_the_pipeline_as_codepipeline_takes_it(moto: Clients) -> None:
    """moto checks less than AWS does, but boto3 holds all of it against AWS's own model first."""
    plan, template = made()
    assert plan.pipeline is not None
    [properties] = of_type(template, "CodePipeline::Pipeline").values()
    role = moto.client("iam").create_role(
        RoleName=plan.pipeline.role.name,
        AssumeRolePolicyDocument=json.dumps(
            of_type(template, "IAM::Role")["PipelineRole"]["AssumeRolePolicyDocument"]
        ),
    )["Role"]["Arn"]
    declared = as_api(properties) | {"roleArn": role, "version": 1}
    tags = declared.pop("tags")
    codepipeline = moto.client("codepipeline")
    codepipeline.create_pipeline(
        pipeline=declared, tags=[{"key": t["key"], "value": t["value"]} for t in tags]
    )
    [listed] = codepipeline.list_pipelines()["pipelines"]
    assert listed["name"] == plan.pipeline.name
    told = codepipeline.get_pipeline(name=plan.pipeline.name)["pipeline"]
    for before, after in zip(declared["stages"], told["stages"], strict=True):
        for ours, theirs in zip(before["actions"], after["actions"], strict=True):
            assert {key: theirs[key] for key in ours} == ours
    assert told["triggers"] == declared["triggers"]
    assert codepipeline.start_pipeline_execution(name=plan.pipeline.name)["pipelineExecutionId"]


def as_api(value: Any, key: str = "") -> Any:
    """What CloudFormation spells with capitals, as the API does; configurations stay."""
    if isinstance(value, dict):
        if key == "Configuration":
            return value
        return {f"{k[0].lower()}{k[1:]}": as_api(v, k) for k, v in value.items()}
    return [as_api(item) for item in value] if isinstance(value, list) else value
