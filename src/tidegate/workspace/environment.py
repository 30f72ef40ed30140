"""Find the interpreter that the pipelines run with, or make an environment for them.

Tidegate makes environments in ``.tidegate/env/``. The folder of each is named by a hash of its
requirements, so changed requirements make another folder. A file that is written last marks a
complete environment, so an interrupted build is never used.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import uv
from filelock import FileLock, Timeout

from tidegate.errors import PythonEnvironmentError
from tidegate.runtime.process import without_credentials
from tidegate.workspace.python_choice import first_that_works
from tidegate.workspace.recipe import OLDEST, Recipe, dependents, read_recipe
from tidegate.workspace.uv_messages import NotOnPyPI, explain, shorten

Say = Callable[[str], None]

_COMPLETE = "tidegate-ok.json"
_PROBE_TIME = 120.0
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


@dataclass(frozen=True)
class Missing:
    """There is no interpreter for the pipelines: an environment must be made."""

    why: str
    """The reason, for messages: there is none yet, or what has changed since it was made."""


def find(
    repository: Path,
    workspace: Path,
    *,
    python: str | None = None,
    configured: str | None = None,
    exclude_newer: str | None = None,
    package: str = "tsdat",
) -> Interpreter | Missing:
    """The interpreter to run the pipelines with, or why an environment must be made first.

    It is ``python`` (an executable, or the folder of an environment), else the repository's
    ``.venv``, else the environment made by ``make``, if its requirements have not changed.

    Raises:
        PythonEnvironmentError: ``python`` or the repository's ``.venv`` cannot be used; or an
            environment must be made, and the repository has no requirements.
    """
    if python is not None:
        return _usable(_executable(python), "option", package)
    venv = repository / ".venv"
    if venv.is_dir():
        return _usable(_python_in(venv), "repository", package)
    recipe = read_recipe(repository, configured, exclude_newer)
    made = _made(_home(workspace) / recipe.stamp, package)
    if made is not None:
        return made
    return Missing(_why(_home(workspace), recipe))


def make(
    repository: Path,
    workspace: Path,
    *,
    configured: str | None = None,
    exclude_newer: str | None = None,
    say: Say = lambda line: None,
    package: str = "tsdat",
) -> Interpreter:
    """Make the environment that the repository requires, unless it exists already.

    Args:
        repository: The root of the pipelines repository.
        workspace: The workspace; the environment is made in its ``.tidegate/env``.
        configured: The Python version, or the path of an interpreter, from the config.
        exclude_newer: Ignore packages published after this date.
        say: Called with each line of progress.
        package: The package that must be in it.

    Raises:
        PythonEnvironmentError: it cannot be made. Nothing incomplete is left.
    """
    recipe = read_recipe(repository, configured, exclude_newer)
    home = _home(workspace)
    place = home / recipe.stamp
    with _locked(home, say):
        made = _made(place, package)
        if made is None:
            made = first_that_works(recipe, lambda one: _make(one, place, say, package), say)
            _remove_old(home, keep=place)
        else:
            say("the pipelines' environment is up to date")
    return made


# --- finding --------------------------------------------------------------------------------------


def complete_environments(workspace: Path) -> list[Path]:
    """The folders of the environments that were made for a workspace, newest first."""
    return _complete(_home(workspace))


def _home(workspace: Path) -> Path:
    return Path(os.path.abspath(workspace)) / ".tidegate" / "env"


def _python_in(folder: Path) -> Path:
    return Path(os.path.abspath(folder)) / "bin" / "python"


def _executable(python: str) -> Path:
    path = Path(python).expanduser()
    if path.is_dir():
        return _python_in(path)
    if path.exists() or os.sep in python:
        return Path(os.path.abspath(path))
    return Path(shutil.which(python) or os.path.abspath(path))


def _usable(
    python: Path, origin: Literal["option", "repository", "made"], package: str
) -> Interpreter:
    """The interpreter, after checking its version and packages."""
    named = {"option": "--python", "repository": "the repository's .venv", "made": "uv"}[origin]
    instead = {
        "option": "use another interpreter, or leave out --python",
        "repository": "remove or repair the .venv, or use another interpreter with --python",
        "made": "run `tidegate env` again; if that fails, too, report it",
    }[origin]
    version, found, packages = _probe(python, package, f"{named} is {python}", instead)
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
            next=f"install it (`{_uv_command()} pip install --python {python} {package}`), "
            f"or {instead}",
        )
    return Interpreter(python, version, found, origin, packages)


def _probe(python: Path, package: str, what: str, instead: str) -> tuple[str, str, tuple[str, ...]]:
    """The versions of an interpreter and of a package in its environment ("": not installed), and
    all packages in it."""
    if not python.exists():
        broken = "is a broken link" if python.is_symlink() else "does not exist"
        raise PythonEnvironmentError(f"{what}, which {broken}", next=instead)
    try:
        done = _run_python(python, [_PROBE, package], _PROBE_TIME)
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


def _run_python(
    python: Path, code_and_arguments: Sequence[str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", *code_and_arguments],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        check=False,
        timeout=timeout,
    )


def _made(place: Path, package: str) -> Interpreter | None:
    """The environment in ``place``, if it is complete and its interpreter exists."""
    try:
        content = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))
        version, found = str(content["python"]), str(content["packages"][package])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    python = _python_in(place)
    if not os.access(python, os.X_OK):
        return None
    folders = place.glob("lib/python*/site-packages/*.dist-info")
    packages = tuple(sorted(folder.name for folder in folders))
    return Interpreter(python, version, found, "made", packages)


def _why(home: Path, recipe: Recipe) -> str:
    """Why there is no environment for ``recipe``: what changed since the newest was made."""
    if (home / recipe.stamp / _COMPLETE).exists():
        return "the Python that it was made with was removed"
    for place in _complete(home):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))["parts"]
            changed = [name for name, part in recipe.parts.items() if before.get(name) != part]
            changed += [name for name in before if name not in recipe.parts]
            if changed:
                return f"its requirements have changed: {', '.join(changed)}"
    return "there is none yet"


def _complete(home: Path) -> list[Path]:
    """The complete environments, latest first."""
    marks = sorted(home.glob(f"*/{_COMPLETE}"), key=lambda mark: mark.stat().st_mtime, reverse=True)
    return [mark.parent for mark in marks]


# --- making ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(home: Path, say: Say) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("another process is making the environment: waiting for it")
            lock.acquire()
    except OSError as error:
        raise PythonEnvironmentError(
            f"the environment cannot be made in {home}",
            why=error.strerror or str(error),
            next="make the workspace writable, or free some space",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _make(recipe: Recipe, place: Path, say: Say, package: str) -> Interpreter:
    python = _find_python(recipe)
    say(f"making the pipelines' environment from {recipe.title}")
    return _build(recipe, place, python, say, package)


def _find_python(recipe: Recipe) -> Path:
    """An interpreter of the version asked for: one of uv's own, on PATH, or of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv = sorted((root / "versions").glob("*/bin"), key=_version_of, reverse=True)
    # pyenv's shims answer only for the versions that are switched on in some folder.
    path = [p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != f"{root}/shims"]
    wanted = os.path.expanduser(recipe.python)
    command = [uv.find_uv_bin(), "python", "find", "--no-project", "--system", wanted]
    environment = _environment()
    environment["PATH"] = os.pathsep.join([*path, *map(str, pyenv)])
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    if done.returncode == 0 and done.stdout.strip():
        return Path(done.stdout.strip())
    if os.sep in wanted:
        raise PythonEnvironmentError(
            f"{recipe.python_from} names {recipe.python}, which is no usable Python interpreter",
            why=shorten(done.stderr),
            next="name an interpreter that exists, or a version such as 3.11",
        )
    number = re.search(r"\d+(\.\d+)*", recipe.python)
    raise PythonEnvironmentError(
        f"Python {recipe.python}, which {recipe.python_from} asks for, is not on this machine",
        next=f"get it with `{_uv_command()} python install {number[0] if number else '3.11'}`, "
        "or name an interpreter with --python",
    )


