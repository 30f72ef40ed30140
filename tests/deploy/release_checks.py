"""Functions that look things up in templates, and the check that all of them must pass."""

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
