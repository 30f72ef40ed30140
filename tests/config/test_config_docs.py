"""The JSON Schema and docs/configuration.md say what the models say."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from config_samples import AWS, VALID

from tidegate.config import read, resolve, values
from tidegate.config.dask_settings import DaskSettings
from tidegate.config.models import (
    AwsKeys,
    BranchEntry,
    ConfigEntry,
    PipelineEntry,
    PipelinesConfig,
    Settings,
)
from tidegate.config.reader import _is_optional, _is_typed
from tidegate.config.schema import COMMITTED, schema, text
from tidegate.config.source import load

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
TABLES = {
    "At the top": set(PipelinesConfig.model_fields) - set(AwsKeys.model_fields),
    "Below `dask`": set(DaskSettings.model_fields),
    "A pipeline": set(PipelineEntry.model_fields) - set(Settings.model_fields),
    "A config": set(ConfigEntry.model_fields) - set(Settings.model_fields),
    "Settings": set(Settings.model_fields),
    "For AWS": set(AwsKeys.model_fields),
}
MODELS = {
    "At the top": PipelinesConfig,
    "Below `dask`": DaskSettings,
    "A pipeline": PipelineEntry,
    "A config": ConfigEntry,
    "Settings": Settings,
    "For AWS": AwsKeys,
}


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("|` "): row for row in cells}


# ── the schema


def test_the_committed_schema_is_that_of_the_models():
    assert COMMITTED.read_text(encoding="utf-8") == text(), (
        "the models have changed: run python -m tidegate.config.schema"
    )


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "model", [PipelinesConfig, PipelineEntry, ConfigEntry, Settings, BranchEntry]
)
def test_every_key_has_a_description_and_an_example_that_is_right(model):
    whole = schema()
    part = whole if model is PipelinesConfig else whole["$defs"][model.__name__]
    assert part["additionalProperties"] is False
    assert set(part["properties"]) == set(model.model_fields)
    for key, value in part["properties"].items():
        assert value["description"], key
        assert value["examples"], key
        for example in value["examples"]:
            validator = jsonschema.Draft202012Validator({"$defs": whole["$defs"], **value})
            assert not list(validator.iter_errors(example)), (key, example)


def complaints(tmp_path: Path, content: str) -> list[str]:
    file = tmp_path / "x.yml"
    file.write_text(content)
    data = load(file, _is_typed, _is_optional).data
    return [e.message for e in jsonschema.Draft202012Validator(schema()).iter_errors(data)]


FULL = """\
python: 3.11
repository: ../x
input: /data/raw
output: ../products
branches: {dev: {region: us-west-2, account_id: "123456789012"}}
defaults: {timeout: 1, memory: 128, retries: 0, settle: 0.5, concurrency: 1, expect_every: 6h,
  on_empty: keep, on_withdrawn: mark,
  max_wait: 10min, ignore: ["*.log", "test/*"],
  companions: {"*_SST.CSV": ["*_FLT.CSV"]}, group_by: 'a(\\d+)',
  architecture: arm64, ephemeral_storage: 512,
  window: 6h, since: 2022-01-01, environment: {A: x}, inputs: ["{begin}"]}
