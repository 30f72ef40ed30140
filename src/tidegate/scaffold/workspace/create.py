"""``tidegate new workspace``: the files, and the git repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from tidegate import __version__
from tidegate.config.schema import text as schema_text
from tidegate.errors import UsageError
from tidegate.scaffold import changes
from tidegate.scaffold.changes import Action, Approve

_PACKAGE = "tidegate.scaffold.workspace"
PLACES = {
    # Not under their own names: git and pytest would act on them here.
    "gitattributes": ".gitattributes",
    "gitignore": ".gitignore",
    "python-version": ".python-version",
    "tests.yml": ".github/workflows/tests.yml",
    "utils_init.py": "utils/__init__.py",
    "pipelines_init.py": "pipelines/__init__.py",
    "storage.yaml": "shared/storage.yaml",
    "quality.yaml": "shared/quality.yaml",
}
"""Where a template goes; the others go by their own names."""
TSDAT_SCHEMAS = ("retriever", "dataset", "quality", "storage", "pipeline")
"""Tsdat's YAML files that ``tsdat generate-schema`` writes schemas for."""


def workspace_files(name: str) -> dict[str, str | bytes]:
    """All files of a new workspace, by their paths."""
    contents: dict[str, str | bytes] = {
        ".vscode/schema/pipelines_config-schema.json": schema_text(),
        ".vscode/settings.json": _json(_settings()),
        ".vscode/extensions.json": _json(
            {"recommendations": ["redhat.vscode-yaml", "ms-python.python", "Gruntfuggly.todo-tree"]}
        ),
        "input/.gitkeep": "",
    }
    for template in resources.files(_PACKAGE).joinpath("templates").iterdir():
        if template.is_dir():  # compiled code: some of the files are programs
            continue
        text = template.read_text("utf-8")
        text = text.replace("@@name", name).replace("@@version", _release())
        contents[PLACES.get(template.name, template.name)] = text
    return contents


def create_workspace(folder: Path, *, approve: Approve | None) -> Mapping[Path, Action]:
    """Write a workspace, with Tsdat's schemas where Tsdat is beside, and make it a git repository.

    Raises:
        UsageError: the folder is a file, or files would be overwritten and nobody is asked.
        StorageError: a file cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", next="name a new folder, or an empty one")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name)
    planned = changes.plan(folder, workspace_files(name))
    actions = changes.require_approval(planned, approve)
    changes.write(planned, actions)
    (folder / "output").mkdir(exist_ok=True)
    _write_tsdat_schemas(folder)
    if not (folder / ".git").exists() and not _inside_git(folder):
        _git(folder, "init", "--quiet", "--initial-branch=main")
    return actions


def _write_tsdat_schemas(folder: Path) -> None:
    """Tsdat's own schemas, where its command is installed; an editor does without otherwise."""
    beside = Path(sys.executable).with_name("tsdat")
    command = str(beside) if beside.exists() else shutil.which("tsdat")
    place = folder / ".vscode" / "schema"
    missing = [name for name in TSDAT_SCHEMAS if not (place / f"{name}-schema.json").exists()]
    if command and missing:
        subprocess.run(
            [command, "generate-schema", "--dir", str(place)], capture_output=True, check=False
        )


def _settings() -> dict[str, object]:
    schemas = {f".vscode/schema/{name}-schema.json": f"**/*{name}*.yaml" for name in TSDAT_SCHEMAS}
    return {
        "files.eol": "\n",
        "[yaml]": {"editor.tabSize": 2, "editor.insertSpaces": True},
        "yaml.schemas": {
            ".vscode/schema/pipelines_config-schema.json": "pipelines_config.yml",
            **schemas,
        },
        "todo-tree.general.tags": ["TODO", "FIXME"],
        "python.testing.pytestEnabled": True,
        "python.testing.pytestArgs": ["pipelines"],
        "files.exclude": {"**/__pycache__": True, "**/.pytest_cache": True},
    }


def _release() -> str:
    """The version as a requirement: a development version is not on an index."""
    return f"=={__version__}" if re.fullmatch(r"[\d.]+", __version__) else ""


def _inside_git(folder: Path) -> bool:
    done = _git(folder, "rev-parse", "--is-inside-work-tree")
    return done is not None and done.returncode == 0


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run git; None where it is not installed: a workspace works without."""
    git = shutil.which("git")
    if git is None:
        return None
    return subprocess.run([git, *arguments], cwd=folder, capture_output=True, check=False)


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
