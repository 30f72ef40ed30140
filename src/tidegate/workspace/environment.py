"""The interpreter that the pipelines run with, and an environment for them where there is none.

Environments that Tidegate makes lie below ``.tidegate/env/``, each in a folder named for all that
went into it, and count only once a file in them says that they are complete. So a build that was
interrupted is never taken for a good one, and a changed requirement makes another folder.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uv
from filelock import FileLock, Timeout

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace.recipe import OLDEST, Recipe, dependents, read_recipe
from tidegate.workspace.uv_messages import NotOnPyPI, failure, shortened

Say = Callable[[str], None]

_GOOD = "tidegate-ok.json"
_PROBE_TIME = 120.0
_PROBE = """
import json, platform, sys
try:
    from importlib.metadata import version
    found = version(sys.argv[1])
except Exception:
    found = ""
print(json.dumps([platform.python_version(), found]))
"""
# What would make uv or an interpreter work on another environment than the one it is given.
_FOREIGN = (
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


@dataclass(frozen=True)
class Missing:
    """There is no interpreter to run the pipelines with: an environment must be made."""

    why: str
    """The reason, for a person: there is none yet, or what has changed since it was made."""


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

    That of ``python`` (an executable, or the folder of an environment), else of the repository's
    ``.venv``, else the environment that ``make`` made, if nothing that went into it has changed.

    Raises:
        PythonEnvironmentError: the interpreter that was named, or the repository's, cannot be
            used; or an environment must be made and the repository does not say of what.
    """
    if python is not None:
        return _usable(_executable(python), "option", package)
    venv = repository / ".venv"
    if venv.is_dir():
        return _usable(_python_in(venv), "repository", package)
    recipe = read_recipe(repository, configured, exclude_newer)
    good = _made(_home(workspace) / recipe.stamp, package)
    if good is not None:
        return good
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
    """The environment that the repository asks for, made if it is not there yet.

    Args:
        repository: The root of the pipelines repository.
        workspace: The workspace, in whose ``.tidegate/env`` it is made.
        configured: The Python version (or an interpreter's path) that the config asks for.
        exclude_newer: Packages published after this date do not exist.
        say: Gets progress, a line at a time.
        package: What must be in it.

    Raises:
        PythonEnvironmentError: it cannot be made; nothing is left that counts as one.
    """
    recipe = read_recipe(repository, configured, exclude_newer)
    home = _home(workspace)
    place = home / recipe.stamp
    with _locked(home, say):
        good = _made(place, package)
        if good is None:
            python = _find_python(recipe)
            say(f"making the pipelines' environment from {recipe.title}")
            good = _build(recipe, place, python, say, package)
            _remove_old(home, keep=place)
        else:
            say("the pipelines' environment is up to date")
    return good


# --- looking --------------------------------------------------------------------------------------


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
    """The interpreter, once it has answered that it can be used."""
    named = {"option": "--python", "repository": "the repository's .venv", "made": "uv"}[origin]
    instead = {
        "option": "name another with --python, or leave it out",
        "repository": "remove or repair that .venv, or name another interpreter with --python",
        "made": "this is a fault of uv or of the machine; try `tidegate env` again",
    }[origin]
    version, found = _probe(python, package, f"{named} names {python}", instead)
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise PythonEnvironmentError(
            f"{named} names {python}, which is Python {version}",
            why=f"Tidegate's workers need Python {oldest} or newer",
            next=instead,
        )
    if not found:
        missing = "Tsdat" if package == "tsdat" else package
        raise PythonEnvironmentError(
            f"{missing} is not installed beside {python}",
            why=f"the pipelines run with it, because {named} names it",
            next=f"install it there (`{_uv_command()} pip install --python {python} {package}`), "
            f"or {instead}",
        )
    return Interpreter(python, version, found, origin)


def _probe(python: Path, package: str, what: str, instead: str) -> tuple[str, str]:
    """The version of an interpreter and of a package beside it, "" when it is not there."""
    if not python.exists():
        broken = "is a link to nothing" if python.is_symlink() else "does not exist"
        raise PythonEnvironmentError(f"{what}, which {broken}", next=instead)
    try:
        done = subprocess.run(
            [python, "-c", _PROBE, package],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            check=False,
            timeout=_PROBE_TIME,
        )
        version, found = json.loads(done.stdout)
        return str(version), str(found)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(getattr(error, "strerror", None) or error)
    except (ValueError, TypeError):
        lines = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()
        why = lines[-1][:200]
    raise PythonEnvironmentError(f"{what}, which is no Python interpreter", why=why, next=instead)


