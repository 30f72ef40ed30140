"""A test that starts more than its tier may fails, and says which marker is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TESTS = """
import subprocess, sys
import pytest

def start(*words):
    return subprocess.run([sys.executable, "-c", "", *words], check=True)

def test_starts_a_process():
    start()

def test_starts_a_process_and_hides_the_refusal():
    try:
        start()
    except BaseException:
        pass

def test_starts_nothing():
    pass

@pytest.mark.functional
def test_may_start_a_process():
    start()

@pytest.mark.functional
def test_starts_an_emulator():
    start("ministack")

@pytest.mark.integration
def test_may_start_an_emulator():
    start("ministack")
"""


@pytest.mark.functional
def test_the_guard_refuses_what_the_tier_does_not_allow(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text((REPOSITORY / "tests/conftest.py").read_text())
    (folder / "test_sample.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=short", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    outcome = {
        line.split("::")[1].split(" ")[0]: line.split()[0]
        for line in done.stdout.splitlines()
        if line.startswith(("PASSED", "FAILED", "ERROR"))
    }
    assert outcome == {
        "test_starts_a_process": "FAILED",
        "test_starts_a_process_and_hides_the_refusal": "FAILED",
        "test_starts_nothing": "PASSED",
        "test_may_start_a_process": "PASSED",
        "test_starts_an_emulator": "FAILED",
        "test_may_start_an_emulator": "PASSED",
    }, done.stdout
    assert "mark it `@pytest.mark.functional`" in done.stdout
    assert "mark it `@pytest.mark.integration`" in done.stdout
