"""``tidegate-cdk-app``: the CDK app of a branch, for the CDK CLI.

    cdk synth -c branch=main

The CDK CLI starts ``tidegate-cdk-app cdk_app.py``, as ``cdk.json`` says. ``cdk_app.py`` calls
``build`` and may add stacks of its own. The app has the stacks that ``tidegate deploy`` and
``tidegate release`` deploy: the CodePipeline stack from the config, and the pipelines stacks with
the images of the last release. If images are given, AWS is not asked for anything.

    branch     the branch; by default the variable BRANCH, as in the older recipe, or else main
    workspace  the folder with pipelines_config.yml; by default the current one
    profile    the profile of the AWS credentials
    images     the images by pipeline, as JSON: {"lidar": "sha256:…"}, or the path of such a file
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import config as configuration
from tidegate.deploy.cdk.include import load_cdk, new_app
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.core.history import Release
from tidegate.deploy.core.package import pack
from tidegate.deploy.design.codepipeline import plan_codepipeline
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.model import Code, Image, Plan
from tidegate.deploy.workflow.releasing import ReleaseOptions, plan_of
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.manifest import Manifest, Pipeline
from tidegate.runtime.records import loads

if TYPE_CHECKING:
    import aws_cdk


@dataclass(frozen=True)
class Context:
    """What was given to the CDK CLI with ``-c``, or in ``cdk.json`` under ``context``."""

    branch: str = "main"
    """The branch."""
    workspace: Path = Path(".")
    """The folder with pipelines_config.yml."""
    profile: str | None = None
    """The profile of the AWS credentials."""
    images: Mapping[str, str] | None = None
    """The digest of each pipeline's image; None for the images of the last release."""


def read_context(environment: Mapping[str, str]) -> Context:
    """The context that the CDK CLI passes to an app, as JSON in ``CDK_CONTEXT_JSON``.

    Raises:
        UsageError: the images are not a mapping of pipelines to digests.
    """
    context = json.loads(environment.get("CDK_CONTEXT_JSON") or "{}")
    images = context.get("images")
    return Context(
        branch=str(context.get("branch") or environment.get("BRANCH") or "main"),
        workspace=Path(str(context.get("workspace") or ".")),
        profile=context.get("profile"),
        images=None if images is None else _read_images(images),
    )


def _read_images(given: object) -> dict[str, str]:
    """Images as a mapping, as JSON, or as the path of a file with that JSON."""
    try:
        if isinstance(given, str):
            text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
            given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError("it is not a mapping of pipelines to digests")
        return {str(name): Image(str(digest)).digest for name, digest in given.items()}
    except (OSError, ValueError) as error:
        raise UsageError(
            "the images cannot be read",
            why=str(error),
            next="""write -c 'images={"lidar": "sha256:…"}', or name a file with that JSON""",
        ) from error


def build(context: Context | None = None) -> aws_cdk.App:
    """The CDK app with all stacks of the branch. Without ``context``, the CDK CLI gives it.

    Raises:
        TidegateError: the config has problems, AWS cannot be reached, or the CDK is not installed.
    """
    return new_app(plan_stacks(read_context(os.environ) if context is None else context))


def plan_stacks(context: Context) -> list[Plan | CodePipelinePlan]:
    """The plans of the CodePipeline stack and, if there are images, of the pipelines stacks.

    Raises:
        TidegateError: the config has problems, or AWS cannot be reached.
    """
    branch = open_branch(context.workspace, context.branch, profile=context.profile)
    model = branch.reading.require()
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        tool = pack(Path(folder)).tool
    pipelines = [pipeline.name for pipeline in model.pipelines]
    codepipeline = plan_codepipeline(branch.keys, branch.name, tool, pipelines)
    if context.images is not None:
        given: dict[str, Code] = {name: Image(digest) for name, digest in context.images.items()}
        return [codepipeline, _plan_pipelines(branch, None, given, {})]
    last = branch.history.last()
    if last is None:
        _say(f"{branch.name} has no release yet: the app has only the CodePipeline stack")
        return [codepipeline]
    released: dict[str, Code] = {
        name: Image(image.digest, commit=image.commit) for name, image in last.images.items()
    }
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=_say)
    present = stacks.placed_configs(stacks.branch_stacks(branch.names))
    return [codepipeline, _plan_pipelines(branch, last, released, present)]


def _plan_pipelines(
    branch: Branch, last: Release | None, codes: Mapping[str, Code], present: Mapping[str, int]
) -> Plan:
    return plan_of(branch, current_manifest(branch, last), codes, ReleaseOptions(), present)


def current_manifest(branch: Branch, last: Release | None) -> Manifest:
    """The config as it is now, with what Tsdat said about its files at the last release.

    Raises:
        ConfigurationError: the config has problems.
    """
    before = loads(Manifest, last.manifest) if last is not None else Manifest(())
    known: dict[str, Pipeline | TidegateError] = {
        config.config_file: config.tsdat for config in before.configs if config.tsdat is not None
    }
    resolution = configuration.resolve(branch.reading, known)
    if resolution.manifest is None:
        raise configuration.ConfigProblems(branch.reading.file, resolution.problems)
    return replace(resolution.manifest, releases=before.releases)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program that was named, or synthesize Tidegate's stacks alone.

    The program runs in this process. So the CDK, Node and Tidegate are the installed ones, wherever
    the ``python`` on the PATH comes from.
    """
    programs = sys.argv[1:] if arguments is None else arguments
    try:
        load_cdk()
        if programs:
            sys.path.insert(0, str(Path(programs[0]).resolve().parent))
            runpy.run_path(programs[0], run_name="__main__")
        else:
            build().synth()
    except TidegateError as error:
        _say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