def _version_of(folder: Path) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", folder.parent.name)[:3])


def _build(recipe: Recipe, place: Path, python: Path, say: Say, package: str) -> Interpreter:
    try:
        if place.exists():
            shutil.rmtree(place)
        _uv(["venv", "--no-project", "--python", str(python), str(place)], recipe, say)
        recipe = _install(recipe, place, say)
        found = _tested(recipe, place, package)
        content = {
            "python": found.version,
            "packages": {package: found.tsdat},
            "from": recipe.title,
            "parts": dict(recipe.parts),
        }
        _write_last(place / _COMPLETE, json.dumps(content, indent=1))
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise PythonEnvironmentError(
            f"the environment cannot be made in {place}",
            why=error.strerror or str(error),
            next="make the workspace writable, or free some space",
        ) from error
    except (
        BaseException
    ):  # Ctrl-C, too; after kill -9, the missing mark shows that it is incomplete
        shutil.rmtree(place, ignore_errors=True)
        raise
    say(f"made {place} with Python {found.version} and {package} {found.tsdat}")
    return found


def _install(recipe: Recipe, place: Path, say: Say) -> Recipe:
    """Install the packages, except those that only conda has; returns the recipe without them."""
    while True:
        arguments = ["pip", "install", "--python", str(_python_in(place)), "--compile-bytecode"]
        if recipe.exclude_newer:
            arguments += ["--exclude-newer", recipe.exclude_newer]
        source = recipe.write_requirements(place)
        try:
            _uv([*arguments, "-r", str(source)], recipe, say)
        except NotOnPyPI as error:
            # Packages that only conda has; no list of them is complete, so the first attempt tells.
            recipe = recipe.without(error.names)
        else:
            _report_conda_only(recipe, say)
            return recipe


