"""The CodePipeline stack: all that turns a push into a release, as plain records; pure.

It holds what can be made again: the image repository, the alerts topic, CodeBuild's project, the
roles; and CodePipeline's pipeline where the config names a connection to GitHub. Without one, the
project alone is there, and ``tidegate deploy --from`` starts it with source code from a laptop.
What holds data is in no stack (``foundation``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.config.models import AwsKeys
from tidegate.config.reader import FILE_NAME
from tidegate.deploy.core.console import Console
from tidegate.deploy.core.package import Tool
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import build_roles
from tidegate.deploy.design.buildspec import PIPELINES, buildspec
from tidegate.deploy.design.model import described_role, described_statements
from tidegate.deploy.design.plan import ledger_indexes, tag_value
from tidegate.deploy.design.roles import Role, Statement
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Architecture
from tidegate.targets.aws.names import Names

PARAMETER = "WithCodePipeline"
"""The parameter of the template that says whether CodePipeline's pipeline is made: ``false`` is for
emulators, which know no CodePipeline."""
DEPLOYMENT = "deployment"
"""What the deployment repository is called among the sources."""
BUCKETS = "TIDEGATE_BUCKETS"
"""The variable that tells a build which buckets the branch was set up with."""

_ENDS_BUILD = ("FAILED", "FAULT", "STOPPED", "TIMED_OUT")
_MOST_RULES = 50  # of ECR's lifecycle policies
_ENVIRONMENTS = 5  # images with packages that are kept
_CODE = (  # what goes into images, as far as paths tell; CodePipeline takes eight
    "pipelines/**",
    "shared/**",
    "utils/**",
    "requirements/**",
    "requirements*",
    "environment*",
    ".python-version",
)


@dataclass(frozen=True)
class CodePipelineOptions:
    """What a deployment may choose beyond the config."""

    architecture: Architecture = "x86_64"
    """The processor of builds: images are built for it."""
    compute: Literal["small", "medium", "large"] = "medium"
    """The size of the build machine."""
    build_minutes: int = 180
    """After so long a build is stopped; the hold of a release lasts longer (``history.LEASE``)."""
    log_retention: int = 90
    """For how many days CloudWatch keeps logs of builds."""
    keep_images: int = 10
    """So many earlier images of each pipeline are kept, for rollbacks."""
    folder: str = "."
    """Where in the deployment repository pipelines_config.yml lies."""
    tell_successes: bool = True
    """Whether people are told of releases that went well, too."""


@dataclass(frozen=True)
class ImageRepository:
    """The ECR repository of all images."""

    name: str
    """Its name."""
    moving_tags: tuple[str, ...]
    """Patterns of the tags that may be moved; all others are immutable."""
    lifecycle: str
    """Which images go when, JSON."""
    readers: Statement
    """Lambda pulls from it for the branch's functions."""


@dataclass(frozen=True)
class Source:
    """A repository on GitHub, at a branch."""

    name: str
    """What it is called among the sources."""
    repository: str
    """``organization/name``."""
    branch: str
    """Its branch."""
    paths: tuple[str, ...]
    """A push starts the pipeline when it touches one of these."""


@dataclass(frozen=True)
class CodePipeline:
    """The pipeline of CodePipeline."""

    name: str
    """Its name."""
    connection: str
    """The ARN of the connection to GitHub."""
    role: Role
    """What it may do."""
    sources: tuple[Source, ...]
    """Where the code comes from; the first is where a build begins."""


@dataclass(frozen=True)
class Project:
    """The project of CodeBuild."""

    name: str
    """Its name."""
    arn: str
    """Its ARN."""
    role: Role
    """What a build may do."""
    buildspec: str
    """What a build does."""
    machine: str
    """CodeBuild's type of environment."""
    compute: str
    """CodeBuild's size of machine."""
    image: str
    """AWS's image that builds run in."""
    minutes: int
    """After so long a build is stopped."""
    log_group: str
    """Where it logs to."""
    log_retention: int
    """For how many days."""


@dataclass(frozen=True)
class Told:
    """Something about builds that people are told, by way of the alerts topic."""

    about: Literal["Pipeline", "Build"]
    """Whose end it is."""
    name: str
    """The name of the EventBridge rule."""
    arn: str
    """Its ARN."""
    pattern: Mapping[str, Any]
    """The events that it matches."""
    fields: Mapping[str, str]
    """What is taken from the event."""
    text: str
    """What people read, with the fields in it."""


