"""Each benchmark runs at a tiny size; what it measures is nobody's business here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.memory import slope
from benchmarks.report import Figure, median, table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", BENCHMARKS)
def test_runs_at_a_tiny_size(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--quick", "--json", "--folder", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["figures"]
    assert {figure["benchmark"] for figure in answer["figures"]} == {name}
    assert any(figure["met"] is not None for figure in answer["figures"])
    assert not list(tmp_path.iterdir())


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
