"""The stacks of a branch as a CDK app: for the CDK CLI, and for those who add stacks of their own.

    cdk synth -c branch=main

The CLI starts ``tidegate-cdk-app`` (``cdk.json`` says so), which makes the same stacks that
``tidegate deploy`` and ``tidegate release`` make: the CodePipeline stack from the config, and the
pipelines stacks with the images of the last release. Images can be named instead; then nothing is
asked of AWS.

    branch     the branch; else the variable BRANCH, as with the older recipe; else main
    workspace  the folder with pipelines_config.yml; else the current one
    profile    the profile of the credentials
    images     the images by pipeline, as JSON: {"lidar": "sha256:…"}, or a file that holds it

Stacks of one's own go into the same app, in a program that ``cdk.json`` names instead:

    from tidegate.deploy.cdk.app import build

    app = build()
    MyStack(app, "my-stack")
    app.synth()
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tidegate import config as configuration
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.core.history import Release
from tidegate.deploy.core.package import pack
from tidegate.deploy.design import templates
from tidegate.deploy.design.codepipeline import CodePipelinePlan, plan_codepipeline
from tidegate.deploy.design.model import Code, Image, Plan
from tidegate.deploy.workflow.releasing import ReleaseOptions, plan_of
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.manifest import Manifest, Pipeline
from tidegate.runtime.records import loads


@dataclass(frozen=True)
class Asked:
    """What the CDK CLI was told with ``-c``, and ``cdk.json`` says under ``context``."""

    branch: str = "main"
    """The branch."""
    workspace: Path = Path(".")
    """The folder with pipelines_config.yml."""
    profile: str | None = None
    """The profile of the credentials."""
    images: Mapping[str, str] | None = None
    """The digest of each pipeline's image; those of the last release when None."""


def asked(environment: Mapping[str, str]) -> Asked:
    """What the CLI hands on to its apps, as JSON in ``CDK_CONTEXT_JSON``.

    Raises:
        UsageError: the images are none.
    """
    context = json.loads(environment.get("CDK_CONTEXT_JSON") or "{}")
    images = context.get("images")
    return Asked(
        branch=str(context.get("branch") or environment.get("BRANCH") or "main"),
        workspace=Path(str(context.get("workspace") or ".")),
        profile=context.get("profile"),
        images=None if images is None else _images(images),
    )


def _images(given: object) -> dict[str, str]:
    """Images as they were given: a mapping, JSON of it, or the file that holds that."""
    try:
        if isinstance(given, str):
            text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
            given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError("it is no mapping of pipelines to digests")
        # A digest that is none, an image says itself.
        return {str(name): Image(str(digest)).digest for name, digest in given.items()}
    except (OSError, ValueError) as error:
        raise UsageError(
            "the images cannot be read",
            why=str(error),
            next="""say, for example, -c 'images={"lidar": "sha256:…"}', or name a file of that""",
        ) from error


def build(wanted: Asked | None = None) -> Any:
    """The app (``aws_cdk.App``) with all stacks of the branch.

    Raises:
        TidegateError: the config is not good, or AWS cannot be asked.
    """
    wanted = asked(os.environ) if wanted is None else wanted
    return templates.build(plans(wanted))


def plans(wanted: Asked) -> list[Plan | CodePipelinePlan]:
    """What the stacks are to be: the CodePipeline stack, and the pipelines stacks if it can be.

    Raises:
        TidegateError: as ``build``.
    """
    branch = open_branch(wanted.workspace, wanted.branch, profile=wanted.profile)
    model = branch.reading.require()
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        tool = pack(Path(folder)).tool
    pipelines = [pipeline.name for pipeline in model.pipelines]
    first = plan_codepipeline(branch.keys, branch.name, tool, pipelines)
    if wanted.images is not None:
        named: dict[str, Code] = {name: Image(digest) for name, digest in wanted.images.items()}
        return [first, _second(branch, None, named, {})]
    last = branch.history.last()
    if last is None:
        _say(f"nothing of {branch.name} was released yet: only the CodePipeline stack is made")
        return [first]
    released: dict[str, Code] = {
        name: Image(image.digest, commit=image.commit) for name, image in last.images.items()
    }
    there = Stacks(branch.clients, branch.place, who=branch.who, say=_say)
    present = there.placed_configs(there.branch_stacks(branch.names))
    return [first, _second(branch, last, released, present)]


def _second(
    branch: Branch, last: Release | None, codes: Mapping[str, Code], present: Mapping[str, int]
) -> Plan:
    return plan_of(branch, manifest_of(branch, last), codes, ReleaseOptions(), present)


def manifest_of(branch: Branch, last: Release | None) -> Manifest:
    """The config as it is now, with what Tsdat said of its files at the last release."""
    before = loads(Manifest, last.manifest) if last is not None else Manifest(())
    told: dict[str, Pipeline | TidegateError] = {
        config.config_file: config.tsdat for config in before.configs if config.tsdat is not None
    }
    resolution = configuration.resolve(branch.reading, told)
    if resolution.manifest is None:
        raise configuration.ConfigProblems(branch.reading.file, resolution.problems)
    return replace(resolution.manifest, releases=before.releases)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    """``tidegate-cdk-app``: synthesizes to where the CDK CLI looks."""
    try:
        build().synth()
    except TidegateError as error:
        _say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
