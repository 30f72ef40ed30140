"""Load a workspace: read its config, find the pipelines' interpreter, and ask Tsdat about it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tidegate import config as configuration
from tidegate.config import ConfigFile, ConfigProblems, Note
from tidegate.config.notices import notices_in_use
from tidegate.errors import TidegateError, UsageError
from tidegate.runtime.descriptions import describe_files
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.release_notes import package_folders
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.code_watch import CodeWatch
from tidegate.workspace.environment_options import find_environment
from tidegate.workspace.folder import Workspace
from tidegate.workspace.repository import releases

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoadedWorkspace:
    """A workspace with a valid config."""

    workspace: Workspace
    """Its folders."""
    config: ConfigFile
    """Its config file."""
    repository: Path
    """The root of the pipelines repository."""
    python: tuple[str, ...]
    """The command that starts the pipelines' interpreter; empty if Tsdat was not asked."""
    manifest: Manifest
    """Its configs, with all settings."""
    notes: tuple[Note, ...] = ()
    """Remarks on the config: allowed, but perhaps not intended."""
    code: CodeWatch | None = field(default=None, compare=False)
    """Detects changes of config, code and packages since they were read; None without Tsdat."""
    given: tuple[str | None, Path | None, bool] = (None, None, False)
    """The interpreter and the repository that were given instead of the config's; ``tolerant``."""
    rejected: tuple[Config, ...] = ()
    """Configs that Tsdat rejects, where the others run without them."""

    def watch(self) -> CodeWatch:
        """Detects changes of config, code and packages from now on."""
        watch = _watch(self.workspace, self.config)
        watch.watch_packages(package_folders(Path(self.python[0])) if self.python else ())
        return watch

    def again(self, say: Say) -> LoadedWorkspace:
        """The workspace as it is now; see ``load_workspace``."""
        python, repository, tolerant = self.given
        return load_workspace(
            self.workspace, python=python, repository=repository, tolerant=tolerant, say=say
        )

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        """The ledger; it is created if it does not exist."""
        self.workspace.prepare()
        with SqliteLedger(self.workspace.ledger) as ledger:
            yield ledger

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log; empty if the log was deleted."""
        try:
            text = (self.workspace.state / record.log).read_text("utf-8", "replace")
        except OSError:
            return []
        return text.splitlines()


def read_config(workspace: Workspace, repository: Path | None = None) -> ConfigFile:
    """Read the config file of a workspace.

    ``repository`` is the pipelines repository to use instead of the one that the config names.

    Raises:
        ConfigProblems: the config has problems.
    """
    config = configuration.read(short_path(workspace.config), repository=repository)
    if config.model is None or config.repository is None:
        raise ConfigProblems(config.file, config.problems)
    return config


def load_workspace(
    workspace: Workspace,
    *,
    python: str | None = None,
    repository: Path | None = None,
    tolerant: bool = False,
    say: Say = lambda text: None,
) -> LoadedWorkspace:
    """Read the config, find or make the environment, and ask Tsdat about each config file.

    ``repository`` is the pipelines repository to use instead of the one that the config names.
    ``tolerant`` leaves out configs that Tsdat rejects, and says so, as long as one is left.

    Raises:
        ConfigProblems: the config has problems, or Tsdat rejects a config file.
        PythonEnvironmentError: the pipelines' environment is missing and cannot be made.
    """
    given = python, repository, tolerant
    # Read after the watch begins, which needs to know where the code is: then no change is missed.
    code = _watch(workspace, read_config(workspace, repository))
    config = read_config(workspace, repository)
    model = config.require()
    assert config.repository is not None
    repository = Path(os.path.abspath(config.repository))
    environment = find_environment(workspace, config, python=python, say=say)
    code.watch_packages(package_folders(Path(environment.command[0])))
    command, files = environment.command, configuration.config_files(model)
    hashes = releases(repository, _by_pipeline(config), environment.identity)
    described = _describe(workspace, repository, command, files, hashes)
    resolution = configuration.resolve(config, described)
    if resolution.manifest is None and not (tolerant and resolution.others):
        raise ConfigProblems(config.file, resolution.problems)
    for problem in resolution.problems:
        say(f"error: {problem}")
    if resolution.rejected:
        say(f"these do not run until it is corrected: {_ids(resolution.rejected)}")
    return LoadedWorkspace(
        workspace,
        config,
        repository,
        command,
        Manifest(resolution.others, hashes, notices_in_use(model)),
        resolution.notes,
        code,
        given,
        resolution.rejected,
    )


def _ids(configs: Iterable[Config]) -> str:
    return ", ".join(config.id for config in configs)


def _watch(workspace: Workspace, config: ConfigFile) -> CodeWatch:
    assert config.repository is not None
    repository = Path(os.path.abspath(config.repository))
    return CodeWatch(workspace.config, repository, _by_pipeline(config))


def _by_pipeline(config: ConfigFile) -> dict[str, list[str]]:
    pipelines = config.require().pipelines
    return {p.name: [c.config_file_path for c in p.configs.values()] for p in pipelines}


def load_without_tsdat(workspace: Workspace) -> LoadedWorkspace:
    """Read the config only, for commands that read the ledger: starts and makes nothing.

    Raises:
        ConfigProblems: the config has problems.
    """
    config = read_config(workspace)
    resolution = configuration.resolve(config, None)
    if resolution.manifest is None:
        raise ConfigProblems(config.file, resolution.problems)
    assert config.repository is not None
    return LoadedWorkspace(workspace, config, config.repository, (), resolution.manifest)


def _describe(
    workspace: Workspace,
    repository: Path,
    command: tuple[str, ...],
    files: Iterable[str],
    hashes: Mapping[str, str],
) -> dict[str, Pipeline | TidegateError]:
    """Ask Tsdat, or take the cached answer for the same code: Tsdat takes seconds to start."""
    identity = json.dumps([sorted(hashes.items()), list(command), str(repository)])
    name = hashlib.sha256(identity.encode()).hexdigest()
    cache = workspace.state / "described.json"
    try:
        cached = json.loads(cache.read_text())
        if cached["of"] == name:
            return {file: from_json(Pipeline, cached["files"][file]) for file in files}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    described = describe_files(command, repository, files)
    if all(isinstance(answer, Pipeline) for answer in described.values()):
        workspace.state.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"of": name, "files": to_json(described)})
        part = cache.with_suffix(".part")
        part.write_text(text)
        part.replace(cache)
    return described


def short_path(path: Path) -> Path:
    """The path relative to the current folder if it is in it, else as it is; for messages."""
    try:
        relative = Path(os.path.relpath(path))
    except ValueError:  # another drive
        return path
    return relative if not str(relative).startswith("..") else path


def input_key(workspace: Workspace, file: Path) -> str | None:
    """The key of a file in ``input/``: its path there. None for a file elsewhere.

    Raises:
        UsageError: there is no such file.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", next="name files that exist")
    place = Path(os.path.abspath(file))
    if workspace.input in place.parents:
        return place.relative_to(workspace.input).as_posix()
    return None
