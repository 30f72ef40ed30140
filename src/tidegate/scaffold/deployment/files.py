"""The files of a deployment repository: what they hold, and putting them in their places."""

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
from tidegate.scaffold.deployment.answers import Answers
from tidegate.scaffold.deployment.config_text import (
    key_lines,
    pipeline_lines,
    repository_lines,
    require_good,
)
from tidegate.workspace.folder import CONFIG

SCHEMA = "pipelines_config.schema.json"
WORKSPACE = "tidegate.code-workspace"
CDK_CLI = "2.1148.1"
"""The version of npm's aws-cdk that works with the CDK of ``tidegate[cdk]``."""
PLACES = {
    # Not under their own names: git would heed them here.
    "gitattributes": ".gitattributes",
    "gitignore": ".gitignore",
    "devcontainer.json": ".devcontainer/devcontainer.json",
    "deploy.yml": ".github/workflows/deploy.yml",
}
"""Where a template goes; the others go by their own names."""
EDITED = (CONFIG, "cdk_app.py")
"""Files that people edit: they are never overwritten, not even with --force."""
EARLIER = ".old"
"""With --force, what was there is kept beside the new file, under its name and this."""

State = Literal["new", "same", "differs"]
Action = Literal["written", "as it is", "kept", "replaced"]


class _Template(string.Template):
    """Neither the shell, nor compose files, nor GitHub's workflows have ``@@`` in them."""

    delimiter = "@@"


@dataclass(frozen=True)
class File:
    """One file, as it would be."""

    path: str
    """Its path in the deployment repository."""
    content: bytes
    """What is in it; lines end with a line feed alone."""
    state: State
    """How it compares with what is there."""

    @property
    def executable(self) -> bool:
        """Whether it is a program."""
        return self.path.endswith(".sh")


@dataclass(frozen=True)
class Written:
    """What became of one file."""

    path: str
    """Its path in the deployment repository."""
    action: Action
    """What was done."""


@dataclass(frozen=True)
class Kit:
    """All files of a deployment repository."""

    folder: Path
    """Where they go."""
    answers: Answers
    """What they say."""
    files: tuple[File, ...]
    """Each of them, by its path."""

    def write(self, *, force: bool = False) -> tuple[Written, ...]:
        """Write what is not there; with ``force`` also what differs, keeping what was there.

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
                path.replace(path.with_name(path.name + EARLIER))
            part = path.with_name(path.name + ".part")
            part.write_bytes(file.content)
            part.chmod(0o755 if file.executable else 0o644)
            part.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}",
                why=str(error),
                next="make the folder writable, and say the same again: what is written stays",
            ) from error
        return "written" if file.state == "new" else "replaced"


def plan(folder: Path, answers: Answers) -> Kit:
    """Every file as it would be, and how it compares with what is there.

    Raises:
        UsageError: the folder is none, or cannot be read.
        ConfigurationError: the config would be none that Tidegate takes.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", next="name one that can be made, or that is one")
    contents = _contents(folder, answers)
    require_good(contents[CONFIG].decode())
    files = (
        File(path, content, _state(folder / path, content))
        for path, content in sorted(contents.items())
    )
    return Kit(folder, answers, tuple(files))


def _contents(folder: Path, answers: Answers) -> dict[str, bytes]:
    fillers = _fillers(folder, answers)
    contents = {SCHEMA: schema_text().encode(), WORKSPACE: _json(_workspace(answers))}
    for template in resources.files("tidegate.scaffold.deployment").joinpath("templates").iterdir():
        text = template.read_text("utf-8")
        contents[PLACES.get(template.name, template.name)] = (
            _Template(text).substitute(fillers).encode()
        )
    if answers.wheel is not None:
        contents[answers.wheel.name] = answers.wheel.content
    return contents


def _fillers(folder: Path, answers: Answers) -> dict[str, str]:
    """What is filled in into the templates."""
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
"""What VS Code recommends to install."""
SETTINGS: Mapping[str, Any] = {
    "files.eol": "\n",
    "yaml.schemas": {f"./{SCHEMA}": CONFIG},
    "yaml.validate": True,
    "[yaml]": {"editor.tabSize": 2, "editor.insertSpaces": True},
}
"""How VS Code edits these files: as on Linux, and held against the schema."""


def _workspace(answers: Answers) -> dict[str, Any]:
    """VS Code's workspace: this folder, and the pipelines repository where it is known."""
    folders = [{"path": "."}]
    if answers.beside and answers.beside != ".":
        folders.append({"path": answers.beside})
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
        # A checkout on Windows may have ended the lines in its own way.
        there = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise UsageError(
            f"{path} is in the way", why=str(error), next="move it elsewhere, and try again"
        ) from error
    return "same" if there == content.replace(b"\r\n", b"\n") else "differs"
