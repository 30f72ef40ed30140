"""From the config to the CodePipeline stack, which makes a release of each push; pure.

It has the image repository, the alerts topic, CodeBuild's project and the roles; and CodePipeline's
pipeline if the config names a connection to GitHub. Without a connection, ``tidegate deploy
--from`` starts builds with the source code of a local folder. Buckets and the ledger's table are
never in a stack (``bootstrap``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate.config.models import AwsKeys
from tidegate.config.reader import FILE_NAME
from tidegate.deploy.core.console import Console
from tidegate.deploy.core.package import Tool
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import build_roles, deploy_role
from tidegate.deploy.design.buildspec import PIPELINES, buildspec
from tidegate.deploy.design.codepipeline_model import (
    CodePipeline,
    CodePipelinePlan,
    ImageRepository,
    Notification,
    Project,
    Source,
)
from tidegate.deploy.design.image_lifecycle import lifecycle_policy
from tidegate.deploy.design.plan import ledger_indexes, tag_value
from tidegate.deploy.design.roles import Role, Statement
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Architecture
from tidegate.targets.aws.names import Names
from tidegate.workspace.repository import RELEASE_PATHS

DEPLOYMENT = "deployment"
"""The name of the deployment repository among the sources."""
GITHUB = "token.actions.githubusercontent.com"
"""The host of GitHub's OpenID Connect provider."""
AUDIENCE = "sts.amazonaws.com"
"""The audience of GitHub's tokens for AWS."""
BUCKETS_VARIABLE = "TIDEGATE_BUCKETS"
"""The variable of a build with the buckets that the branch was set up with."""

_FAILED_BUILDS = ("FAILED", "FAULT", "STOPPED", "TIMED_OUT")


@dataclass(frozen=True)
class CodePipelineOptions:
    """What a deployment may choose in addition to the config."""

    architecture: Architecture = "x86_64"
    """The processor of builds, and so of the images."""
    compute: Literal["small", "medium", "large"] = "medium"
    """The size of the build machine."""
    build_minutes: int = 180
    """A build is stopped after this time; a release's lock lasts longer (``history.LEASE``)."""
    log_retention: int = 90
    """For how many days CloudWatch keeps logs of builds."""
    keep_images: int = 10
    """How many earlier images of each pipeline are kept, for rollbacks."""
    folder: str = "."
    """The folder of pipelines_config.yml in the deployment repository."""
    notify_successes: bool = True
    """Whether there are messages about successful releases too."""


def plan_codepipeline(
    keys: AwsKeys,
    branch: str,
    tool: Tool,
    pipelines: Sequence[str],
    options: CodePipelineOptions = CodePipelineOptions(),
) -> CodePipelinePlan:
    """The CodePipeline stack of a branch, with a pipeline if the config names a connection.

    ``tool`` is the Tidegate that builds run; ``pipelines`` are the names in the config.
    """
    if keys.account_id is None or keys.region is None or keys.pipelines_repo_name is None:
        raise ValueError("account_id, region and pipelines_repo_name are needed: see aws_problems")
    names = Names(keys.pipelines_repo_name, branch)
    place = Place(keys.account_id, keys.region)
    artifacts = names.artifacts_bucket(place.account, place.region)
    project = _project(keys, names, place, tool, artifacts, options)
    pipeline = _pipeline(keys, names, place, project, artifacts, options)
    boundary = place.policy(names.boundary)
    return CodePipelinePlan(
        place=place,
        tags={"branch": tag_value(branch), "repository": tag_value(names.repository)},
        stack=names.codepipeline_stack,
        artifacts=artifacts,
        topic=names.alerts_topic,
        repository=_repository(names, place, pipelines, options.keep_images),
        project=project,
        deploy_role=Role(
            names.deploy_role,
            "cloudformation.amazonaws.com",
            deploy_role.deploy_statements(names, place, boundary=boundary),
        ),
        boundary=names.boundary,
        boundary_statements=deploy_role.boundary_statements(
            names,
            place,
            inputs=keys.input_bucket_name,
            outputs=keys.output_bucket_name,
            indexes=ledger_indexes(),
        ),
        notifications=tuple(
            _notifications(names, place, pipeline, successes=options.notify_successes)
        ),
        pipeline=pipeline,
        github_role=_github_role(keys, names, place, artifacts) if keys.github_actions else None,
    )


