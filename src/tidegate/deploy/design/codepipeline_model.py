"""The CodePipeline stack of a branch, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.roles import Role, Statement

PARAMETER = "WithCodePipeline"
"""The template's parameter that says whether CodePipeline's pipeline is made. ``false`` is for
emulators without CodePipeline."""


@dataclass(frozen=True)
class ImageRepository:
    """The ECR repository of all images."""

    name: str
    """Its name."""
    moving_tags: tuple[str, ...]
    """Patterns of the tags that may be moved; all others are immutable."""
    lifecycle: str
    """ECR's lifecycle policy, which says when images are deleted, JSON."""
    readers: Statement
    """Allows Lambda to pull images for the branch's functions."""


@dataclass(frozen=True)
class Source:
    """A repository on GitHub, at a branch."""

    name: str
    """Its name among the sources of the pipeline."""
    repository: str
    """``organization/name``."""
    branch: str
    """Its branch."""
    paths: tuple[str, ...]
    """A push starts the pipeline when it changes one of these."""


@dataclass(frozen=True)
class CodePipeline:
    """The pipeline of CodePipeline."""

    name: str
    """Its name."""
    connection: str
    """The ARN of the connection to GitHub."""
    role: Role
    """Its role."""
    sources: tuple[Source, ...]
    """Where the code comes from. A build starts in the first."""


@dataclass(frozen=True)
class Project:
    """The project of CodeBuild."""

    name: str
    """Its name."""
    arn: str
    """Its ARN."""
    role: Role
    """The role of builds."""
    buildspec: str
    """CodeBuild's buildspec, YAML: what a build does."""
    machine: str
    """CodeBuild's type of environment."""
    compute: str
    """CodeBuild's name for the size of the machine."""
    image: str
    """The image that builds run in, one of AWS's."""
    minutes: int
    """A build is stopped after this time, in minutes."""
    log_group: str
    """Its log group."""
    log_retention: int
    """For how many days CloudWatch keeps the logs."""


@dataclass(frozen=True)
class Notification:
    """A message to the alerts topic when a build, a pipeline execution or an alarm ends."""

    about: Literal["Pipeline", "Build", "Recovery"]
    """What ended: CodePipeline's pipeline, a build that was started without it, or an alarm."""
    name: str
    """The name of the EventBridge rule."""
    description: str
    """What the rule does, for people."""
    pattern: Mapping[str, Any]
    """The events that the rule matches."""
    fields: Mapping[str, str]
    """The fields of the event that the text uses."""
    text: str
    """The text, with ``<name>`` for each field."""


@dataclass(frozen=True)
class CodePipelinePlan:
    """The CodePipeline stack, as plain records."""

    place: Place
    """Where."""
    tags: Mapping[str, str]
    """The tags of all resources: ``repository`` and ``branch``."""
    stack: str
    """The name of the stack."""
    artifacts: str
    """The bucket of templates, source code and CodePipeline's artifacts."""
    topic: str
    """The name of the topic for alarms and builds."""
    repository: ImageRepository
    """The ECR repository."""
    project: Project
    """The CodeBuild project."""
    deploy_role: Role
    """The role with which CloudFormation deploys the pipelines stacks."""
    boundary: str
    """The name of the permissions boundary of all roles in these stacks."""
    boundary_statements: tuple[Statement, ...]
    """What the boundary allows."""
    notifications: tuple[Notification, ...]
    """The messages about builds and alarms."""
    pipeline: CodePipeline | None = None
    """CodePipeline's pipeline; None if the config names no connection to GitHub."""
    github_role: Role | None = None
    """The role of GitHub Actions; None unless the config says ``github_actions: true``."""

    @property
    def topic_arn(self) -> str:
        """The ARN of the topic."""
        return self.place.arn("sns", self.topic)

    @property
    def count(self) -> int:
        """The number of resources.

        Always there: topic and its policy, image repository, log group, project and its role,
        CloudFormation's role, boundary. With CodePipeline: the pipeline and its role.
        """
        optional = 2 * (self.pipeline is not None) + (self.github_role is not None)
        return 8 + len(self.notifications) + optional
