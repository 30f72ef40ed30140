"""``tidegate new deployment`` as it is called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional
EXAMPLE = Path(__file__).parents[2] / "examples" / "pipelines"
NUMBER = "012345678901"


def tidegate(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_says_what_it_wrote_and_what_is_next(tmp_path):
    done = tidegate(
        "new", "deployment", "deploy", "--from", EXAMPLE, "--account", NUMBER, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    written = {
        p.relative_to(tmp_path / "deploy").as_posix() for p in (tmp_path / "deploy").rglob("*.*")
    }
    assert set(told) >= {"pipelines_config.yml", ".github/workflows/deploy.yml", "Dockerfile"}
    assert {path for path in written if not (tmp_path / "deploy" / path).is_dir()} <= set(told)
    assert set(told.values()) == {"written"}
    assert "fill in github_org (--org), github_codestar_arn (--connection), region (--region)" in (
        done.stderr
    )
    assert "tidegate doctor main -w deploy" in done.stderr
    # What it advises first, works.
    checked = tidegate("check", "deploy", "--python", sys.executable, folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("\n") == 3


def test_said_again(tmp_path):
    options = ("new", "deployment", "deploy", "--from", EXAMPLE)
    assert tidegate(*options, folder=tmp_path).returncode == 0
    config = tmp_path / "deploy" / "pipelines_config.yml"
    config.write_text(config.read_text().replace("Daily", "Hourly"))
    done = tidegate(*options, "--json", folder=tmp_path)
    told = json.loads(done.stdout)
    actions = {file["path"]: file["action"] for file in told["files"]}
    assert actions.pop("pipelines_config.yml") == "kept"
    assert set(actions.values()) == {"as it is"}
    assert told["remarks"] == ["pipelines_config.yml exists already and was not changed"]
    assert "Hourly" in config.read_text()
    config.with_name("compose.yml").write_text("services: {}\n")
    again = tidegate(*options, folder=tmp_path)
    assert "exist already, not changed: compose.yml" in again.stderr
    forced = tidegate(*options, "--force", folder=tmp_path)
    assert "the previous compose.yml was saved as compose.yml.old" in forced.stderr
    assert "Hourly" in config.read_text(), "the config is people's own"


def test_a_wrong_value_writes_nothing(tmp_path):
    done = tidegate("new", "deployment", "deploy", "--account", "12", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --account must be the 12 digits of an AWS account")
    assert not (tmp_path / "deploy").exists()