def _github_role(keys: AwsKeys, names: Names, place: Place, artifacts: str) -> Role:
    """What a build may do, for GitHub Actions of one branch of the deployment repository.

    Source: IAM User Guide, "Create a role for OpenID Connect federation (console)", section
    "Configuring a role for GitHub OIDC identity provider".
    """
    if not keys.github_org or not keys.aws_repo_name:
        raise ConfigurationError(
            "`github_actions: true` needs `github_org` and `aws_repo_name`",
            why="only that repository may use the role",
            next="add both keys to the config, or remove `github_actions`",
        )
    subject = f"repo:{keys.github_org}/{keys.aws_repo_name}:ref:refs/heads/{names.branch}"
    return Role(
        names.github_role,
        "",
        build_roles.build_statements(names, place, artifacts=artifacts, connection=None),
        {"StringEquals": {f"{GITHUB}:aud": AUDIENCE, f"{GITHUB}:sub": subject}},
        provider=place.identity_provider(GITHUB),
    )


def _buckets(keys: AwsKeys) -> tuple[str, ...]:
    found = (keys.input_bucket_name, keys.output_bucket_name)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def check_buckets(keys: AwsKeys, environment: Mapping[str, str]) -> None:
    """Check, in a build, that the config names the buckets that the branch was set up with.

    Raises:
        ConfigurationError: it names others, which functions may not use.
    """
    known = environment.get(BUCKETS_VARIABLE)
    wanted = " ".join(_buckets(keys))
    if known is not None and known != wanted:
        raise ConfigurationError(
            f"the config names other buckets ({wanted}) than the branch was set up with ({known})",
            why="`tidegate deploy` prepares buckets and lets the branch's roles use them; a build"
            " cannot do that",
            next="run `tidegate deploy` for the branch once, with the new config",
        )


def _project(
    keys: AwsKeys,
    names: Names,
    place: Place,
    tool: Tool,
    artifacts: str,
    options: CodePipelineOptions,
) -> Project:
    statements = build_roles.build_statements(
        names,
        place,
        artifacts=artifacts,
        connection=_connection(keys),
        repositories=_repositories(keys),
    )
    arn = place.arn("codebuild", f"project/{names.build_project}")
    arm = options.architecture == "arm64"
    return Project(
        name=names.build_project,
        arn=arn,
        # Source: https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
        role=Role(
            names.build_role,
            "codebuild.amazonaws.com",
            statements,
            {"StringEquals": {"aws:SourceArn": arn}},
        ),
        buildspec=buildspec(
            tool,
            bucket=artifacts,
            branch=names.branch,
            folder=options.folder,
            variables={BUCKETS_VARIABLE: " ".join(_buckets(keys))},
        ),
        machine="ARM_CONTAINER" if arm else "LINUX_CONTAINER",
        compute=f"BUILD_GENERAL1_{options.compute.upper()}",
        image="aws/codebuild/amazonlinux-"
        + ("aarch64-standard:3.0" if arm else "x86_64-standard:5.0"),
        minutes=options.build_minutes,
        log_group=names.build_log_group,
        log_retention=options.log_retention,
    )


def _connection(keys: AwsKeys) -> str | None:
    """The connection to GitHub; None if the config has not all keys that CodePipeline needs."""
    whole = keys.github_org and keys.aws_repo_name and keys.github_codestar_arn
    return keys.github_codestar_arn if whole else None


def _repositories(keys: AwsKeys) -> tuple[str, ...]:
    """The full names of the repositories that are cloned: of the pipelines, of the deployment."""
    names = (keys.pipelines_repo_name, keys.aws_repo_name)
    return tuple(dict.fromkeys(f"{keys.github_org}/{name}" for name in names if name))


