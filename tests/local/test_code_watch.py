"""A running service notices that its config or code has changed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.release_notes import package_folders
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.task import Outcome
from tidegate.runtime.testing import InlineExecutor
from tidegate.targets.local.places import Places
from tidegate.targets.local.service import Service
from tidegate.workspace import code_watch
from tidegate.workspace.code_watch import CodeWatch

A = Config("a", "one", "Ingest", "S3", "pipelines/a/config/pipeline.yaml", input_path="a/")
B = replace(A, pipeline="b", config_file="pipelines/b/config/pipeline.yaml")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(code_watch, "EVERY", 0.0)
    for name in ("shared/quality.yaml", "pipelines/a/code.py", "pipelines/b/code.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    (tmp_path / "pipelines_config.yml").write_text("a")
    return tmp_path


def watch(root):
    files = {config.pipeline: [config.config_file] for config in (A, B)}
    return CodeWatch(root / "pipelines_config.yml", root, files)


def test_a_change_is_taken_over_when_it_is_complete(root):
    watched = watch(root)
    assert (watched.settled(), watched.suspected) == ("", False)
    (root / "shared/quality.yaml").write_text("ab")
    assert (watched.settled(), watched.suspected) == ("", True)
    (root / "pipelines_config.yml").write_text("ab")
    assert watched.settled() == ""
    assert watched.settled() == "pipelines_config.yml and 1 more"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipelines/a/code.py", (True, False)),
        ("pipelines/b/new.yaml", (False, True)),
        ("pipelines/__init__.py", (True, True)),
        ("shared/quality.yaml", (True, True)),
        ("pipelines_config.yml", (False, False)),
        ("requirements.txt", (False, False)),
        ("README.md", (False, False)),
        ("pipelines/a/README.md", (False, False)),
    ],
)
def test_a_change_affects_the_runs_that_use_the_file(root, name, expected):
    watched = watch(root)
    (root / name).write_text("ab")
    assert (watched.affects(A), watched.affects(B)) == expected
    assert watched.suspected == any(expected)
    watched.settled()
    assert bool(watched.settled()) == (not name.endswith(".md"))


@pytest.mark.parametrize("inside", [False, True])
def test_packages_that_were_installed_are_a_change(root, tmp_path_factory, inside):
    """Of the interpreter that was given, or of the repository's ``.venv``."""
    environment = root / ".venv" if inside else tmp_path_factory.mktemp("python")
    place = environment / "lib/python3.11/site-packages"
    (place / "tsdat-0.9.0.dist-info").mkdir(parents=True)
    (place / "tsdat").mkdir()
    watched = watch(root)
    watched.watch_packages(package_folders(environment / "bin/python"))
    (place / "tsdat/__pycache__").mkdir()
    (place / "no_package.py").touch()
    assert (watched.settled(), watched.affects(A)) == ("", False)
    (place / "tsdat-0.9.0.dist-info").rename(place / "tsdat-0.10.0.dist-info")
    assert watched.affects(A)
    assert watched.settled() == ""
    assert "tsdat-0" in watched.settled()


def test_a_change_that_was_undone_still_counts(root):
    """The run may have read the other version."""
    code = root / "pipelines/a/code.py"
    watched = watch(root)
    code.write_text("b")
    code.write_text("a")
    os.utime(code, (1, 1))
    assert watched.affects(A)


def test_a_file_that_is_gone_is_a_change(root):
    watched = watch(root)
    (root / "pipelines/a/code.py").unlink()
    assert watched.affects(A)


def test_all_files_are_looked_at_now_and_then(root, monkeypatch):
    monkeypatch.setattr(code_watch, "EVERY", 100.0)
    watched = watch(root)
    (root / "pipelines/a/code.py").write_text("ab")
    assert (watched.settled(), watched.suspected) == ("", False)


class ChangedOnce:
    """Reports a change once, as a ``CodeWatch`` does that is asked again within a second."""

    suspected = True

    def __init__(self):
        self.reports = ["code.py"]

    def affects(self, config):
        return True

    def settled(self):
        return self.reports.pop() if self.reports else ""


def test_a_service_that_ends_for_new_code_names_the_change_and_what_is_left(tmp_path):
    places = Places(*(tmp_path / name for name in ("in", "out", "ledger.db", "logs", "work")))
    executor = InlineExecutor(lambda task: Outcome())
    service = Service(places, Manifest((A,)), executor, code=ChangedOnce())
    run = Run(A.id, (Input("a/1.csv", "v", 1),))
    service.carry_out([run])
    assert service.code_change == "code.py"
    assert service.left == {run.key}
