"""The command on a ledger with a history, and what it prints at 80 columns."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from benchmarks.history import Stream, history, streams, write

from tidegate.cli import main
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.keep_summaries import keeping_summaries

END = datetime(2024, 3, 1, tzinfo=timezone.utc)
CONFIG = """\
pipelines:
- name: ceil
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: ceil/morro/
      config_file_path: pipelines/ceil/config/pipeline.yaml
"""
STREAM = "morro.buoy_z06-waves.a1"
HOURLY = "morro.lidar_z05.a1"
GONE = Stream("old.met.a1", "met/old", 1, last=20)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("availability")
    (folder / "pipelines_config.yml").write_text(CONFIG)
    (folder / "pipelines" / "ceil" / "config").mkdir(parents=True)
    (folder / "pipelines" / "ceil" / "config" / "pipeline.yaml").write_text("classname: x.y\n")
    plans = [*streams(1500, 60, 6), GONE]
    with SqliteLedger(folder / ".tidegate" / "ledger.db") as ledger:
        write(ledger, history(plans, 60, END))
    return folder


def run(capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str) -> str:
    period = ["--begin", "20240101", "--end", "20240301"]
    assert main(["availability", "-w", str(workspace), *period, *arguments]) == 0
    return capsys.readouterr().out


def test_the_overview_fits(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, workspace).splitlines()
    assert max(map(len, lines)) <= 80
    (gone,) = [line for line in lines if line.startswith("old.met.a1")]
    assert re.search(r"#+5?0+ +\d\d %", gone)
    assert len(lines) == 3 + 7


@pytest.mark.parametrize("by", ["day", "hour", "variable"])
def test_one_datastream_fits(workspace: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    lines = run(capsys, workspace, STREAM, "--by", by).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) >= 5


def test_data(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, workspace, "--json"))
    assert [series["datastream"] for series in found] == sorted(s["datastream"] for s in found)
    by_name = {series["datastream"]: series for series in found}
    assert all(len(series["cells"]) == 60 for series in found)
    cells = by_name["old.met.a1"]["cells"]
    assert (cells[0]["available"], cells[30]["available"]) == (1.0, 0.0)
    assert by_name["old.met.a1"]["gaps"][-1]["ongoing"]
    text = run(capsys, workspace, "--csv", "old.met.a1")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["available"]) for row in rows] == [cell["available"] for cell in cells]
    gaps = list(csv.DictReader(io.StringIO(run(capsys, workspace, "--gaps", "--csv", HOURLY))))
    assert len(gaps) == len(by_name[HOURLY]["gaps"]) > 0


def test_variables(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, workspace, STREAM, "--by", "variable", "--json"))
    assert {variable["variable"] for variable in found} == {"pressure", "temperature", "wind_speed"}
    assert found[0]["tests"]["Value is greater than fail_max."] == found[0]["bad"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["sgp.none.a1"],
        ["--begin", "20240101", "--end", "20231231"],
        ["--by", "hour"],
        ["--by", "hour", "--gaps", STREAM],
        ["--json", "--csv"],
        ["--begin", "soon"],
    ],
)
def test_what_makes_no_sense(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["availability", "-w", str(workspace), *arguments]) == 2
    assert "next:" in capsys.readouterr().err


def test_a_workspace_without_products(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    (tmp_path / "pipelines" / "ceil" / "config").mkdir(parents=True)
    (tmp_path / "pipelines" / "ceil" / "config" / "pipeline.yaml").write_text("classname: x.y\n")
    assert main(["availability", "-w", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_service_keeps_the_summaries_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with SqliteLedger(file) as ledger:
        write(ledger, history([GONE], 5, END))
        with keeping_summaries(file, lambda: [GONE.config], 0.01):
            until = time.monotonic() + 60
            while ledger.state("days/old.met.a1") is None:
                assert time.monotonic() < until
                time.sleep(0.02)
        assert len(json.loads(ledger.state("days/old.met.a1") or "")["days"]) > 0


def test_a_history_is_as_it_says() -> None:
    plans = streams(2400, 60, 30)
    made = list(history(plans, 60, END))
    assert made == list(history(plans, 60, END))
    assert 2000 < len(made) < 3000
    assert {record.state for record in made} == {"succeeded", "failed"}
    assert len({p.datastream for record in made for p in record.products}) == 30
    assert any(record.warnings for record in made)
