"""Describing a repository's configs runs its code, which must not find AWS's credentials."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tidegate.runtime.descriptions import describe_files
from tidegate.workspace.interpreter import isolated_environment

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_PROFILE": "admin",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1",  # as in CodeBuild
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/token",
}
WORKER = """\
import json, os, sys
open("seen.json", "w").write(json.dumps(dict(os.environ)))
print('{"ready": {"python": "3", "tsdat": "0"}}', flush=True)
"""


@pytest.mark.functional
@pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")
def test_the_code_that_is_described_finds_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MINE", "kept")
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    describe_files([sys.executable, str(worker)], tmp_path, ["pipelines/a/config/pipeline.yaml"])
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert {name: value for name, value in seen.items() if name.startswith("AWS_")} == {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    assert seen["MINE"] == "kept"
    boto3 = pytest.importorskip("boto3")
    for name in [*SECRETS]:
        monkeypatch.delenv(name)
    for name, value in seen.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    assert boto3.session.Session().get_credentials() is None


@pytest.mark.parametrize("build", [True, False])
def test_packages_that_are_built_on_aws_find_no_credentials_either(
    monkeypatch: pytest.MonkeyPatch, build: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.delenv("CODEBUILD_BUILD_ID", raising=False)
    if build:
        monkeypatch.setenv("CODEBUILD_BUILD_ID", "build:1")
    assert ("AWS_ACCESS_KEY_ID" in isolated_environment()) == (not build)
