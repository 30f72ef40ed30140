"""Tidegate's templates in a CDK app: the same stacks, checked by cdk-nag."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from release_samples import CODEPIPELINE, KEYS, TOOL, plan_of, several, vap

if importlib.util.find_spec("aws_cdk") is None:  # importing it here would start another Node
    pytest.skip("the CDK is not installed: tidegate[cdk]", allow_module_level=True)

from tidegate.deploy.cdk.include import load_cdk, new_app
from tidegate.deploy.design.codepipeline import plan_codepipeline
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.model import Plan, Zip
from tidegate.deploy.design.plan import Options
from tidegate.deploy.design.templates import synthesize
from tidegate.deploy.design.templates.records import logical_id

pytestmark = pytest.mark.functional


def plans() -> list[Plan | CodePipelinePlan]:
    """One config of each kind, one of them from a zip file, and the CodePipeline stack."""
    return [
        plan_codepipeline(CODEPIPELINE, "main", TOOL, ("buoy", "wave_vap", "tides")),
        plan_of(
            *several(),
            options=Options(code_version="4f2a9c1", support=True),
            images={"wave_vap": Zip("waves-code", "abc.zip")},
        ),
        plan_codepipeline(KEYS, "dev", TOOL, ("buoy",)),
    ]


def test_the_stacks_of_the_app_have_the_same_templates(tmp_path: Path) -> None:
    assembly = new_app(plans(), tmp_path).synth()
    ours = [template for plan in plans() for template in synthesize(plan)]
    assert [stack.stack_name for stack in assembly.stacks] == sorted(t.stack for t in ours)
    for template in ours:
        stack = assembly.get_stack_by_name(template.stack)
        assert stack.template == json.loads(template.body)
        assert stack.tags == template.tags
        assert stack.environment.region == "us-west-2"


def violations(plan: Plan | CodePipelinePlan, folder: Path) -> list[dict[str, Any]]:
    """What cdk-nag's AwsSolutions finds in the stacks of a plan."""
    nag = pytest.importorskip("cdk_nag")
    app = new_app([plan], folder)
    load_cdk().Validations.of(app).add_plugins(nag.AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError:  # raised after a report that has violations
        assert (folder / "validation-report.json").exists()
    report = folder / "validation-report.json"
    found = json.loads(report.read_text()) if report.exists() else {"pluginReports": []}
    return [one for plugin in found["pluginReports"] for one in plugin["violations"]]


@pytest.mark.parametrize("number", range(3), ids=["CodePipeline", "pipelines", "CodeBuild alone"])
def test_cdk_nag_finds_nothing_without_a_written_reason(tmp_path: Path, number: int) -> None:
    assert violations(plans()[number], tmp_path) == []


def test_cdk_nag_sees_what_is_in_the_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the reasons, it finds the wildcards of the role."""
    monkeypatch.setattr("tidegate.deploy.design.templates.shared.wildcard_reasons", lambda _: {})
    found = {one["ruleName"].split("[")[0] for one in violations(plan_of(vap()), tmp_path)}
    assert found == {"AwsSolutions-IAM5"}


@pytest.mark.parametrize(
    "path",
    [
        ("Ledger",),
        ("buoy:morro", "Queue"),
        ("x-y_z:a_b.c", "Alarm-dead-letters"),
        ("9a:01", "Role"),
        ("p" * 64 + ":" + "n" * 64, "DeadLettersPolicy"),
        ("p" * 150 + ":" + "n" * 150, "Function"),
        ("buoy:Queue", "Queue"),  # a name that repeats the end of the one before is left out
        ("buoy:aRole", "Role"),
    ],
    ids=lambda path: "/".join(path)[:30],
)
def test_logical_ids_are_those_that_the_cdk_gives(path: tuple[str, ...]) -> None:
    """The templates of deployed branches were made by the CDK: their ids must not change."""
    cdk = load_cdk()
    from aws_cdk import aws_sqs
    from constructs import Construct

    scope = cdk.Stack(cdk.App(analytics_reporting=False), "stack")
    for name in path[:-1]:
        scope = Construct(scope, name)
    queue = aws_sqs.CfnQueue(scope, path[-1])
    assert cdk.Stack.of(queue).resolve(queue.logical_id) == logical_id(path)
