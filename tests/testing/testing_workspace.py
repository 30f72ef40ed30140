"""Workspaces of the tiny pipelines, and the command ``tidegate`` as a process over them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.testing.pipelines import Pipelines, open_pipelines

TESTS = Path(__file__).parents[1]
TINY = TESTS / "service" / "tiny"
FAST = TESTS / "service" / "hooks"
"""On ``PYTHONPATH``, Tsdat is imported without ``act``, which only the example's pipelines need."""
EXAMPLES = TESTS.parent / "examples"
CONFIG = """\
repository: pipelines
pipelines:
- name: tiny
  type: Ingest
  trigger: S3
  configs:
    one:
      input_bucket_path: tiny/one/
      config_file_path: pipelines/tiny/config/pipeline_one.yaml
    two:
      input_bucket_path: tiny/two/
      config_file_path: pipelines/tiny/config/pipeline_two.yaml
- name: tiny_vap
  type: VAP
  trigger: Cron
  schedule: Daily
  configs:
    one:
      config_file_path: pipelines/tiny_vap/config/pipeline.yaml
"""
RAW = "time,x\n2022-04-01T00:00:00,1.0\n2022-04-01T00:01:00,2.0\n"
NAME = "one.tiny.a1.20220401.000000.nc"


@dataclass
class Bench:
    """A workspace, and what can be done in it."""

    root: Path

    @property
    def repository(self) -> Path:
        """The pipelines repository."""
        return self.root / "pipelines"

    @property
    def data(self) -> Path:
        """The folder with the tests of the ingest."""
        return self.repository / "pipelines/tiny/test/data"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the repository."""
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def sample(self, name: str = "one/a.csv", text: str = RAW) -> Path:
        """A raw file among the tests of the ingest."""
        return self.write(f"pipelines/tiny/test/data/input/{name}", text)

    def edit(self, old: str, new: str, name: str = "pipelines/tiny/readers.py") -> None:
        """Change a file of the repository."""
        path = self.repository / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def change_values(self, expression: str) -> None:
        """Make the reader give other values, such as ``data.x * 2``."""
        read = "return super().read(input_key)"
        self.edit(read, f"{read}.assign(x=lambda data: {expression})")

    def pipelines(self) -> Pipelines:
        """The pipelines, with this interpreter."""
        return open_pipelines(self.root, python=sys.executable)

    def tidegate(self, *arguments: str | Path, code: int = 0) -> Any:
        """Run a command with ``--json``; its exit code is checked."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.variables(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )

    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        fast = {"PYTHONPATH": str(FAST)} if self.root != EXAMPLES else {}
        return {**os.environ, "COLUMNS": "200", **fast}

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line with this interpreter."""
        words = [str(argument) for argument in arguments]
        return [sys.executable, "-m", "tidegate", *words, "--python", sys.executable]


def make_bench(root: Path) -> Bench:
    """A workspace with the tiny pipelines, without any test yet."""
    shutil.copytree(TINY, root / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "pipelines/pipelines/tiny/config"
    plain = (folder / "pipeline.yaml").read_text()
    (folder / "pipeline.yaml").unlink()
    for name in ("one", "two"):
        site = f"  overrides:\n    /attrs/location_id: {name}\n"
        (folder / f"pipeline_{name}.yaml").write_text(plain.replace("quality:", site + "quality:"))
    (root / "pipelines_config.yml").write_text(CONFIG)
    return Bench(root)


def listing(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files below a folder, with their times and what is in them."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
