"""The CodePipeline stack as a plan: what turns a push into a release, and what each role may do."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from plan_text import codepipeline_text
from release_samples import CODEPIPELINE, KEYS, TOOL, ingest, plan_of, several

from tidegate.config.models import PipelinesConfig
from tidegate.deploy.design.codepipeline import (
    CodePipelineOptions,
    check_buckets,
    plan_codepipeline,
)
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.image_lifecycle import lifecycle_policy
from tidegate.deploy.design.roles import Statement
from tidegate.deploy.design.templates import synthesize
from tidegate.errors import ConfigurationError
from tidegate.runtime.code_files import SHARED
from tidegate.targets.aws.names import Names
from tidegate.workspace.repository import ENVIRONMENT_FILES

PIPELINES = ("buoy", "wave_vap", "tides")
LONG = CODEPIPELINE.model_copy(update={"pipelines_repo_name": "a-rather-long-name-of-pipelines"})


def plan(**more: Any) -> CodePipelinePlan:
    settings = {"keys": CODEPIPELINE, "branch": "main", "options": CodePipelineOptions(), **more}
    return plan_codepipeline(
        settings["keys"], settings["branch"], TOOL, PIPELINES, settings["options"]
    )


def test_in_words(snapshot: Callable[[str, str], None]) -> None:
    snapshot("codepipeline.txt", codepipeline_text(plan()))


def test_without_a_connection_codebuild_is_alone(snapshot: Callable[[str, str], None]) -> None:
    alone = plan(keys=KEYS)
    assert alone.pipeline is None
    assert alone.count == plan().count - 3
    assert not any("connection" in s.sid.lower() for s in alone.project.role.statements)
    snapshot("codebuild-alone.txt", codepipeline_text(alone))


@pytest.mark.parametrize("missing", ["github_org", "aws_repo_name", "github_codestar_arn"])
def test_all_that_codepipeline_needs_must_be_there(missing: str) -> None:
    assert plan(keys=CODEPIPELINE.model_copy(update={missing: None})).pipeline is None


@pytest.mark.parametrize("service", ["codestar-connections", "codeconnections"])
def test_actions_go_by_the_prefix_of_the_connection(service: str) -> None:
    arn = f"arn:aws:{service}:us-west-2:123456789012:connection/5b0a2f7c"
    made = plan(keys=CODEPIPELINE.model_copy(update={"github_codestar_arn": arn}))
    assert made.pipeline is not None
    for role in (made.pipeline.role, made.project.role):
        [found] = [s for s in role.statements if s.sid == "Connection"]
        assert found.actions == (f"{service}:UseConnection",)
        assert found.resources == (arn,)
        only = {f"{service}:FullRepositoryId": ["tsdat/waves", "tsdat/aws-template"]}
        assert found.condition == {"StringEquals": only}


class TestSources:
    def test_both_repositories_at_the_branch(self) -> None:
        made = plan(branch="dev").pipeline
        assert made is not None
        assert [(s.name, s.repository, s.branch) for s in made.sources] == [
            ("deployment", "tsdat/aws-template", "dev"),
            ("pipelines", "tsdat/waves", "dev"),
        ]

    def test_one_repository_for_both(self) -> None:
        same = CODEPIPELINE.model_copy(update={"aws_repo_name": "waves"})
        made = plan(keys=same, options=CodePipelineOptions(folder="deploy")).pipeline
        assert made is not None
        [source] = made.sources
        assert source.name == "pipelines"
        assert "deploy/pipelines_config.yml" in source.paths

    @pytest.mark.parametrize("branch", ["main", "feature/x"])
    def test_pushes_that_matter(self, branch: str) -> None:
        """What goes into an image starts the pipeline; documents and tests beside it do not."""
        made = plan(branch=branch).pipeline
        assert made is not None
        deployment, pipelines = made.sources

        def starts(paths: Iterable[str], file: str) -> bool:
            return any(fnmatch.fnmatchcase(file, path) for path in paths)

        wanted = ["pipelines/lidar/config/pipeline.yaml", *ENVIRONMENT_FILES]
        wanted += [f"{name}/a.py" for name in SHARED]
        wanted += ["requirements-dev.txt", "requirements/base.txt"]
        assert all(starts(pipelines.paths, file) for file in wanted)
        for file in ("README.md", "docs/a.md", "tests/test_a.py", ".github/workflows/a.yml"):
            assert not starts(pipelines.paths, file)
        assert deployment.paths == ("pipelines_config.yml",)
        assert all(len(source.paths) <= 8 for source in made.sources)  # CodePipeline takes no more


class TestGitHubActions:
    KEYS = CODEPIPELINE.model_copy(update={"github_actions": True, "github_codestar_arn": None})

    def test_no_role_unless_the_config_says_so(self) -> None:
        assert plan().github_role is None

    def test_one_repository_and_branch_may_use_the_role(self) -> None:
        made = plan(keys=self.KEYS, branch="feature/x")
        [role] = [
            r["Properties"]
            for t in synthesize(made)
            for r in json.loads(t.body)["Resources"].values()
            if "github-role" in r["Properties"].get("RoleName", "")
        ]
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        host = "token.actions.githubusercontent.com"
        assert trust["Principal"] == {
            "Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"
        }
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert trust["Condition"] == {
            "StringEquals": {
                f"{host}:aud": "sts.amazonaws.com",
                f"{host}:sub": "repo:tsdat/aws-template:ref:refs/heads/feature/x",
            }
        }

    def test_it_may_do_what_a_build_may(self) -> None:
        made = plan(keys=self.KEYS)
        assert made.github_role is not None
        assert made.github_role.statements == made.project.role.statements
        passed = [s for s in made.github_role.statements if "iam:PassRole" in s.actions]
        assert [s.resources for s in passed] == [
            ("arn:aws:iam::123456789012:role/waves-main-deploy-role",)
        ]

    def test_it_needs_the_names_of_the_repository(self) -> None:
        keys = self.KEYS.model_copy(update={"aws_repo_name": None})
        with pytest.raises(ConfigurationError, match="aws_repo_name"):
            plan(keys=keys)


class TestLifecycle:
    def rules(self, *pipelines: str, branch: str = "main") -> list[dict[str, Any]]:
        text = lifecycle_policy(Names("waves", branch), pipelines, 10)
        found: list[dict[str, Any]] = json.loads(text)["rules"]
        return found

    def expired(self, images: dict[str, list[str]], *pipelines: str) -> set[str]:
        """The images that go, judged as ECR documents it; the last of ``images`` is the newest.

        Rules go by priority; what one selects, no later one touches.
        """
        gone, seen = set(), set[str]()
        for rule in self.rules(*pipelines):
            selection = rule["selection"]
            patterns = selection.get("tagPatternList", [])
            selected = [
                name
                for name, tags in images.items()
                if name not in seen
                and (
                    selection["tagStatus"] == "any"
                    or (selection["tagStatus"] == "untagged" and not tags)
                    or (
                        patterns
                        and all(any(fnmatch.fnmatchcase(t, p) for t in tags) for p in patterns)
                    )
                )
            ]
            seen |= set(selected)
            if selection["countType"] == "imageCountMoreThan":
                gone |= set(selected[: -selection["countNumber"]])
        return gone

    def test_the_image_that_runs_stays_however_old_it_is(self) -> None:
        images = {"old": ["buoy-0000000000000000", "buoy-main"]}
        images |= {f"n{n}": [f"buoy-{n:016x}"] for n in range(1, 13)}
        assert self.expired(images, "buoy") == {"n1", "n2"}

    def test_pipelines_whose_names_begin_alike_are_counted_apart(self) -> None:
        images = {f"vap{n}": [f"lidar-vap-{n:016x}"] for n in range(8)}
        images |= {f"lidar{n}": [f"lidar-{n:016x}"] for n in range(8)}
        assert self.expired(images, "lidar", "lidar-vap") == set()

    def test_a_pipeline_that_is_new_since_loses_nothing(self) -> None:
        images = {f"n{n}": [f"new-{n:016x}"] for n in range(30)}
        assert self.expired(images, "buoy") == set()

    def test_ecr_takes_fifty_rules(self) -> None:
        rules = self.rules(*(f"p{n}" for n in range(80)))
        assert len(rules) == 50
        assert [rule["rulePriority"] for rule in rules] == list(range(1, 51))
        assert rules[-1]["selection"]["tagStatus"] == "any"

    def test_patterns_have_few_wildcards(self) -> None:
        for rule in self.rules("buoy", branch="feature/x"):
            for pattern in rule["selection"].get("tagPatternList", ()):
                assert pattern.count("*") <= 4


class TestRoles:
    """What each may do; ``LONG`` has names that are shortened."""

    def all_roles(self, made: CodePipelinePlan) -> dict[str, tuple[Statement, ...]]:
        assert made.pipeline is not None
        return {
            "codepipeline": made.pipeline.role.statements,
            "build": made.project.role.statements,
            "deploy": made.deploy_role.statements,
            "boundary": made.boundary_statements,
        }

    @pytest.mark.parametrize("keys", [CODEPIPELINE, LONG])
    def test_no_wildcard_actions_and_a_reason_for_each_wildcard(self, keys: Any) -> None:
        for statements in self.all_roles(plan(keys=keys)).values():
            assert len({s.sid for s in statements}) == len(statements)
            for statement in statements:
                assert statement.actions == tuple(sorted(statement.actions))
                assert not any("*" in action for action in statement.actions)
                if any("*" in resource for resource in statement.resources):
                    assert statement.why, statement.sid

    def test_everything_only_where_aws_takes_no_resource(self) -> None:
        everywhere = {
            action
            for statements in self.all_roles(plan()).values()
            for s in statements
            if "*" in s.resources
            for action in s.actions
        }
        assert everywhere == {
            "ecr:GetAuthorizationToken",
            "cloudformation:ListStacks",
            "lambda:CreateEventSourceMapping",
        }

    @pytest.mark.parametrize("keys", [CODEPIPELINE, LONG])
    def test_policies_fit(self, keys: Any) -> None:
        for name, statements in self.all_roles(plan(keys=keys, branch="feature-of-mine")).items():
            text = json.dumps([s.document() for s in statements], separators=(",", ":"))
            assert len(text) + 50 <= (6144 if name == "boundary" else 10_240), name

    def test_only_cloudformation_deploys(self) -> None:
        made = plan()
        assert made.deploy_role.service == "cloudformation.amazonaws.com"
        [passing] = [s for s in made.project.role.statements if "iam:PassRole" in s.actions]
        assert passing.resources == ("arn:aws:iam::123456789012:role/waves-main-deploy-role",)
        assert passing.condition == {
            "StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}
        }

    @pytest.mark.parametrize("repository", ["waves", "r" * 90])
    def test_the_deploy_role_cannot_change_the_roles_of_its_own_stack(
        self, repository: str
    ) -> None:
        """Otherwise it could give itself more; also if names are so long that they look alike."""
        keys = CODEPIPELINE.model_copy(update={"pipelines_repo_name": repository})
        made = plan(keys=keys)
        assert made.pipeline is not None
        for role in (made.deploy_role, made.project.role, made.pipeline.role):
            arn = made.place.role(role.name, role.path)
            for statement in made.deploy_role.statements:
                assert "*" in statement.resources or not any(
                    fnmatch.fnmatchcase(arn, resource) for resource in statement.resources
                ), (arn, statement.sid)

    def test_roles_are_made_within_the_boundary_only(self) -> None:
        made = plan()
        for statement in made.deploy_role.statements:
            changes = {"iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"}
            if changes & set(statement.actions):
                assert statement.condition == {
                    "StringEquals": {
                        "iam:PermissionsBoundary": made.place.policy("waves-main-boundary")
                    }
                }
            assert "iam:DeleteRolePermissionsBoundary" not in statement.actions
            assert "iam:AttachRolePolicy" not in statement.actions

    def test_a_build_reads_and_writes_releases_only(self) -> None:
        [ledger] = [
            s for s in plan().project.role.statements if s.actions[0].startswith("dynamodb:")
        ]
        assert ledger.condition == {
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["RELEASE", "RELEASING"]}
        }

    @pytest.mark.parametrize("keys", [CODEPIPELINE, LONG])
    @pytest.mark.parametrize("branch", ["main", "feature/of-mine-that-is-long"])
    def test_what_is_planned_may_be_deployed(self, keys: Any, branch: str) -> None:
        """Every name of the pipelines stacks is within what the deployer may touch, and every
        permission of their roles within the boundary."""
        made = plan(keys=keys, branch=branch)
        assert keys.pipelines_repo_name
        stacks = plan_of(*several(), keys=keys, branch=branch)
        place, names = stacks.place, Names(keys.pipelines_repo_name, branch)

        def may(statements: Iterable[Statement], action: str, arn: str) -> bool:
            return any(
                action in s.actions and any(fnmatch.fnmatchcase(arn, r) for r in s.resources)
                for s in statements
            )

        def deploys(action: str, arn: str) -> bool:
            return may(made.deploy_role.statements, action, arn)

        for stack in stacks.stacks:
            assert stack.scheduler is not None
            group = stack.schedule_group
            assert deploys("iam:CreateRole", place.role(stack.scheduler.name, stack.scheduler.path))
            assert deploys(
                "scheduler:CreateScheduleGroup", place.arn("scheduler", f"schedule-group/{group}")
            )
            dashboard = f"arn:aws:cloudwatch::{place.account}:dashboard/{stack.dashboard}"
            assert deploys("cloudwatch:PutDashboard", dashboard)
            arn = place.arn("cloudformation", f"stack/{stack.name}/1-2-3")
            assert may(made.project.role.statements, "cloudformation:CreateChangeSet", arn)
            assert stack.arrivals is not None
            assert deploys("events:CreateEventBus", stack.arrivals.bus_arn)
            assert deploys("events:PutRule", stack.arrivals.rule.arn)
            assert deploys("sqs:CreateQueue", stack.arrivals.dead_letters_arn)
            assert deploys("iam:CreateRole", place.role(stack.arrivals.role.name, names.role_path))
            for config in stack.configs:
                function = place.arn("lambda", f"function:{config.function.name}")
                logs = place.arn("logs", f"log-group:{config.function.log_group}")
                assert deploys("lambda:CreateFunction", function)
                assert deploys("logs:CreateLogGroup", f"{logs}:*")
                assert deploys("logs:TagResource", logs)
                assert deploys("iam:PutRolePolicy", place.role(config.role.name, config.role.path))
                assert deploys("sqs:CreateQueue", config.queue.arn)
                assert deploys("sqs:CreateQueue", config.queue.dead_letters_arn)
                if config.rule:
                    assert deploys("events:PutRule", config.rule.arn)
                for schedule in config.schedules:
                    arn = place.arn("scheduler", f"schedule/{group}/{schedule.name}")
                    assert deploys("scheduler:CreateSchedule", arn)
                for alarm in config.alarms:
                    arn = place.arn("cloudwatch", f"alarm:{alarm.name}")
                    assert deploys("cloudwatch:PutMetricAlarm", arn)
                for role in (config.role, stack.scheduler, stack.arrivals.role):
                    assert role.boundary == place.policy(made.boundary)
                    for statement in role.statements:
                        for action in statement.actions:
                            for resource in statement.resources:
                                assert may(made.boundary_statements, action, resource), (
                                    action,
                                    resource,
                                )
                # Lambda may pull the images of these, and of no others.
                readers = made.repository.readers.condition["ArnLike"]["aws:SourceArn"]
                assert any(fnmatch.fnmatchcase(function, pattern) for pattern in readers)

    @pytest.mark.parametrize("bucket", ["waves-raw", "waves-products"])
    def test_no_role_writes_to_the_input_bucket(self, bucket: str) -> None:
        """Unless it is the output bucket, too."""
        made = plan(keys=CODEPIPELINE.model_copy(update={"input_bucket_name": bucket}))
        on_inputs = {
            action
            for statement in made.boundary_statements
            for action in statement.actions
            if any(f":::{bucket}" in resource for resource in statement.resources)
        }
        reading = {"s3:GetObject", "s3:ListBucket"}
        assert on_inputs >= reading
        assert (on_inputs == reading) == (bucket == "waves-raw")

    def test_other_branches_are_out_of_reach(self) -> None:
        made = plan()
        for arn in (
            "arn:aws:lambda:us-west-2:123456789012:function:waves-dev-lambda-buoy-morro",
            "arn:aws:iam::123456789012:role/waves-dev-role-buoy-morro",
            "arn:aws:iam::123456789012:role/somebody",
            "arn:aws:sqs:us-west-2:123456789012:waves-dev-queue-buoy-morro",
        ):
            for statement in made.deploy_role.statements:
                assert "*" in statement.resources or not any(
                    fnmatch.fnmatchcase(arn, resource) for resource in statement.resources
                ), (arn, statement.sid)


def test_a_branch_has_its_own_values_everywhere() -> None:
    """`branches:` overrides what stands at the top: in functions, roles, rules and builds alike."""
    entry = {"name": "buoy", "type": "Ingest", "trigger": "S3"}
    config = {"config_file_path": "pipelines/buoy/config/a.yaml", "input_bucket_path": "buoy/a/"}
    top = {key: value for key, value in CODEPIPELINE.model_dump().items() if value is not None}
    dev = {
        "input_bucket_name": "dev-raw",
        "output_bucket_name": "dev-products",
        "account_id": "210987654321",
        "region": "eu-west-1",
        "github_codestar_arn": "arn:aws:codeconnections:eu-west-1:210987654321:connection/1",
    }
    model = PipelinesConfig.model_validate(
        {**top, "pipelines": [{**entry, "configs": {"a": config}}], "branches": {"dev": dev}}
    )
    keys = model.for_branch("dev")
    texts = [
        repr(plan(keys=keys, branch="dev")),
        repr(plan_of(ingest("a"), keys=keys, branch="dev")),
    ]
    for name in ("waves-raw", "waves-products", "123456789012", "us-west-2"):
        assert not any(name in text for text in texts), name
    for name in ("dev-raw", "dev-products", "210987654321", "eu-west-1"):
        assert all(name in text for text in texts), name


def test_a_build_knows_the_buckets_it_was_set_up_for() -> None:
    spec = yaml.safe_load(plan().project.buildspec)
    variables = spec["env"]["variables"]
    check_buckets(KEYS, variables)
    check_buckets(KEYS, {})  # on a laptop
    other = KEYS.model_copy(update={"output_bucket_name": "waves-other"})
    with pytest.raises(ConfigurationError, match="waves-raw waves-other") as caught:
        check_buckets(other, variables)
    assert "tidegate deploy" in caught.value.next


def test_a_release_is_over_before_its_hold_is() -> None:
    from tidegate.deploy.core.history import LEASE

    assert plan().project.minutes * 60 < LEASE.total_seconds()


def test_processors() -> None:
    arm = plan(options=replace(CodePipelineOptions(), architecture="arm64", compute="small"))
    assert (arm.project.machine, arm.project.compute) == ("ARM_CONTAINER", "BUILD_GENERAL1_SMALL")
    assert "aarch64" in arm.project.image
    assert "x86_64" in plan().project.image
