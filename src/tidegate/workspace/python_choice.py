"""The Python for a repository that does not ask for one, and the date of its last commit."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tidegate.errors import PythonEnvironmentError, UsageError
from tidegate.workspace.recipe import NEWEST, OLDEST, OWN, Recipe

T = TypeVar("T")

_ABOUT_PYTHON = re.compile(
    r"\bwheels?\b|no-build|no-binary|\bbuild\b|Python\s*[<>=!~]|Python version|cannot be imported",
    re.IGNORECASE,
)
"""Parts of error messages that another version of Python may solve."""
_IMPORT = re.compile("cannot be imported")


def recipes_to_try(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe for Tidegate's own Python, then for the others that it may be, newest first.

    One that asks for a Python is tried with no other.
    """
    yield recipe
    if recipe.python_from != OWN[1]:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        version = f"3.{minor}"
        if version != recipe.python:
            yield dataclasses.replace(recipe, python=version, python_from="the newest that fits")


def _another_python_may_help(error: PythonEnvironmentError) -> bool:
    """Whether another version of Python may help."""
    return bool(_ABOUT_PYTHON.search(f"{error.what} {error.why}"))


def first_that_works(
    recipe: Recipe, attempt: Callable[[Recipe, bool], T], say: Callable[[str], None]
) -> T:
    """What ``attempt`` returns for the first Python with which it works.

    All Pythons are tried with binary packages only before packages are compiled (the second
    argument of ``attempt``), because that takes minutes, and compilers.

    Raises:
        PythonEnvironmentError: none works; that of the recipe's own Python.
    """
    failures: dict[str, PythonEnvironmentError] = {}
    installed: set[str] = set()
    for compiling in (False, True):
        first = True
        for one in recipes_to_try(recipe):
            if one.python in installed:
                continue  # all was installed, and an import failed: it would fail again
            try:
                return attempt(one, compiling)
            except PythonEnvironmentError as error:
                failures[one.python] = error
                if _IMPORT.search(error.what):
                    installed.add(one.python)
                if first and not _another_python_may_help(error):
                    break
                if first or _another_python_may_help(error):
                    say(f"with Python {one.python}: {error.why or error.what}")
                first = False
    raise _with_date(failures[recipe.python], recipe)


def _with_date(error: PythonEnvironmentError, recipe: Recipe) -> PythonEnvironmentError:
    """The error, with the date of the last commit as a further thing to try."""
    date = last_commit(recipe.repository)
    if recipe.exclude_newer or not date:
        return error
    hint = (
        f"`tidegate env --as-of-last-commit` takes the packages of {date}, when the repository was"
        " last changed"
    )
    return PythonEnvironmentError(
        error.what, why=error.why, next=f"{error.next}; {hint}", where=error.where
    )


def last_commit(repository: Path) -> str:
    """The date of a repository's last commit, YYYY-MM-DD; "" if it has none."""
    command = ["git", "-C", str(repository), "log", "-1", "--format=%cs"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    date = done.stdout.strip()
    return date if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) else ""


def date_of_last_commit(repository: Path) -> str:
    """As ``last_commit``; raises UsageError if there is none."""
    date = last_commit(repository)
    if not date:
        raise UsageError(
            f"{repository} has no commits",
            next="give a date with --exclude-newer YYYY-MM-DD",
        )
    return date
