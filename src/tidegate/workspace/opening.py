"""What a command works on: a workspace that was read, its environment, its manifest, its ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate import config as configuration
from tidegate.config import Note, PipelinesConfig, Problem, Reading
from tidegate.errors import ConfigurationError, TidegateError, UsageError
from tidegate.runtime.manifest import Manifest, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import dumps, from_json, loads, to_json
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace import environment
from tidegate.workspace.folder import Workspace
from tidegate.workspace.repository import releases

Say = Callable[[str], None]
_WISHES = "environment.json"


@dataclass(frozen=True)
class Session:
    """A workspace whose config is good."""

    workspace: Workspace
    """Its places."""
    reading: Reading
    """Its config file as it was read."""
    repository: Path
    """The root of the pipelines repository."""
    python: tuple[str, ...]
    """The command of the pipelines' interpreter; empty where Tsdat was not asked."""
    manifest: Manifest
    """Its configs, resolved."""
    notes: tuple[Note, ...] = ()
    """What is allowed and perhaps not meant."""

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        """The ledger, made when there is none."""
        self.workspace.prepare()
        with SqliteLedger(self.workspace.ledger) as ledger:
            yield ledger

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log; none when it is not kept any more."""
        try:
            text = (self.workspace.state / record.log).read_text("utf-8", "replace")
        except OSError:
            return []
        return text.splitlines()


class Problems(ConfigurationError):
    """All that is wrong with a config file."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            f"{file} has {'a problem' if count == 1 else f'{count} problems'}",
            why="\n".join(str(problem) for problem in self.problems),
            next="mend it, and see with `tidegate check`",
        )


def read(workspace: Workspace, repository: Path | None = None) -> Reading:
    """The config file of a workspace; ``repository`` overrules where it says the pipelines are.

    Raises:
        Problems: there is anything wrong with it.
    """
    reading = configuration.read(shown(workspace.config), repository=repository)
    if reading.model is None or reading.repository is None:
        raise Problems(reading.file, reading.problems)
    return reading


def open_session(
    workspace: Workspace,
    *,
    python: str | None = None,
    repository: Path | None = None,
    say: Say = lambda text: None,
) -> Session:
    """Read the config, find or make the environment, and ask Tsdat about each config file.

    ``repository`` overrules where the config says the pipelines are.

    Raises:
        Problems: there is anything wrong with the config, or Tsdat rejects a config file.
        PythonEnvironmentError: the pipelines' environment is missing and cannot be made.
    """
    reading = read(workspace, repository)
    model = reading.require()
    assert reading.repository is not None
    repository = Path(os.path.abspath(reading.repository))
    command = interpreter(workspace, reading, python=python, say=say)
    files = configuration.config_files(model)
    by_pipeline = {
        p.name: [c.config_file_path for c in p.configs.values()] for p in model.pipelines
    }
    hashes = releases(repository, by_pipeline)
    described = _describe(workspace, repository, command, files, hashes)
    resolution = configuration.resolve(reading, described)
    if resolution.manifest is None:
        raise Problems(reading.file, resolution.problems)
    manifest = replace(resolution.manifest, releases=hashes)
    return Session(workspace, reading, repository, command, manifest, resolution.notes)


def glance(workspace: Workspace) -> Session:
    """A session for looking at the ledger: Tsdat is not asked, nothing is made or started.

    Raises:
        Problems: there is anything wrong with the config.
    """
    reading = read(workspace)
    resolution = configuration.resolve(reading, None)
    if resolution.manifest is None:
        raise Problems(reading.file, resolution.problems)
    assert reading.repository is not None
    return Session(workspace, reading, reading.repository, (), resolution.manifest)


def interpreter(
    workspace: Workspace, reading: Reading, *, python: str | None, say: Say
) -> tuple[str, ...]:
    """The command of the pipelines' interpreter; its environment is made when it is missing.

    Raises:
        PythonEnvironmentError: it cannot be had.
    """
    model, repository = reading.require(), reading.repository
    assert repository is not None
    configured, newest = wanted(model, read_wishes(workspace))
    found = environment.find(
        repository, workspace.root, python=python, configured=configured, exclude_newer=newest
    )
    if isinstance(found, environment.Missing):
        say(f"the pipelines need an environment: {found.why}")
        found = environment.make(
            repository, workspace.root, configured=configured, exclude_newer=newest, say=say
        )
    return (str(found.python),)


@dataclass(frozen=True)
class Wishes:
    """What ``tidegate env`` was told of the environment, kept for the commands after it."""

    python: str | None = None
    """The Python version or interpreter."""
    exclude_newer: str | None = None
    """Packages published after this date do not exist."""


def wanted(model: PipelinesConfig, wishes: Wishes) -> tuple[str | None, str | None]:
    """The Python version and the date of packages: the config's word goes before the command's."""
    date = f"{model.exclude_newer:%Y-%m-%d}" if model.exclude_newer else None
    return model.python or wishes.python, date or wishes.exclude_newer


def read_wishes(workspace: Workspace) -> Wishes:
    """What ``tidegate env`` was told last; nothing when it was told nothing."""
    try:
        return loads(Wishes, (workspace.state / _WISHES).read_text())
    except (OSError, ValueError):
        return Wishes()


def keep_wishes(workspace: Workspace, wishes: Wishes) -> None:
    """Keep what ``tidegate env`` was told."""
    workspace.prepare()
    (workspace.state / _WISHES).write_text(dumps(wishes) + "\n")


def ask(
    repository: Path, command: Iterable[str], files: Iterable[str]
) -> dict[str, Pipeline | TidegateError]:
    """What Tsdat says of each config file."""
    worker = WorkerProcess(list(command), repository)
    try:
        return {file: worker.describe(file) for file in files}
    finally:
        worker.close()


def _describe(
    workspace: Workspace,
    repository: Path,
    command: tuple[str, ...],
    files: Iterable[str],
    hashes: Mapping[str, str],
) -> dict[str, Pipeline | TidegateError]:
    """Ask Tsdat, unless it was asked before about the very same code: it takes seconds to start."""
    import hashlib
    import json

    identity = json.dumps([sorted(hashes.items()), list(command), str(repository)])
    name = hashlib.sha256(identity.encode()).hexdigest()
    cache = workspace.state / "described.json"
    try:
        kept = json.loads(cache.read_text())
        if kept["of"] == name:
            return {file: from_json(Pipeline, kept["files"][file]) for file in files}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    described = ask(repository, command, files)
    if all(isinstance(answer, Pipeline) for answer in described.values()):
        workspace.state.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"of": name, "files": to_json(described)})
        part = cache.with_suffix(".part")
        part.write_text(text)
        part.replace(cache)
    return described


def shown(path: Path) -> Path:
    """A path as short as a person would write it."""
    try:
        relative = Path(os.path.relpath(path))
    except ValueError:  # another drive
        return path
    return relative if not str(relative).startswith("..") else path


def key_below(workspace: Workspace, file: Path) -> str | None:
    """The key of a file below ``input/``, None for one that lies elsewhere.

    Raises:
        UsageError: there is no such file.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", next="name files that exist")
    place = Path(os.path.abspath(file))
    if workspace.input in place.parents:
        return place.relative_to(workspace.input).as_posix()
    return None
