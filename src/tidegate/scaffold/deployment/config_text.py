"""The content of pipelines_config.yml, as ``tidegate new deployment`` writes it."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from tidegate.config import AwsKeys
from tidegate.scaffold.deployment.answers import KEYS, Answers
from tidegate.workspace.discovery import Discovered

_EXAMPLES = (
    Discovered("lidar", "Ingest", {"humboldt": "pipelines/lidar/config/pipeline_humboldt.yaml"}),
    Discovered("lidar_vap", "VAP", {"humboldt": "pipelines/lidar_vap/config/pipeline.yaml"}),
)
_AS_EXAMPLES = "# Examples: replace them with your own pipelines.\n"


def key_lines(answers: Answers) -> dict[str, str]:
    """The line of each key for AWS. The line of an unknown key is a comment."""
    lines = {}
    for key in KEYS:
        known = key in answers.keys
        example = (AwsKeys.model_fields[key].examples or [""])[0]
        value = answers.keys[key] if known else example
        # Without quotes, editors would take twelve digits for a number.
        shown = f'"{value}"' if key == "account_id" else _text(value)
        lines[key] = f"{'' if known else '# '}{key}: {shown}"
    return lines


def repository_lines(answers: Answers) -> str:
    """The ``repository:`` lines; empty if the repository is where Tidegate looks by default."""
    name = answers.keys.get("pipelines_repo_name")
    if not answers.pipelines_path or answers.pipelines_path in (f"../{name}", name):
        return ""
    where = "# The path of the pipelines repository on your machine, relative to this file.\n"
    return f"{where}repository: {_text(answers.pipelines_path)}\n\n"


def pipeline_lines(answers: Answers) -> str:
    """The entries of ``pipelines:``."""
    head = "" if answers.pipelines else _AS_EXAMPLES
    entries = (_entry(found) for found in answers.pipelines or _EXAMPLES)
    return head + "pipelines:\n" + "\n".join("\n".join(lines) for lines in entries) + "\n"


def _entry(found: Discovered) -> Iterator[str]:
    ingest = found.kind == "Ingest"
    yield f"- name: {_text(found.name)}"
    yield f"  type: {found.kind}"
    yield f"  trigger: {'S3' if ingest else 'Cron'}"
    if not ingest:
        yield "  schedule: Daily"
    if found.period:
        yield f"  # Its products are named by {found.period}: if a {found.period} comes in several"
        yield "  # files, each replaces the product of the one before. This runs them together:"
        yield f"  # group_by: {found.period}"
    yield "  configs:"
    for name, file in found.configs.items():
        yield f"    {_text(name)}:"
        if ingest:
            yield f"      input_bucket_path: {_text(f'{found.name}/{name}/')}"
        yield f"      config_file_path: {_text(file)}"


def _text(value: str) -> str:
    """A string in YAML, with quotes if it needs them."""
    return str(yaml.safe_dump(value, width=1000)).removesuffix("...\n").strip()
