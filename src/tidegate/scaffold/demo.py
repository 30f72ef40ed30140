"""``tidegate demo``: a new workspace with raw files in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate.errors import PythonEnvironmentError, UsageError
from tidegate.workspace.folder import CONFIG, Workspace

FIRST_DAY = "20201201"
DAYS = 3
CORRUPT = "lidar/humboldt/lidar.z05.00.20201204.000000.sta.7z"
"""A file that is cut off, as by a broken transfer."""
DUPLICATE = "lidar/morro/lidar.z06.00.20201202.000000.sta.7z"
"""A file that is delivered twice, with the same content."""

_MARK = "demo"


def examples() -> Path:
    """The folder of the example: in the package if installed from a wheel, else in the checkout."""
    packed = Path(__file__).parents[1] / "examples"
    return packed if packed.is_dir() else Path(__file__).parents[3] / "examples"


def make_workspace(folder: Path) -> Workspace:
    """Write the example's config and pipelines into ``folder``, unless it is a demo already.

    Raises:
        UsageError: the folder has other files.
    """
    if (folder / ".tidegate" / _MARK).exists():
        return Workspace.at(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty and is not a demo",
            next="name a folder that does not exist yet: `tidegate demo my-demo`",
        )
    folder.mkdir(parents=True, exist_ok=True)
    source = examples()
    ignored = shutil.ignore_patterns("__pycache__", ".venv", "*.pyc", "storage")
    shutil.copytree(source / "pipelines", folder / "pipelines", ignore=ignored)
    shutil.copyfile(source / CONFIG, folder / CONFIG)
    workspace = Workspace.at(folder)
    workspace.prepare()
    (workspace.state / _MARK).touch()
    return workspace


def write_raw_files(workspace: Workspace, python: Sequence[str]) -> None:
    """Write three days of raw files for both sites, and one that is corrupt.

    Raises:
        PythonEnvironmentError: the script that makes them fails.
    """
    script = examples() / "make_raw.py"
    command = [*python, str(script), "--out", str(workspace.input)]
    command += ["--day", FIRST_DAY, "--days", str(DAYS), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PythonEnvironmentError(
            "the raw files of the demo cannot be written",
            why=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "",
            next="check that NumPy is in the pipelines' environment",
        )
    whole = workspace.input / CORRUPT.replace("20201204", "20201203")
    content = whole.read_bytes()
    (workspace.input / CORRUPT).write_bytes(content[: len(content) // 2])


def deliver_again(workspace: Workspace) -> None:
    """Deliver one file a second time, with the same content."""
    file = workspace.input / DUPLICATE
    copy = file.with_name(file.name + ".part")
    shutil.copyfile(file, copy)
    copy.replace(file)


def link_environment(workspace: Workspace, python: str) -> None:
    """Let later commands run the demo's pipelines with ``python``, too, as their ``.venv``.

    Otherwise the first `tidegate up` would make an environment, which takes minutes.
    """
    prefix = Path(os.path.abspath(python)).parents[1]
    link = workspace.root / "pipelines" / ".venv"
    if (prefix / "bin" / "python").exists() and not os.path.lexists(link):
        link.symlink_to(prefix, target_is_directory=True)
        ignored = link.with_name(".gitignore")  # `.venv/` would not match a link
        before = ignored.read_text("utf-8") if ignored.exists() else ""
        ignored.write_text(f"{before}.venv\n", "utf-8")


def default_python() -> list[str]:
    """The interpreter of this process, which must have Tsdat."""
    return [sys.executable]
