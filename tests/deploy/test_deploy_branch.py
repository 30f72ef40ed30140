"""A branch as its config says, and the code that is released."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tidegate.config import ConfigProblems
from tidegate.deploy.core.branch import commit_of, open_branch
from tidegate.deploy.workflow.bundle import make_bundle
from tidegate.errors import TidegateError, UsageError

CONFIG = """
pipelines_repo_name: waves
account_id: 123456789012
region: us-west-2
input_bucket_name: waves-raw
output_bucket_name: waves-products
branches:
  dev: {output_bucket_name: waves-products-dev}
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/pipeline.yaml
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    return tmp_path


def test_a_branch_has_its_own_keys(folder: Path) -> None:
    main, dev = open_branch(folder, "main"), open_branch(folder, "dev", region="eu-west-1")
    assert main.keys.output_bucket_name == "waves-products"
    assert dev.keys.output_bucket_name == "waves-products-dev"
    assert dev.names.base == "waves-dev"
    assert main.place.region == "us-west-2"
    assert dev.place.region == "eu-west-1"


def test_a_key_for_aws_is_missing(folder: Path) -> None:
    (folder / "pipelines_config.yml").write_text(CONFIG.replace("account_id: 123456789012", ""))
    with pytest.raises(ConfigProblems, match="'account_id' is needed to deploy to AWS"):
        open_branch(folder, "main")


def test_codepipeline_needs_more(folder: Path) -> None:
    with pytest.raises(ConfigProblems, match="github_codestar_arn"):
        open_branch(folder, "main", codepipeline=True)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="no folder"):
        open_branch(tmp_path / "none", "main")


def git(folder: Path, *arguments: str) -> None:
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=folder,
        env=os.environ | identity,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/a.py").write_text("a = 1\n")
    (folder / ".gitignore").write_text("secret\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.mark.functional
def test_the_commit(repository: Path, tmp_path: Path) -> None:
    head = commit_of(repository)
    assert len(head) == 40
    (repository / "pipelines/a.py").write_text("a = 2\n")
    assert commit_of(repository) == f"{head}-dirty"
    assert commit_of(tmp_path) == ""


@pytest.mark.functional
def test_a_bundle_is_what_git_would_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "secret").write_text("key")
    (repository / "new é.sh").write_text("#!/bin/sh\n")
    (repository / "new é.sh").chmod(0o755)
    (repository / "elsewhere").symlink_to("/etc")
    made = make_bundle(repository, tmp_path / "one.zip")
    with zipfile.ZipFile(made.file) as archive:
        assert archive.namelist() == [".gitignore", "new é.sh", "pipelines/a.py"]
        assert archive.getinfo("new é.sh").external_attr >> 16 == 0o100755
    again = make_bundle(repository, tmp_path / "two.zip")
    assert again.sha256 == made.sha256
    (repository / "pipelines/a.py").write_text("a = 2\n")
    assert make_bundle(repository, tmp_path / "two.zip").sha256 != made.sha256


@pytest.mark.functional
def test_a_file_that_was_deleted(repository: Path, tmp_path: Path) -> None:
    (repository / "pipelines/a.py").unlink()
    assert make_bundle(repository, tmp_path / "one.zip").count == 1


@pytest.mark.functional
def test_without_git(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    for name in ("pipelines/a.py", "input/raw.csv", ".venv/x.py", "shared/input/kept.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    made = make_bundle(folder, tmp_path / "one.zip")
    with zipfile.ZipFile(made.file) as archive:
        assert archive.namelist() == ["pipelines/a.py", "shared/input/kept.py"]


@pytest.mark.functional
def test_nothing_to_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no code"):
        make_bundle(tmp_path / "empty", tmp_path / "one.zip")
