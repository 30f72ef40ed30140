"""Make the pipelines' environment in a folder, with uv, and test it before it counts as made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace.interpreter import (
    PROBE_TIME,
    Interpreter,
    isolated_environment,
    probe,
    python_in,
    run_python,
    uv_command,
)
from tidegate.workspace.recipe import Recipe, dependents
from tidegate.workspace.uv_messages import NotOnPyPI, explain, shorten

Say = Callable[[str], None]
Check = Callable[[Path], None]
"""Raises PythonEnvironmentError if the pipelines cannot be run with that interpreter."""


COMPLETE = "tidegate-ok.json"
"""The file that marks a complete environment, with what it was made from."""


@dataclass(frozen=True)
class _Order:
    """The arguments of ``build_environment``."""

    recipe: Recipe
    place: Path
    compiling: bool
    package: str
    check: Check
    say: Say


def build_environment(
    recipe: Recipe,
    place: Path,
    *,
    compiling: bool,
    package: str,
    check: Check,
    say: Say,
) -> Interpreter:
    """Make the environment of a recipe in the folder ``place``.

    Args:
        recipe: What to make it from.
        place: Its folder; what is there is replaced.
        compiling: Whether packages may be compiled. Else only binary packages are installed.
        package: The package that must be in it.
        check: Called with its interpreter before it counts as made.
        say: Called with each line of progress.

    Raises:
        PythonEnvironmentError: it cannot be made. Nothing incomplete is left.
    """
    python = _find_python(recipe)
    how = "; packages without binaries are compiled" if compiling else ""
    say(f"making the pipelines' environment from {recipe.title}{how}")
    return _build(python, _Order(recipe, place, compiling, package, check, say))


def _find_python(recipe: Recipe) -> Path:
    """An interpreter of the version asked for: one of uv's own, on PATH, or of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv = sorted((root / "versions").glob("*/bin"), key=_version_of, reverse=True)
    # pyenv's shims answer only for the versions that are switched on in some folder.
    path = [p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != f"{root}/shims"]
    wanted = os.path.expanduser(recipe.python)
    command = [uv.find_uv_bin(), "python", "find", "--no-project", "--system", wanted]
    environment = isolated_environment()
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
        next=f"get it with `{uv_command()} python install {number[0] if number else '3.11'}`, "
        "or name an interpreter with --python",
    )


def _version_of(folder: Path) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", folder.parent.name)[:3])


def _build(python: Path, order: _Order) -> Interpreter:
    recipe, place = order.recipe, order.place
    try:
        if place.exists():
            shutil.rmtree(place)
        _uv(["venv", "--no-project", "--python", str(python), str(place)], recipe, order.say)
        recipe = _install(order)
        found = _tested(order)
        content = {
            "python": found.version,
            "packages": {order.package: found.tsdat},
            "from": recipe.title,
            "parts": dict(recipe.parts),
            "only from conda": list(recipe.conda_only),
        }
        _write_last(place / COMPLETE, json.dumps(content, indent=1))
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
    order.say(f"made {place} with Python {found.version} and {order.package} {found.tsdat}")
    return found


def _install(order: _Order) -> Recipe:
    """Install the packages, except those that only conda has; returns the recipe without them."""
    recipe = order.recipe
    arguments = ["pip", "install", "--python", str(python_in(order.place)), "--compile-bytecode"]
    if recipe.exclude_newer:
        arguments += ["--exclude-newer", recipe.exclude_newer]
    if not order.compiling:
        arguments += ["--only-binary", ":all:"]
    while True:
        source = recipe.write_requirements(order.place)
        try:
            _uv([*arguments, "-r", str(source)], recipe, order.say)
        except NotOnPyPI as error:
            # Packages that only conda has; no list of them is complete, so the first attempt tells.
            recipe = recipe.without(error.names)
        else:
            _report_conda_only(recipe, order.say)
            return recipe


def _report_conda_only(recipe: Recipe, say: Say) -> None:
    for name in recipe.conda_only:
        users = dependents(recipe.repository, name)
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        what = f"it is used in {shown}" if users else "it does not seem to be used"
        say(f"left out {name}, which is only available from conda; {what}")


def _tested(order: _Order) -> Interpreter:
    recipe, package, python = order.recipe, order.package, python_in(order.place)
    version, found, packages = probe(
        python, package, f"uv made {python}", "try `tidegate env` again"
    )
    if found:
        _check_import(recipe, python, package)
        order.check(python)
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
        done = run_python(python, [f"import {package}"], 10 * PROBE_TIME)
        failed, errors = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        failed, errors = 1, f"it has not ended after {10 * PROBE_TIME:.0f} s"
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
        env=isolated_environment(),
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
