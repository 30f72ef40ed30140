"""The interpreters that pipelines can run with: their versions and packages, and how to start them.

They are started such that no variable of the caller's own environment has an effect.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tidegate.errors import PythonEnvironmentError
from tidegate.runtime.process import without_credentials
from tidegate.workspace.recipe import OLDEST

PROBE_TIME = 120.0
_PROBE = """
import json, os, platform, sys
try:
    from importlib.metadata import version
    found = version(sys.argv[1])
except Exception:
    found = ""
installed = {n for p in sys.path if os.path.isdir(p) for n in os.listdir(p)}
names = sorted(n for n in installed if n.endswith((".dist-info", ".egg-info")))
print(json.dumps([platform.python_version(), found, names]))
"""
# Variables that would make uv or Python use another environment than the intended one.
_OTHER_ENVIRONMENTS = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_EXCLUDE_NEWER",
    "__PYVENV_LAUNCHER__",
)


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that the pipelines can run with."""

    python: Path
    """The executable."""
    version: str
    """Its Python version, as in ``3.11.7``."""
    tsdat: str
    """The version of Tsdat beside it."""
    origin: Literal["option", "repository", "made"]
    """Where it was found: ``--python``, the repository's ``.venv``, or made by Tidegate."""
    packages: tuple[str, ...] = field(default=(), compare=False)
    """The installed packages with their versions, as their folders are named."""


def uv_command() -> str:
    return f"{sys.executable} -m uv"


def isolated_environment() -> dict[str, str]:
    given = dict(os.environ)
    if "CODEBUILD_BUILD_ID" in given:
        # A package that is built from source code runs it, and a build on AWS may deploy. On a
        # person's machine, credentials may be needed for an index of packages.
        given = without_credentials(given)
    environment = {name: value for name, value in given.items() if name not in _OTHER_ENVIRONMENTS}
    # Do not download Python without being asked; without a network it only delays the message.
    return {**environment, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def python_in(folder: Path) -> Path:
    return Path(os.path.abspath(folder)) / "bin" / "python"


def executable(python: str) -> Path:
    path = Path(python).expanduser()
    if path.is_dir():
        return python_in(path)
    if path.exists() or os.sep in python:
        return Path(os.path.abspath(path))
    return Path(shutil.which(python) or os.path.abspath(path))


def usable(
    python: Path, origin: Literal["option", "repository", "made"], package: str
) -> Interpreter:
    """The interpreter, after checking its version and packages."""
    named = {"option": "--python", "repository": "the repository's .venv", "made": "uv"}[origin]
    instead = {
        "option": "use another interpreter, or leave out --python",
        "repository": "remove or repair the .venv, or use another interpreter with --python",
        "made": "run `tidegate env` again; if that fails, too, report it",
    }[origin]
    version, found, packages = probe(python, package, f"{named} is {python}", instead)
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise PythonEnvironmentError(
            f"{named} is {python}, which is Python {version}",
            why=f"the pipelines need Python {oldest} or newer",
            next=instead,
        )
    if not found:
        missing = "Tsdat" if package == "tsdat" else package
        raise PythonEnvironmentError(
            f"{missing} is not installed in the environment of {python}",
            why=f"{named} says to run the pipelines with it",
            next=f"install it (`{uv_command()} pip install --python {python} {package}`), "
            f"or {instead}",
        )
    return Interpreter(python, version, found, origin, packages)


def probe(python: Path, package: str, what: str, instead: str) -> tuple[str, str, tuple[str, ...]]:
    """The versions of an interpreter and of a package in its environment ("": not installed), and
    all packages in it."""
    if not python.exists():
        broken = "is a broken link" if python.is_symlink() else "does not exist"
        raise PythonEnvironmentError(f"{what}, which {broken}", next=instead)
    try:
        done = run_python(python, [_PROBE, package], PROBE_TIME)
        version, found, *packages = json.loads(done.stdout)
        return str(version), str(found), tuple(map(str, packages[0] if packages else ()))
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(getattr(error, "strerror", None) or error)
    except (ValueError, TypeError):
        lines = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        why = lines[-1][:200]
    raise PythonEnvironmentError(
        f"{what}, which is not a Python interpreter", why=why, next=instead
    )


def run_python(
    python: Path, code_and_arguments: Sequence[str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", *code_and_arguments],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=isolated_environment(),
        check=False,
        timeout=timeout,
    )
