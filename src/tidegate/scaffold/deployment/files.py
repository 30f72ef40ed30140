"""The files of a deployment repository: their content, and how they are written."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tidegate.config.schema import text as schema_text
from tidegate.errors import StorageError, UsageError
from tidegate.scaffold.config_check import check_config
from tidegate.scaffold.deployment.answers import Answers
from tidegate.scaffold.deployment.config_text import (
    key_lines,
    pipeline_lines,
    repository_lines,
)
from tidegate.workspace.folder import CONFIG

SCHEMA = "pipelines_config.schema.json"
WORKSPACE = "tidegate.code-workspace"
CDK_CLI = "2.1148.1"
"""The version of npm's aws-cdk that works with the CDK of ``tidegate[cdk]``."""
PATHS = {
    # Under other names here, because git and VS Code would use them.
    "gitattributes": ".gitattributes",
    "gitignore": ".gitignore",
    "devcontainer.json": ".devcontainer/devcontainer.json",
    "deploy.yml": ".github/workflows/deploy.yml",
}
"""The paths of the files from these templates; the others are written under their own names."""
EDITED = (CONFIG, "cdk_app.py")
"""Files that people edit: they are never overwritten, not even with --force."""
BACKUP_SUFFIX = ".old"
"""With --force, a file that is replaced is kept under its name with this suffix."""

State = Literal["new", "same", "differs"]
Action = Literal["written", "as it is", "kept", "replaced"]


class _Template(string.Template):
    """A template with ``@@``, which shell scripts, compose files and workflows never have."""

    delimiter = "@@"


@dataclass(frozen=True)
class File:
    """One file that would be written."""

    path: str
    """Its path in the deployment repository."""
    content: bytes
    """Its content, with line feeds only at the ends of lines."""
    state: State
    """How it compares with the file in the folder."""

    @property
    def executable(self) -> bool:
        """Whether it is a program."""
        return self.path.endswith(".sh")


@dataclass(frozen=True)
class Written:
    """What was done with one file."""

    path: str
    """Its path in the deployment repository."""
    action: Action
    """What was done."""


@dataclass(frozen=True)
class DeploymentFiles:
    """All files of a deployment repository."""

    folder: Path
    """The folder of the repository."""
    answers: Answers
    """The values that are filled in."""
    files: tuple[File, ...]
    """The files, sorted by path."""

    def write(self, *, force: bool = False) -> tuple[Written, ...]:
        """Write missing files; with ``force`` also those that differ, with a backup.

        The files in ``EDITED`` are never overwritten.

        Raises:
            StorageError: a file cannot be written.
        """
        return tuple(Written(file.path, self._write(file, force=force)) for file in self.files)

    def _write(self, file: File, *, force: bool) -> Action:
        path = self.folder / file.path
        if file.state == "same":
            return "as it is"
        if file.state == "differs" and (file.path in EDITED or not force):
            return "kept"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.state == "differs":
                path.replace(path.with_name(path.name + BACKUP_SUFFIX))
            part = path.with_name(path.name + ".part")
            part.write_bytes(file.content)
            part.chmod(0o755 if file.executable else 0o644)
            part.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}",
                why=str(error),
                next="make the folder writable and run the same command again",
            ) from error
        return "written" if file.state == "new" else "replaced"


def plan(folder: Path, answers: Answers) -> DeploymentFiles:
    """Every file that would be written, and how it compares with the folder.

    Raises:
        UsageError: the folder is a file, or cannot be read.
        ConfigurationError: the config would have problems.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", next="name a folder, or a new one")
    contents = _contents(folder, answers)
    check_config(contents[CONFIG].decode())
    files = (
        File(path, content, _state(folder / path, content))
        for path, content in sorted(contents.items())
    )
    return DeploymentFiles(folder, answers, tuple(files))


def _contents(folder: Path, answers: Answers) -> dict[str, bytes]:
    values = _values(folder, answers)
    contents = {SCHEMA: schema_text().encode(), WORKSPACE: _json(_workspace(answers))}
    for template in resources.files("tidegate.scaffold.deployment").joinpath("templates").iterdir():
        if template.is_dir():  # compiled code: one of the files is a program
            continue
        text = template.read_text("utf-8")
        contents[PATHS.get(template.name, template.name)] = (
            _Template(text).substitute(values).encode()
        )
    if answers.wheel is not None:
        contents[answers.wheel.name] = answers.wheel.content
    return contents


def _values(folder: Path, answers: Answers) -> dict[str, str]:
    """The values of the names in the templates."""
    keys = answers.keys
    name = folder.resolve().name
    repository = keys.get("pipelines_repo_name", "")
    return {
        **key_lines(answers),
        "aws_region": keys.get("region", "us-west-2"),
        "branch": answers.branch,
        "cdk_cli": CDK_CLI,
        "deployment": keys.get("aws_repo_name", name),
        "extensions": json.dumps(EXTENSIONS),
        "owner": keys.get("github_org", "${{ github.repository_owner }}"),
        "pipelines": pipeline_lines(answers),
        "pipelines_repository": repository or "${{ vars.PIPELINES_REPOSITORY }}",
        "repository_name": repository or "your pipelines repository",
        "repository_lines": repository_lines(answers),
        "settings": json.dumps(SETTINGS),
        "tidegate": answers.tidegate,
        "tidegate_cdk": answers.tidegate.replace("[aws,deploy]", "[aws,deploy,cdk]"),
    }


EXTENSIONS = (
    "redhat.vscode-yaml",
    "ms-vscode-remote.remote-containers",
    "ms-python.python",
    "amazonwebservices.aws-toolkit-vscode",
    "timonwong.shellcheck",
)
"""The extensions that VS Code recommends."""
SETTINGS: Mapping[str, Any] = {
    "files.eol": "\n",
    "yaml.schemas": {f"./{SCHEMA}": CONFIG},
    "yaml.validate": True,
    "[yaml]": {"editor.tabSize": 2, "editor.insertSpaces": True},
    "search.exclude": {"**/credentials": True, "**/sso/cache": True, "**/cli/cache": True},
}
"""VS Code's settings: line feeds as on Linux, the schema of the config, and no search in
credentials."""
PROFILES = {"name": "~/.aws, in the container", "path": "/home/tidegate/.aws"}
"""The folder of AWS's profiles, where the container has it; VS Code knows no ``~``."""


def _workspace(answers: Answers) -> dict[str, Any]:
    """VS Code's workspace: this folder, the pipelines repository if it is known, and profiles."""
    folders = [{"path": "."}]
    if answers.pipelines_path and answers.pipelines_path != ".":
        folders.append({"path": answers.pipelines_path})
    folders.append(PROFILES)
    return {
        "folders": folders,
        "settings": SETTINGS,
        "extensions": {"recommendations": [*EXTENSIONS]},
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _state(path: Path, content: bytes) -> State:
    if not os.path.lexists(path):
        return "new"
    try:
        # A checkout on Windows may have other line ends.
        present = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", why=str(error), next="move or delete it, and try again"
        ) from error
    return "same" if present == content.replace(b"\r\n", b"\n") else "differs"