@dataclass(frozen=True)
class CodePipelinePlan:
    """The CodePipeline stack, as plain records."""

    place: Place
    """Where."""
    tags: Mapping[str, str]
    """``repository`` and ``branch``, on everything."""
    stack: str
    """The name of the stack."""
    artifacts: str
    """The bucket of templates, source code and what CodePipeline hands on."""
    topic: str
    """The name of the topic for alarms and builds."""
    repository: ImageRepository
    """Where images lie."""
    project: Project
    """What builds."""
    deployer: Role
    """What CloudFormation may do for the pipelines stacks."""
    boundary: str
    """The name of the policy that bounds the roles in these."""
    bounds: tuple[Statement, ...]
    """What it allows at most."""
    told: tuple[Told, ...]
    """What people are told."""
    pipeline: CodePipeline | None = None
    """What starts builds; None where no connection to GitHub is named."""

    @property
    def topic_arn(self) -> str:
        """The ARN of the topic."""
        return self.place.arn("sns", self.topic)

    @property
    def count(self) -> int:
        """How many resources it has: topic and its policy, repository, log group, project, its
        role, CloudFormation's role, and the boundary; and pipeline and role."""
        return 8 + len(self.told) + 2 * (self.pipeline is not None)


def plan_codepipeline(
    keys: AwsKeys,
    branch: str,
    tool: Tool,
    pipelines: Sequence[str],
    options: CodePipelineOptions = CodePipelineOptions(),
) -> CodePipelinePlan:
    """The CodePipeline stack of a branch; with a pipeline where the config names a connection.

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
        deployer=Role(
            names.deploy_role,
            "cloudformation.amazonaws.com",
            build_roles.deploy_statements(names, place, boundary=boundary),
        ),
        boundary=names.boundary,
        bounds=build_roles.boundary_statements(
            names, place, buckets=_buckets(keys), indexes=ledger_indexes()
        ),
        told=tuple(_told(names, place, pipeline, tell_successes=options.tell_successes)),
        pipeline=pipeline,
    )


def _buckets(keys: AwsKeys) -> tuple[str, ...]:
    found = (keys.input_bucket_name, keys.output_bucket_name)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def check_buckets(keys: AwsKeys, environment: Mapping[str, str]) -> None:
    """In a build: whether the config still names the buckets that the branch was set up with.

    Raises:
        ConfigurationError: it names others, which functions may not use and nothing has prepared.
    """
    known = environment.get(BUCKETS)
    wanted = " ".join(_buckets(keys))
    if known is not None and known != wanted:
        raise ConfigurationError(
            f"the config names other buckets ({wanted}) than the branch was set up with ({known})",
            why="buckets are prepared from an administrator's machine, and roles are bounded to"
            " them: functions could not use others",
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
        names, place, artifacts=artifacts, connection=_connection(keys)
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
            variables={BUCKETS: " ".join(_buckets(keys))},
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
    """The connection to GitHub; None where the config does not say all that CodePipeline needs."""
    whole = keys.github_org and keys.aws_repo_name and keys.github_codestar_arn
    return keys.github_codestar_arn if whole else None


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
        place, artifacts=artifacts, connection=connection, project=project.arn
    )
    return CodePipeline(
        name=names.codepipeline,
        connection=connection,
        role=Role(names.codepipeline_role, "codepipeline.amazonaws.com", statements),
        sources=_sources(keys, names.branch, options.folder),
    )


def _sources(keys: AwsKeys, branch: str, folder: str) -> tuple[Source, ...]:
    """Both repositories at the branch, as the older recipe has it; or the one that is both.

    Paths only include: AWS does not say whether a push that touches an excluded file besides others
    starts the pipeline. A release that changes nothing is better than none for a change.
    """
    config = f"{folder}/{FILE_NAME}".removeprefix("./")
    pipelines = f"{keys.github_org}/{keys.pipelines_repo_name}"
    deployment = f"{keys.github_org}/{keys.aws_repo_name}"
    if pipelines == deployment:
        return (Source(PIPELINES, pipelines, branch, (*_CODE, config)),)
    return (
        Source(DEPLOYMENT, deployment, branch, (config,)),
        Source(PIPELINES, pipelines, branch, _CODE),
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
            {
                "StringEquals": {"aws:SourceAccount": place.account},
                "ArnLike": {"aws:SourceArn": functions},
            },
        ),
    )


def lifecycle_policy(names: Names, pipelines: Sequence[str], keep: int) -> str:
    """Which images of the repository go when, JSON as ECR takes it.

    An image that a rule selects is safe from all rules after it. So the images that run now stay,
    by their moving tags; of each pipeline as many earlier ones as ``keep`` says; and what no rule
    is for (pipelines that are gone, or new since) for a year.
    """
    rules = [
        _rule(f"{tag} runs now", [tag], imageCountMoreThan=9999) for tag in names.moving_tags()
    ]
    rules.append(_rule("shared packages", ["environment-*"], imageCountMoreThan=_ENVIRONMENTS))
    # The longer names first: what `lidar-vap-*` selects, `lidar-*` does not get.
    room = _MOST_RULES - len(rules) - 2
    for pipeline in sorted(dict.fromkeys(pipelines), key=lambda name: (-len(name), name))[:room]:
        rules.append(_rule(f"earlier {pipeline}", [f"{pipeline}-*"], imageCountMoreThan=keep))
    rules.append(_rule("without a tag", [], sinceImagePushed=14))
    rules.append(_rule("all others", None, sinceImagePushed=365))
    numbered = [{"rulePriority": number, **rule} for number, rule in enumerate(rules, 1)]
    return json.dumps({"rules": numbered}, separators=(",", ":"))


def _rule(description: str, patterns: list[str] | None, **count: int) -> dict[str, Any]:
    selection: dict[str, Any] = {"tagStatus": "any" if patterns is None else "untagged"}
    if patterns:
        selection = {"tagStatus": "tagged", "tagPatternList": patterns}
    [(kind, number)] = count.items()
    selection |= {"countType": kind, "countNumber": number}
    if kind == "sinceImagePushed":
        selection["countUnit"] = "days"
    return {"description": description, "selection": selection, "action": {"type": "expire"}}


def _told(
    names: Names, place: Place, pipeline: CodePipeline | None, *, tell_successes: bool
) -> Iterator[Told]:
    console = Console(place)
    ends = ["FAILED", *(["SUCCEEDED"] if tell_successes else [])]
    subject = f"{names.repository} {names.branch}"
    if pipeline is not None:
        yield Told(
            "Pipeline",
            names.codepipeline_rule,
            place.arn("events", f"rule/{names.codepipeline_rule}"),
            {
                "source": ["aws.codepipeline"],
                "detail-type": ["CodePipeline Pipeline Execution State Change"],
                "detail": {"pipeline": [pipeline.name], "state": ends},
            },
            {"state": "$.detail.state", "time": "$.time"},
            f"The release of {subject} has ended at <time>: <state>. "
            + console.codepipeline(pipeline.name),
        )
    yield Told(
        "Build",
        names.build_rule,
        place.arn("events", f"rule/{names.build_rule}"),
        {
            "source": ["aws.codebuild"],
            "detail-type": ["CodeBuild Build State Change"],
            "detail": {
                "project-name": [names.build_project],
                "build-status": [*_ENDS_BUILD, *(["SUCCEEDED"] if tell_successes else [])],
                # Of these, CodePipeline tells.
                "additional-information": {
                    "initiator": [{"anything-but": {"prefix": "codepipeline/"}}]
                },
            },
        },
        {"state": "$.detail.build-status", "time": "$.time"},
        f"The build of {subject} has ended at <time>: <state>. "
        + console.build_project(names.build_project),
    )


def describe(plan: CodePipelinePlan) -> str:
    """The plan for a person's eyes, and for tests to compare."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: CodePipelinePlan) -> Iterator[str]:
    yield from (f"{key}: {value}" for key, value in sorted(plan.tags.items()))
    yield f"stack {plan.stack} ({plan.count} resources)"
    yield f"  topic {plan.topic}, artifacts in {plan.artifacts}"
    if plan.pipeline is None:
        yield "  no pipeline: the config does not say all of github_org, aws_repo_name and"
        yield "    github_codestar_arn"
    else:
        yield from _described_pipeline(plan.pipeline)
    yield f"  project {plan.project.name}"
    yield f"    {plan.project.machine}, {plan.project.compute}, {plan.project.minutes} min"
    yield f"    {plan.project.image}, privileged"
    yield f"    log group {plan.project.log_group}, {plan.project.log_retention} days"
    yield from (f"    | {line}" for line in plan.project.buildspec.splitlines())
    yield from described_role(plan.project.role, "    ")
    yield f"  images {plan.repository.name}"
    yield f"    tags may be moved: {', '.join(plan.repository.moving_tags)}"
    for rule in json.loads(plan.repository.lifecycle)["rules"]:
        selection = rule["selection"]
        count = f"{selection['countType']} {selection['countNumber']}"
        yield f"    {rule['description']}: removed when {count}"
    yield f"    for {json.dumps(plan.repository.readers.condition['ArnLike'])}"
    yield from described_role(plan.deployer, "  ")
    yield f"  boundary {plan.boundary}"
    yield from described_statements(plan.bounds, "  ")
    for told in plan.told:
        yield f"  rule {told.name}"
        yield f"    {json.dumps(told.pattern)}"
        yield f"    {told.text}"


def _described_pipeline(pipeline: CodePipeline) -> Iterator[str]:
    yield f"  pipeline {pipeline.name}"
    yield f"    by {pipeline.connection}"
    for source in pipeline.sources:
        yield f"    {source.name}: {source.repository} at {source.branch}"
        yield f"      started by {', '.join(source.paths)}"
    yield from described_role(pipeline.role, "    ")
