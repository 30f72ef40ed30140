"""One workspace for all formats, and one worker: Tsdat takes seconds to start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tidegate.runtime.process import WorkerProcess
from tidegate.workspace.folder import CONFIG, Workspace

pytest.importorskip("cf_units")
pytest.importorskip("clevercsv")
pytest.importorskip("compliance_checker")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    folder: Path = tmp_path_factory.mktemp("workspace")
    (folder / CONFIG).write_text("# Ours.\nrepository: .\n\npipelines: []  # none yet\n")
    (folder / "requirements.txt").write_text("tsdat>=0.10,<0.11\n")
    return Workspace.at(folder)


@pytest.fixture(scope="session")
def worker(workspace):
    worker = WorkerProcess([sys.executable], workspace.root)
    yield worker
    worker.close()
