"""The CloudFormation templates of a plan, written without the CDK; pure.

What is in the plan is in the template, under the names of the plan, and nothing else. The templates
need no bootstrap stack and no assets.
"""

from __future__ import annotations

from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates.codepipeline import codepipeline_template
from tidegate.deploy.design.templates.pipelines import pipelines_template
from tidegate.deploy.design.templates.records import INLINE, LARGEST, Template

__all__ = ["INLINE", "LARGEST", "Template", "synthesize"]


def synthesize(plan: Plan | CodePipelinePlan) -> tuple[Template, ...]:
    """The templates of all stacks of a plan, in the order in which they are deployed."""
    if isinstance(plan, CodePipelinePlan):
        return (codepipeline_template(plan),)
    return tuple(pipelines_template(plan, stack) for stack in plan.stacks)