def _pipeline(
    keys: AwsKeys,
    names: Names,
    place: Place,
    project: Project,
    artifacts: str,
    options: CodePipelineOptions,
) -> CodePipeline | None:
    connection = _connection(keys)
    if connection is None:
        return None
    statements = build_roles.codepipeline_statements(
        place,
        artifacts=artifacts,
        connection=connection,
        repositories=_repositories(keys),
        project=project.arn,
    )
    return CodePipeline(
        name=names.codepipeline,
        connection=connection,
        role=Role(names.codepipeline_role, "codepipeline.amazonaws.com", statements),
        sources=_sources(keys, names.branch, options.folder),
    )


def _sources(keys: AwsKeys, branch: str, folder: str) -> tuple[Source, ...]:
    """Both repositories at the branch, as in the older recipe; or one, if it is both.

    The paths are those of the files that images are made from (``images.content`` checks it), and
    the config. They only include files. AWS does not say whether a push that changes an excluded
    file and others starts the pipeline, and a release too many is better than one that is missing.
    """
    config = f"{folder}/{FILE_NAME}".removeprefix("./")
    pipelines = f"{keys.github_org}/{keys.pipelines_repo_name}"
    deployment = f"{keys.github_org}/{keys.aws_repo_name}"
    if pipelines == deployment:
        return (Source(PIPELINES, pipelines, branch, (*RELEASE_PATHS, config)),)
    return (
        Source(DEPLOYMENT, deployment, branch, (config,)),
        Source(PIPELINES, pipelines, branch, RELEASE_PATHS),
    )


def _repository(names: Names, place: Place, pipelines: Sequence[str], keep: int) -> ImageRepository:
    functions = [place.arn("lambda", f"function:{name}") for name in names.all("function")]
    return ImageRepository(
        name=names.image_repository,
        moving_tags=names.moving_tags(),
        lifecycle=lifecycle_policy(names, pipelines, keep),
        readers=Statement(
            "Functions",
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
            (),
            # Not aws:SourceAccount: AWS documents this key alone. Source: Lambda, "Create a Lambda
            # function using a container image", section "Amazon ECR permissions".
            {"ArnLike": {"aws:SourceArn": functions}},
        ),
    )


def _notifications(
    names: Names, place: Place, pipeline: CodePipeline | None, *, successes: bool
) -> Iterator[Notification]:
    console = Console(place)
    yield _recoveries(names)
    ends = ["FAILED", *(["SUCCEEDED"] if successes else [])]
    subject = f"{names.repository} {names.branch}"
    if pipeline is not None:
        yield Notification(
            "Pipeline",
            names.codepipeline_rule,
            "Reports how builds end",
            {
                "source": ["aws.codepipeline"],
                "detail-type": ["CodePipeline Pipeline Execution State Change"],
                "detail": {"pipeline": [pipeline.name], "state": ends},
            },
            {"state": "$.detail.state", "time": "$.time"},
            f"The release of {subject} has ended at <time>: <state>. "
            + console.codepipeline(pipeline.name),
        )
    yield Notification(
        "Build",
        names.build_rule,
        "Reports how builds end",
        {
            "source": ["aws.codebuild"],
            "detail-type": ["CodeBuild Build State Change"],
            "detail": {
                "project-name": [names.build_project],
                "build-status": [*_FAILED_BUILDS, *(["SUCCEEDED"] if successes else [])],
                # Builds by CodePipeline have the pipeline's own notification.
                "additional-information": {
                    "initiator": [{"anything-but": {"prefix": "codepipeline/"}}]
                },
            },
        },
        {"state": "$.detail.build-status", "time": "$.time"},
        f"The build of {subject} has ended at <time>: <state>. "
        + console.build_project(names.build_project),
    )


def _recoveries(names: Names) -> Notification:
    """A message when an alarm is over, but not when a new alarm has its first value.

    Source: CloudWatch User Guide, "Alarm events and EventBridge".
    """
    return Notification(
        "Recovery",
        names.recovery_rule,
        "Reports alarms that are over",
        {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {
                "alarmName": [{"prefix": name.rstrip("*")} for name in names.all("alarm")],
                "state": {"value": ["OK"]},
                "previousState": {"value": ["ALARM"]},
            },
        },
        {"alarm": "$.detail.alarmName", "time": "$.time"},
        "The alarm <alarm> ended at <time>.",
    )