def _made(place: Path, package: str) -> Interpreter | None:
    """The complete environment in ``place``, if there is one and its interpreter still exists."""
    try:
        noted = json.loads((place / _GOOD).read_text(encoding="utf-8"))
        version, found = str(noted["python"]), str(noted["packages"][package])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    python = _python_in(place)
    return Interpreter(python, version, found, "made") if os.access(python, os.X_OK) else None


def _why(home: Path, recipe: Recipe) -> str:
    """Why there is no environment for ``recipe``: what differs from the newest that was made."""
    if (home / recipe.stamp / _GOOD).exists():
        return "the Python that it was made with is gone"
    for place in _complete(home):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads((place / _GOOD).read_text(encoding="utf-8"))["parts"]
            changed = [name for name, part in recipe.parts.items() if before.get(name) != part]
            changed += [name for name in before if name not in recipe.parts]
            if changed:
                return f"what it is made from has changed: {', '.join(changed)}"
    return "there is none yet"


def _complete(home: Path) -> list[Path]:
    """The complete environments, the latest first."""
    marks = sorted(home.glob(f"*/{_GOOD}"), key=lambda mark: mark.stat().st_mtime, reverse=True)
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
            why=shortened(done.stderr),
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
        noted = {
            "python": found.version,
            "packages": {package: found.tsdat},
            "from": recipe.title,
            "parts": dict(recipe.parts),
        }
        _write_last(place / _GOOD, json.dumps(noted, indent=1))
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise PythonEnvironmentError(
            f"the environment cannot be made in {place}",
            why=error.strerror or str(error),
            next="make the workspace writable, or free some space",
        ) from error
    except BaseException:  # Ctrl-C too; after kill -9 the missing mark says that it is no good
        shutil.rmtree(place, ignore_errors=True)
        raise
    say(f"made {place} with Python {found.version} and {package} {found.tsdat}")
    return found


def _install(recipe: Recipe, place: Path, say: Say) -> Recipe:
    """Install what the recipe asks for, but for what only conda has; the recipe as carried out."""
    while True:
        arguments = ["pip", "install", "--python", str(_python_in(place)), "--compile-bytecode"]
        if recipe.exclude_newer:
            arguments += ["--exclude-newer", recipe.exclude_newer]
        source = recipe.write_requirements(place)
        try:
            _uv([*arguments, "-r", str(source)], recipe, say)
        except NotOnPyPI as error:
            # What environment.yml asks of conda may be on conda alone; no list of it is complete.
            recipe = recipe.without(error.names)
        else:
            _tell_of_conda(recipe, say)
            return recipe


def _tell_of_conda(recipe: Recipe, say: Say) -> None:
    for name in recipe.conda_only:
        users = dependents(recipe.repository, name)
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        what = f"these depend on it: {shown}" if users else "nothing here seems to depend on it"
        say(f"{name} is on conda alone and was left out; {what}")


def _tested(recipe: Recipe, place: Path, package: str) -> Interpreter:
    python = _python_in(place)
    version, found = _probe(python, package, f"uv made {python}", "try `tidegate env` again")
    if found:
        return Interpreter(python, version, found, "made")
    raise PythonEnvironmentError(
        f"{'Tsdat' if package == 'tsdat' else package} is not among the requirements",
        why="the pipelines cannot run without it",
        next=f"add a line such as `tsdat>=0.10,<0.11` to {recipe.source.name}",
        where=str(recipe.source),
    )


def _write_last(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, after all that was written before."""
    os.sync()  # a power cut must not leave the mark and take the packages
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _remove_old(home: Path, keep: Path) -> None:
    """Remove what nobody needs; the one before stays, for a service may run with it still."""
    complete = [place for place in _complete(home) if place != keep]
    for folder in home.iterdir():
        if folder.is_dir() and folder not in (keep, *complete[:1]):
            (folder / _GOOD).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


# --- uv -------------------------------------------------------------------------------------------


def _uv_command() -> str:
    return f"{sys.executable} -m uv"


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    # A download that was not asked for is no surprise to spring on anyone, and without a network it
    # only makes the message late.
    return {**environment, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def _uv(arguments: Sequence[str], recipe: Recipe, say: Say) -> None:
    """Run uv in the repository; raises PythonEnvironmentError with what matters of its message."""
    told: list[str] = []
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
                told.append(line)
                if re.match(r"\s*(Resolved|Prepared|Installed|Bytecode compiled)\b", line):
                    say(line.strip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise failure("".join(told), recipe)
