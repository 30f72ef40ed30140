"""Find the interpreter that the pipelines run with, or make an environment for them.

Tidegate makes environments in ``.tidegate/env/``. The folder of each is named by a hash of its
requirements, so changed requirements make another folder. A file that is written last marks a
complete environment, so an interrupted build is never used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace.environment_build import COMPLETE, Check, build_environment
from tidegate.workspace.interpreter import Interpreter, executable, python_in, usable
from tidegate.workspace.python_choice import first_that_works
from tidegate.workspace.recipe import Recipe, read_recipe

Say = Callable[[str], None]


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
        return usable(executable(python), "option", package)
    venv = repository / ".venv"
    if venv.is_dir():
        return usable(python_in(venv), "repository", package)
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
    check: Check = lambda python: None,
    say: Say = lambda line: None,
    package: str = "tsdat",
) -> Interpreter:
    """Make the environment that the repository requires, unless it exists already.

    Only binary packages are installed, if there is a Python for which all exist; else packages are
    compiled.

    Args:
        repository: The root of the pipelines repository.
        workspace: The workspace; the environment is made in its ``.tidegate/env``.
        configured: The Python version, or the path of an interpreter, from the config.
        exclude_newer: Ignore packages published after this date.
        check: Called with the interpreter of a new environment before it counts as made.
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

            def build(one: Recipe, compiling: bool) -> Interpreter:
                return build_environment(
                    one, place, compiling=compiling, package=package, check=check, say=say
                )

            made = first_that_works(recipe, build, say)
            _remove_old(home, keep=place)
        else:
            say("the pipelines' environment is up to date")
    return made


# --- finding --------------------------------------------------------------------------------------


def complete_environments(workspace: Path) -> list[Path]:
    """The folders of the environments that were made for a workspace, newest first."""
    return _complete(_home(workspace))


def only_from_conda(
    repository: Path, workspace: Path, configured: str | None, exclude_newer: str | None
) -> tuple[str, ...]:
    """The packages in environment.yml that only conda has, with those that were found to be missing
    on PyPI when the environment was made; empty if no file lists the packages."""
    try:
        recipe = read_recipe(repository, configured, exclude_newer)
    except PythonEnvironmentError:
        return ()
    known = dict.fromkeys(recipe.conda_only)
    with contextlib.suppress(OSError, ValueError, TypeError):
        mark = json.loads((_home(workspace) / recipe.stamp / COMPLETE).read_text(encoding="utf-8"))
        known |= dict.fromkeys(map(str, mark.get("only from conda", ())))
    return tuple(known)


def _home(workspace: Path) -> Path:
    return Path(os.path.abspath(workspace)) / ".tidegate" / "env"


def _made(place: Path, package: str) -> Interpreter | None:
    """The environment in ``place``, if it is complete and its interpreter exists."""
    try:
        content = json.loads((place / COMPLETE).read_text(encoding="utf-8"))
        version, found = str(content["python"]), str(content["packages"][package])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    python = python_in(place)
    if not os.access(python, os.X_OK):
        return None
    folders = place.glob("lib/python*/site-packages/*.dist-info")
    packages = tuple(sorted(folder.name for folder in folders))
    return Interpreter(python, version, found, "made", packages)


def _why(home: Path, recipe: Recipe) -> str:
    """Why there is no environment for ``recipe``: what changed since the newest was made."""
    if (home / recipe.stamp / COMPLETE).exists():
        return "the Python that it was made with was removed"
    for place in _complete(home):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads((place / COMPLETE).read_text(encoding="utf-8"))["parts"]
            changed = [name for name, part in recipe.parts.items() if before.get(name) != part]
            changed += [name for name in before if name not in recipe.parts]
            if changed:
                return f"its requirements have changed: {', '.join(changed)}"
    return "there is none yet"


def _complete(home: Path) -> list[Path]:
    """The complete environments, latest first."""
    marks = sorted(home.glob(f"*/{COMPLETE}"), key=lambda mark: mark.stat().st_mtime, reverse=True)
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


def _remove_old(home: Path, keep: Path) -> None:
    """Remove old environments, except the latest: a running service may still use it."""
    complete = [place for place in _complete(home) if place != keep]
    for folder in home.iterdir():
        if folder.is_dir() and folder not in (keep, *complete[:1]):
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
