"""Asks Tsdat about config files inside the environment image of a release.

So no second environment is needed to check configs, and they are checked with the packages and the
files that they will run with.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.deploy.images.builders import Build, Builder, Say
from tidegate.deploy.images.content import PACKAGE, runtime_files
from tidegate.deploy.images.dockerfile import write_question
from tidegate.errors import TidegateError
from tidegate.runtime.descriptions import read_answer
from tidegate.runtime.manifest import Pipeline

_ENTRY_POINTS = ("runtime.descriptions", "runtime.worker")


@dataclass(frozen=True)
class ImageAnswer:
    """What Tsdat says in an environment image."""

    described: Mapping[str, Pipeline | TidegateError]
    """For each config file, its description, or why Tsdat rejects it."""
    environment: str
    """A hash of the version of Python and the names and versions of all packages."""


def ask_in_image(
    build: Build,
    repository: Path,
    folders: Iterable[str],
    files: Sequence[str],
    builder: Builder,
    say: Say,
) -> ImageAnswer:
    """Ask about config files; ``folders`` of the repository are those that images contain.

    ``build`` names the environment (``arguments``), and what a failure of the builder means.

    Raises:
        BuildFailed: the process that asks cannot be started, or dies.
        PythonEnvironmentError: Tsdat cannot be imported.
    """
    write_question(build.context, repository, folders, PACKAGE, runtime_files(_ENTRY_POINTS), files)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        builder.export(build, Path(folder), say)
        answer = json.loads((Path(folder) / "answer.json").read_text("utf-8"))
        packages = (Path(folder) / "packages.txt").read_text("utf-8")
    described = read_answer(answer)
    environment = f"{answer['python']}\n{packages}"
    return ImageAnswer(described, hashlib.sha256(environment.encode()).hexdigest())
