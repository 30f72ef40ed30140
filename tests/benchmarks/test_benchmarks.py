"""Each benchmark runs at a tiny size; what it measures is nobody's business here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from benchmarks.__main__ import AWS, CLUSTER, LOCAL, main
from benchmarks.emulator import Traffic
from benchmarks.memory import slope
from benchmarks.report import Figure, median, table

from benchmarks import scale
from tidegate.runtime.manifest import Config
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.look import InputLook
from tidegate.targets.local.sightings import Sightings
from tidegate.workspace.folder import Workspace

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [*LOCAL, *CLUSTER, *(pytest.param(n, marks=pytest.mark.aws) for n in AWS)]
)
def test_runs_at_a_tiny_size(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--quick", "--json", "--folder", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["figures"]
    assert {figure["benchmark"] for figure in answer["figures"]} == {name}
    if name != "h":  # nobody has said how much memory it may be
        assert any(figure["met"] is not None for figure in answer["figures"])
    assert not list(tmp_path.iterdir())


def test_a_large_workspace_is_as_a_service_would_have_left_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.prepare()
    scale.fill(workspace, scale.Size(60, folder=20, burst=0, idle=0.0))
    config = Config("lidar", "humboldt", "Ingest", "S3", "x.yaml", input_path="lidar/humboldt/")
    with SqliteLedger(workspace.ledger) as ledger:
        records = list(ledger.records(config=config.id))
        assert len({record.run.inputs[0].key for record in records}) == 60
        assert all((workspace.output / r.products[0].key).is_file() for r in records)
        assert {p.key for p in ledger.products()} == {r.products[0].key for r in records}
        sightings = Sightings(FolderInputs(workspace.input), [config], ledger, print)
        look = InputLook(workspace.input, sightings, ledger, [config])
        assert [f for found in look.new_files((), lambda: datetime.now(UTC)) for f in found] == []


def test_a_figure_knows_its_target() -> None:
    assert Figure("a", "x", 30.0, "ms", at_most=30).met
    assert Figure("b", "x", 1.6, "", at_least=1.7).met is False
    assert Figure("c", "x", 1.0, "s").met is None
    assert "MISSED" in table([Figure("b", "x", 1.6, "", at_least=1.7)])


def test_median_and_spread() -> None:
    assert median("a", "x", [3.0, 1.0, 2.0], "ms").value == 2.0
    assert median("a", "x", [3.0, 1.0, 2.0], "ms").spread == (1.0, 3.0)


def test_the_slope_is_for_100_runs() -> None:
    assert slope([10.0 + 0.5 * run for run in range(50)]) == pytest.approx(50.0)


def test_traffic_that_goes_on_at_once_is_counted_once() -> None:
    traffic = Traffic()
    traffic.requests.update({"s3.GetObject": 2, "s3.PutObject": 1, "dynamodb.Query": 1})
    traffic.spans += [("s3.PutObject", 5.0, 6.0), ("s3.GetObject", 1.0, 3.0)]
    traffic.spans += [("s3.GetObject", 2.0, 4.0), ("dynamodb.Query", 0.0, 9.0)]
    assert (traffic.count("s3"), traffic.count("s3.Get"), traffic.count("")) == (3, 2, 4)
    assert (traffic.seconds("s3"), traffic.seconds("s3.Get")) == (4.0, 3.0)