def _report_conda_only(recipe: Recipe, say: Say) -> None:
    for name in recipe.conda_only:
        users = dependents(recipe.repository, name)
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        what = f"it is used in {shown}" if users else "it does not seem to be used"
        say(f"left out {name}, which is only available from conda; {what}")


def _tested(recipe: Recipe, place: Path, package: str) -> Interpreter:
    python = _python_in(place)
    version, found, packages = _probe(
        python, package, f"uv made {python}", "try `tidegate env` again"
    )
    if found:
        _check_import(recipe, python, package)
        return Interpreter(python, version, found, "made", packages)
    raise PythonEnvironmentError(
        f"{'Tsdat' if package == 'tsdat' else package} is missing in the requirements",
        why="the pipelines cannot run without it",
        next=f"add a line such as `tsdat>=0.10,<0.11` to {recipe.source.name}",
        where=str(recipe.source),
    )


def _check_import(recipe: Recipe, python: Path, package: str) -> None:
    """Import the package: that it is installed does not mean that its own packages fit it."""
    try:
        done = _run_python(python, [f"import {package}"], 10 * _PROBE_TIME)
        failed, errors = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        failed, errors = 1, f"it has not ended after {10 * _PROBE_TIME:.0f} s"
    if failed:
        lines = errors.strip().splitlines() or [f"exit code {failed}"]
        raise PythonEnvironmentError(
            f"{package} cannot be imported in the environment from {recipe.source.name}",
            why=lines[-1][:300],
            next="packages do not fit each other: pin their versions, or set `exclude_newer`",
            where=str(recipe.source),
        )


def _write_last(path: Path, text: str) -> None:
    """Write a file after everything before it is on disk, completely or not at all."""
    os.sync()  # after a power failure, the mark must not exist without the packages
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _remove_old(home: Path, keep: Path) -> None:
    """Remove old environments, except the latest: a running service may still use it."""
    complete = [place for place in _complete(home) if place != keep]
    for folder in home.iterdir():
        if folder.is_dir() and folder not in (keep, *complete[:1]):
            (folder / _COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


# --- uv -------------------------------------------------------------------------------------------


def _uv_command() -> str:
    return f"{sys.executable} -m uv"


def _environment() -> dict[str, str]:
    given = dict(os.environ)
    if "CODEBUILD_BUILD_ID" in given:
        # A package that is built from source code runs it, and a build on AWS may deploy. On a
        # person's machine, credentials may be needed for an index of packages.
        given = without_credentials(given)
    environment = {name: value for name, value in given.items() if name not in _OTHER_ENVIRONMENTS}
    # Do not download Python without being asked; without a network it only delays the message.
    return {**environment, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def _uv(arguments: Sequence[str], recipe: Recipe, say: Say) -> None:
    """Run uv in the repository; raises PythonEnvironmentError with the cause from its output."""
    messages: list[str] = []
    with subprocess.Popen(
        [uv.find_uv_bin(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=recipe.repository,
        env=_environment(),
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                messages.append(line)
                if re.match(r"\s*(Resolved|Prepared|Installed|Bytecode compiled)\b", line):
                    say(line.strip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise explain("".join(messages), recipe)
