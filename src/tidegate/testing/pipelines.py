"""Which pipelines there are to try and test: those of a workspace, or of a bare repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.process import WorkerProcess
from tidegate.workspace import environment
from tidegate.workspace.discovery import discover
from tidegate.workspace.environment_options import find_interpreter
from tidegate.workspace.folder import CONFIG, Workspace
from tidegate.workspace.loading import load_without_tsdat
from tidegate.workspace.repository import pipeline_folder
from tidegate.workspace.tsdat_answers import check_imports

Say = Callable[[str], None]

# A file that is edited twice in one second, and stays as long, would be taken from the first
# edit's byte code.
_NO_BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Pipelines:
    """The pipelines of a repository, and the interpreter that runs them."""

    repository: Path
    """The root of the pipelines repository."""
    python: tuple[str, ...]
    """The command of the pipelines' interpreter."""
    configs: tuple[Config, ...]
    """All configs; Tsdat was not asked about them, so that a broken one stops only itself."""
    workspace: Workspace | None = None
    """The workspace; None for a repository without a pipelines_config.yml."""

    def config(self, id: str) -> Config:
        """The config of that id; raises UsageError, listing what there is."""
        return _named(self.configs, id)

    def worker(self) -> WorkerProcess:
        """A worker that reads the pipelines' code again for each run; not started yet."""
        return WorkerProcess(self.python, self.repository, _NO_BYTE_CODE, fork=True)


def _named(configs: Sequence[Config], id: str) -> Config:
    for config in configs:
        if config.id == id:
            return config
    known = ", ".join(config.id for config in configs)
    raise UsageError(f"there is no config {id}", next=f"there is: {known}")


def open_pipelines(
    folder: Path,
    *,
    about: str | None = None,
    python: str | None = None,
    say: Say = lambda text: None,
) -> Pipelines:
    """The pipelines of the workspace, or of the pipelines repository, in ``folder``.

    Raises:
        UsageError: there is no config ``about``; it is known before an environment is made.
        TidegateError: there are none, the config has problems, or there is no interpreter.
    """
    root = Path(os.path.abspath(folder))
    if not (root / CONFIG).exists() and root.name != CONFIG and (root / "pipelines").is_dir():
        return _bare_repository(root, about, python, say)
    loaded = load_without_tsdat(Workspace.at(folder))
    repository = Path(os.path.abspath(loaded.repository))
    configs = _with_undeployed(loaded.manifest.configs, repository)
    if about is not None:
        _named(configs, about)
    command = find_interpreter(loaded.workspace, loaded.config, python=python, say=say)
    return Pipelines(repository, command, configs, loaded.workspace)


def _with_undeployed(configs: tuple[Config, ...], repository: Path) -> tuple[Config, ...]:
    """The configs, and those of pipelines that pipelines_config.yml does not name (yet)."""
    folders = {pipeline_folder(config.config_file) for config in configs}
    names = {config.id for config in configs}
    more = [
        config
        for config in _discovered(repository)
        if pipeline_folder(config.config_file) not in folders and config.id not in names
    ]
    return (*configs, *more)


def _bare_repository(root: Path, about: str | None, python: str | None, say: Say) -> Pipelines:
    configs = _discovered(root)
    if not configs:
        discover(root)  # says what is missing
    if about is not None:
        _named(configs, about)
    found = environment.find(root, root, python=python)
    if isinstance(found, environment.Missing):
        say(f"the pipelines need an environment: {found.why}")
        files = list(dict.fromkeys(config.config_file for config in configs))
        check = partial(check_imports, root, files=files)
        found = environment.make(root, root, check=check, say=say)
    return Pipelines(root, (str(found.python),), configs)


def _discovered(repository: Path) -> tuple[Config, ...]:
    """A config for each pipeline config file of the repository; none where it has none."""
    try:
        found = discover(repository)
    except UsageError:
        return ()
    return tuple(
        Config(one.name, name, one.kind, "S3" if one.kind == "Ingest" else "Cron", file)
        for one in found
        for name, file in one.configs.items()
    )
