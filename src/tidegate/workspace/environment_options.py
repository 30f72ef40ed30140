"""Which Python and which packages the pipelines' environment gets: from the config and commands.

The config's ``python:`` and ``exclude_newer:`` come first. Without them, the last options of
``tidegate env`` are used; they are saved in the workspace.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tidegate.config import ConfigFile, PipelinesConfig, config_files
from tidegate.errors import PythonEnvironmentError
from tidegate.runtime.records import dumps, loads
from tidegate.workspace import environment
from tidegate.workspace.folder import Workspace
from tidegate.workspace.interpreter import Interpreter
from tidegate.workspace.recipe import dependents, read_recipe
from tidegate.workspace.tsdat_answers import check_imports

Say = Callable[[str], None]
_FILE = "environment.json"


@dataclass(frozen=True)
class EnvironmentOptions:
    """How to make the pipelines' environment."""

    python: str | None = None
    """A Python version, or the path of an interpreter."""
    exclude_newer: str | None = None
    """Ignore packages published after this date, YYYY-MM-DD."""


def environment_options(model: PipelinesConfig, workspace: Workspace) -> EnvironmentOptions:
    """The config's options, and the saved ones where the config has none."""
    saved = read_saved_options(workspace)
    date = f"{model.exclude_newer:%Y-%m-%d}" if model.exclude_newer else None
    return EnvironmentOptions(model.python or saved.python, date or saved.exclude_newer)


def read_saved_options(workspace: Workspace) -> EnvironmentOptions:
    """The options that ``tidegate env`` was given last; empty when there are none."""
    try:
        return loads(EnvironmentOptions, (workspace.state / _FILE).read_text())
    except (OSError, ValueError):
        return EnvironmentOptions()


def save_options(workspace: Workspace, options: EnvironmentOptions) -> None:
    """Save the options of ``tidegate env`` for later commands."""
    workspace.prepare()
    (workspace.state / _FILE).write_text(dumps(options) + "\n")


def make_environment(
    workspace: Workspace, config: ConfigFile, given: EnvironmentOptions, say: Say
) -> Path:
    """Make the pipelines' environment, and save the options ``given`` on the command line.

    Returns the path of its interpreter.

    Raises:
        PythonEnvironmentError: it cannot be made.
    """
    model, repository = config.require(), config.repository
    assert repository is not None
    options = environment_options(model, workspace)
    made = environment.make(
        repository,
        workspace.root,
        configured=given.python or options.python,
        exclude_newer=given.exclude_newer or options.exclude_newer,
        check=partial(check_imports, repository, files=config_files(model)),
        say=say,
    )
    saved = read_saved_options(workspace)
    save_options(
        workspace,
        EnvironmentOptions(
            given.python or saved.python, given.exclude_newer or saved.exclude_newer
        ),
    )
    return Path(made.python)


def conda_notes(workspace: Workspace, config: ConfigFile) -> list[str]:
    """A sentence for each package that only conda has, as long as pipelines use it.

    Packages that PyPI turned out not to have when the environment was made are included.
    """
    model, repository = config.require(), config.repository
    assert repository is not None
    options = environment_options(model, workspace)
    names = environment.only_from_conda(
        repository, workspace.root, options.python, options.exclude_newer
    )
    found = []
    for name in names:
        if users := dependents(repository, name):
            more = f" and {len(users) - 3} more" if len(users) > 3 else ""
            found.append(
                f"{name} is only available from conda, and used in {', '.join(users[:3])}{more}"
            )
    return found


@dataclass(frozen=True)
class PipelinesEnvironment:
    """What the pipelines run with, besides their code."""

    command: tuple[str, ...]
    """The command that starts their interpreter."""
    identity: str
    """Changes with the version of Python, the packages, and the files that list them."""


def find_interpreter(
    workspace: Workspace, config: ConfigFile, *, python: str | None, say: Say
) -> tuple[str, ...]:
    """The command that starts the pipelines' interpreter; makes the environment if it is missing.

    Raises:
        PythonEnvironmentError: there is no usable interpreter, and none can be made.
    """
    return find_environment(workspace, config, python=python, say=say).command


def find_environment(
    workspace: Workspace, config: ConfigFile, *, python: str | None, say: Say
) -> PipelinesEnvironment:
    """The environment of the pipelines; makes it if it is missing.

    Raises:
        PythonEnvironmentError: there is no usable interpreter, and none can be made.
    """
    model, repository = config.require(), config.repository
    assert repository is not None
    options = environment_options(model, workspace)
    found = environment.find(
        repository,
        workspace.root,
        python=python,
        configured=options.python,
        exclude_newer=options.exclude_newer,
    )
    if isinstance(found, environment.Missing):
        say(f"the pipelines need a Python environment: {found.why}")
        found = environment.make(
            repository,
            workspace.root,
            configured=options.python,
            exclude_newer=options.exclude_newer,
            check=partial(check_imports, repository, files=config_files(model)),
            say=say,
        )
    return PipelinesEnvironment((str(found.python),), _identity(found, repository, options))


def _identity(found: Interpreter, repository: Path, options: EnvironmentOptions) -> str:
    try:
        parts = dict(read_recipe(repository, options.python, options.exclude_newer).parts)
    except PythonEnvironmentError:  # no requirements: an interpreter was given
        parts = {}
    for file in sorted([*repository.glob("*.lock"), *repository.glob("*-lock.y*ml")]):
        with contextlib.suppress(OSError):
            parts[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return json.dumps([found.version, found.packages, parts], sort_keys=True)
