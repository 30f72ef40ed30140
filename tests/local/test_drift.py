"""A running service tells when what it was started with has changed."""

from __future__ import annotations

from pathlib import Path

from tidegate.workspace import repository_change
from tidegate.workspace.repository_change import RepositoryChange


def make(folder: Path) -> RepositoryChange:
    (folder / "shared").mkdir()
    (folder / "shared" / "quality.yaml").write_text("a")
    (folder / "pipelines_config.yml").write_text("a")
    (folder / "README.md").write_text("a")
    return RepositoryChange(folder / "pipelines_config.yml", folder)


def test_a_change_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(repository_change, "EVERY", 0.0)
    watched = make(tmp_path)
    assert watched.check() == ""
    (tmp_path / "shared" / "quality.yaml").write_text("ab")
    (tmp_path / "pipelines_config.yml").write_text("ab")
    told = watched.check()
    assert told.startswith("pipelines_config.yml and 1 more changed")
    assert "restart it" in told
    assert watched.check() == ""


def test_new_and_vanished_files_count_and_readmes_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(repository_change, "EVERY", 0.0)
    watched = make(tmp_path)
    (tmp_path / "README.md").write_text("ab")
    (tmp_path / "shared" / "README.md").write_text("ab")
    assert watched.check() == ""
    (tmp_path / "shared" / "storage.yaml").write_text("a")
    assert watched.check().startswith("shared/storage.yaml changed")
    (tmp_path / "shared" / "quality.yaml").unlink()
    assert watched.check().startswith("shared/quality.yaml changed")


def test_it_does_not_look_all_the_time(tmp_path):
    watched = make(tmp_path)
    (tmp_path / "pipelines_config.yml").write_text("ab")
    assert watched.check() == ""
