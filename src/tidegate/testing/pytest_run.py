"""Test functions that cannot be read: pytest runs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tidegate.runtime.process import ENVIRONMENT
from tidegate.testing.cases import Case
from tidegate.testing.pipelines import Pipelines
from tidegate.testing.python_tests import PythonTest
from tidegate.testing.results import CaseResult

_SECONDS = 1800
_NONE_COLLECTED = 5


def run_with_pytest(pipelines: Pipelines, case: Case, test: PythonTest, place: Path) -> CaseResult:
    """Run one function with the pytest of the pipelines' environment.

    Products go to a storage root below ``place`` unless the test says otherwise.
    """
    place.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "TSDAT_STORAGE_ROOT": str(place / "outputs"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(pipelines.repository),
    }
    for name in ("PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    command = [*pipelines.python, "-m", "pytest", "-q", "--no-header", "--tb=short"]
    command += ["-p", "no:cacheprovider", "-rs", f"{test.file}::{test.name}"]
    try:
        done = subprocess.run(
            command,
            cwd=pipelines.repository,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CaseResult(case, "failed", f"pytest was stopped after {_SECONDS} s", case.source)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if "No module named pytest" in done.stderr:
        return CaseResult(
            case,
            "skipped",
            f"only pytest can run it ({test.unreadable}), and the pipelines' environment has none",
            case.source,
            "add pytest to the environment, or describe the test in test/data/tests.yaml",
        )
    if done.returncode == 0 and not any(" skipped" in line for line in lines[-1:]):
        return CaseResult(case, "passed", log=tuple(lines))
    if done.returncode in (0, _NONE_COLLECTED):
        return CaseResult(case, "skipped", lines[-1] if lines else "pytest ran no test")
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    why = "\n".join(errors[:12]) or (lines[-1] if lines else "pytest failed")
    return CaseResult(case, "failed", why, case.source, log=tuple(lines))
