"""The plans as CloudFormation, by the CDK: the only package that imports it.

    build(plan)        the CDK app, for the CDK CLI, for checks, and for ``synthesize``
    synthesize(plan)   the templates themselves, for change sets through boto3

The templates need no bootstrap stack, no assets and no CLI. Resources are the CDK's level-one
constructs: what is in the plan is in the template, with the plan's names, and nothing besides.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.deploy.design.codepipeline import CodePipelinePlan
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import codepipeline, pipelines
from tidegate.deploy.design.templates.shared import cdk, node

if TYPE_CHECKING:
    import aws_cdk

__all__ = ["INLINE", "LARGEST", "Template", "build", "node", "synthesize"]

INLINE = 51_200
"""Bytes of a template that CloudFormation takes with the request; a longer one lies in S3."""
LARGEST = 1_000_000
"""Bytes of a template that CloudFormation takes at all."""


@dataclass(frozen=True)
class Template:
    """One stack's template."""

    stack: str
    """The name of the stack."""
    body: str
    """The template, JSON."""
    tags: Mapping[str, str]
    """The tags of the stack."""

    @property
    def needs_upload(self) -> bool:
        """Whether it must be put into S3 first, and be given as ``TemplateURL``."""
        return len(self.body.encode()) > INLINE


def synthesize(plan: Plan | CodePipelinePlan, folder: Path | None = None) -> tuple[Template, ...]:
    """The templates of all stacks, in the order in which they are deployed.

    Raises:
        PythonEnvironmentError: the CDK is not installed.
    """
    names = [stack.name for stack in plan.stacks] if isinstance(plan, Plan) else [plan.stack]
    with tempfile.TemporaryDirectory(prefix="tidegate-cdk-") as own:
        assembly = build(plan, folder or Path(own)).synth()
        bodies = [
            json.dumps(assembly.get_stack_by_name(name).template, separators=(",", ":"))
            for name in names
        ]
    return tuple(Template(name, body, dict(plan.tags)) for name, body in zip(names, bodies))


def build(
    plans: Plan | CodePipelinePlan | Iterable[Plan | CodePipelinePlan], folder: Path | None = None
) -> aws_cdk.App:
    """The CDK app of the stacks of a plan, or of several; its output goes to ``folder``."""
    app: aws_cdk.App = cdk().App(
        analytics_reporting=False, outdir=None if folder is None else str(folder)
    )
    for plan in [plans] if isinstance(plans, Plan | CodePipelinePlan) else plans:
        if isinstance(plan, CodePipelinePlan):
            codepipeline.add(app, plan)
        else:
            for stack in plan.stacks:
                pipelines.add(app, plan, stack)
    return app