"""
GOOD = [
    VALID,
    AWS + VALID,
    FULL + VALID,
    "pipelines: []",
    VALID.replace("Hourly", "15 */6 * * *"),
    VALID.replace("lidar/humboldt/", "./lidar"),
]
BAD = [
    "{}",
    "pipelines: {}",
    "zebra: 1\n" + VALID,
    VALID.replace("trigger", "trigers"),
    VALID.replace("type: VAP", "type: vap"),
    VALID.replace("Hourly", "hourly"),
    VALID.replace("type: VAP", "type: VAP\n  timeout: soon"),
    VALID.replace("type: VAP", "type: VAP\n  memory: 2"),
    VALID.replace("type: VAP", "type: VAP\n  architecture: arm"),
    VALID.replace("type: VAP", "type: VAP\n  ephemeral_storage: 511"),
    VALID.replace("type: VAP", "type: VAP\n  window: dya"),
    VALID.replace("type: VAP", "type: VAP\n  expect_every: often"),
    VALID.replace("type: VAP", "type: VAP\n  ignore: '*.log'"),
    VALID.replace("type: Ingest", "type: Ingest\n  companions: {'*.dat': ['x/*.hdr']}"),
    VALID.replace("name: lidar\n", "name: li dar\n"),
    VALID.replace("    humboldt:", "    hum boldt:"),
    "input_bucket_name: A_b\n" + VALID,
    "defaults: {environment: {A-B: x}}\n" + VALID,
    "github_org: a b\n" + VALID,
    "pipelines_repo_name: a--b\n" + VALID,
    "region: here\n" + VALID,
    "github_codestar_arn: x\n" + VALID,
    "account_id: '12'\n" + VALID,
    "create_buckets: maybe\n" + VALID,
]


@pytest.mark.parametrize("content", GOOD)
def test_the_schema_accepts_what_is_right(workspace, tmp_path, content):
    assert complaints(tmp_path, content) == []
    kept = content.replace("repository: ../x\n", "")
    assert workspace.read(kept).problems == ()


@pytest.mark.parametrize("content", BAD)
def test_the_schema_refuses_what_is_wrong(workspace, tmp_path, content):
    assert complaints(tmp_path, content)
    assert workspace.read(content).problems


# ── the page


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_documented(heading):
    assert set(rows(heading)) == TABLES[heading]


@pytest.mark.parametrize("heading", TABLES)
def test_documented_defaults_are_the_real_ones(heading):
    for key, (_, _, default, *_) in rows(heading).items():
        field = MODELS[heading].model_fields[key]
        real = (field.json_schema_extra or {}).get("default")
        if field.is_required():
            assert default == "required", key
        elif real is None:
            assert default == "–", key
        else:
            assert default == f"`{json.dumps(real)}`", key


def test_the_defaults_of_the_models_are_those_of_the_manifest(workspace):
    config = resolve(workspace.read(VALID)).manifest.configs[0]
    for key, field in Settings.model_fields.items():
        real = (field.json_schema_extra or {}).get("default")
        found = getattr(config, key)
        assert found == real or (real is None and not found), key


EXAMPLES = [(h, key, row) for h in TABLES for key, row in rows(h).items() if ":" in row[-1]]


@pytest.mark.parametrize(("heading", "key", "row"), EXAMPLES, ids=[key for _, key, _ in EXAMPLES])
def test_documented_examples_are_right(workspace, heading, key, row):
    written = row[4].strip("|` ")
    assert written.startswith(f"{key}: ")
    if heading == "Settings":
        written = f"defaults: {{{written}}}"
    if heading == "Below `dask`":
        written = f"dask: {{{written}}}"
    if heading in ("A pipeline", "A config"):
        # The same lines are in the valid file, or at its top.
        assert written in VALID or key in PipelinesConfig.model_fields
    else:
        reading = workspace.read(f"{written}\n{VALID}")
        assert [p.what for p in reading.problems if "is not a folder" not in p.what] == []


def test_all_keys_but_two_have_an_example():
    without = {key for h in TABLES for key in rows(h)} - {key for _, key, _ in EXAMPLES}
    assert without == {"pipelines", "configs"}


def test_documented_schedules_are_the_real_ones():
    found = rows("Schedules")
    assert set(found) == set(values.PRESETS)
    for name, row in found.items():
        assert row[1].strip("`") == values.PRESETS[name]
        assert row[3].strip("|` ") == values.WINDOWS[name]


def test_documented_files_are_right(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    files = [block for block in blocks if "pipelines:" in block]
    assert len(files) >= 4
    for block in files:
        file = tmp_path / "pipelines_config.yml"
        file.write_text(block)
        assert read(file, files=False).problems == (), block
