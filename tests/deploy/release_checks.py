"""What is looked up in templates, and the checks that all of them must pass."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.deploy.design.templates import Template


def resources(template: Template) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(template.body)["Resources"]
    return found


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {
        id: resource["Properties"]
        for id, resource in resources(template).items()
        if resource["Type"] == f"AWS::{kind}"
    }


def brief(template: Template) -> str:
    """A template for people's eyes: without the dashboard's body and without tags."""
    data = json.loads(template.body)
    for resource in data["Resources"].values():
        properties = resource.get("Properties", {})
        properties.pop("Tags", None)
        properties.pop("DashboardBody", None)
    return yaml.safe_dump(data, sort_keys=True, width=120)


def statements(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(document["Statement"])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def check_by_cdk_nag(app: Any, folder: Path) -> None:
    """AwsSolutions finds nothing but what has a written reason; nor does the CDK itself."""
    nag = pytest.importorskip("cdk_nag")
    import aws_cdk

    aws_cdk.Validations.of(app).add_plugins(nag.AwsSolutionsChecks(app))
    failed = ""
    try:
        app.synth()
    except RuntimeError as error:
        failed = str(error)
    report = folder / "validation-report.json"
    found = json.loads(report.read_text()) if report.exists() else {"pluginReports": []}
    violations = [v for plugin in found["pluginReports"] for v in plugin["violations"]]
    assert not violations, json.dumps(violations, indent=1)
    assert not failed


def check_by_cfn_lint(templates: Iterable[Template], folder: Path) -> None:
    pytest.importorskip("cfnlint")
    paths = []
    for template in templates:
        paths.append(folder / f"{template.stack}.json")
        paths[-1].write_text(template.body)
    run = "import sys, cfnlint.runner; sys.exit(cfnlint.runner.main())"
    command = [sys.executable, "-c", run, "-i", "W3005", "--", *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
