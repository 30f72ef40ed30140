"""A pipelines repository on disk: the files that a pipeline runs with, and their hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tidegate.runtime.code_files import IGNORED_FOLDERS, SHARED, TEXT_ENDINGS, walk

ENVIRONMENT_FILES = ("requirements.txt", "environment.yml", "environment.yaml", ".python-version")
"""Files that define the pipelines' environment."""
RELEASE_PATHS = (
    "pipelines/**",
    *(f"{name}/**" for name in SHARED),
    "requirements/**",
    "*.txt",
    "environment*",
    ".python-version",
)
"""The files that releases are made from, as CodePipeline's triggers name them: a push that changes
one of them starts a release. ``*`` stands for no ``/``; CodePipeline takes eight of these."""


def releases(
    repository: Path, config_files: Mapping[str, Iterable[str]], environment: str = ""
) -> dict[str, str]:
    """The release of each pipeline: the first 16 digits of a sha256 of all that it runs with.

    These are the identity of its environment and the files of its code: the environment files,
    ``shared/``, ``utils/`` and the pipeline's own folder, the parent of its ``config/``; without
    READMEs and tests.
    """
    common = shared_files(repository)
    found = {}
    for pipeline, files in config_files.items():
        code = digest(repository, [*common, *pipeline_files(repository, files)])
        found[pipeline] = hashlib.sha256(f"{code}{environment}".encode()).hexdigest()[:16]
    return found


def shared_files(repository: Path) -> list[Path]:
    """The files that all pipelines run with: of the environment, ``shared/`` and ``utils/``.

    Those of the environment need not exist.
    """
    files = [repository / name for name in ENVIRONMENT_FILES]
    for name in SHARED:
        files += walk(repository / name)
    return files


def starts_release(file: str) -> bool:
    """Whether a push that changes only this file of the repository starts a release."""
    return any(
        file.startswith(path.removesuffix("**"))
        if path.endswith("/**")
        else "/" not in file and fnmatchcase(file, path)
        for path in RELEASE_PATHS
    )


def pipeline_folder(config_file: str) -> str:
    """``pipelines/lidar`` for ``pipelines/lidar/config/pipeline.yaml``."""
    folder = PurePosixPath(config_file).parent
    return str(folder.parent if folder.name == "config" else folder)


def pipeline_folders(repository: Path, config_files: Iterable[str]) -> tuple[str, ...]:
    """The folders that a pipeline runs with: its own, and folders of pipelines that it refers to.

    Code may import ``pipelines.other``, and configs may name ``pipelines/other/…``. Such references
    are found by searching for the name.
    """
    found: list[str] = []
    waiting = sorted({pipeline_folder(file) for file in config_files})
    while waiting:
        folder = waiting.pop(0)
        if folder not in found:
            found.append(folder)
            waiting += _referenced(repository, folder)
    return tuple(sorted(found))


def pipeline_files(repository: Path, config_files: Iterable[str]) -> list[Path]:
    """The files of a pipeline's folders, and the ``__init__.py`` of the folders above them."""
    files: list[Path] = []
    for folder in pipeline_folders(repository, config_files):
        files += folder_files(repository, folder)
    return list(dict.fromkeys(files))


def folder_files(repository: Path, folder: str) -> list[Path]:
    """The files of one folder, and the ``__init__.py`` of the folders above it."""
    above = [repository / parent / "__init__.py" for parent in PurePosixPath(folder).parents]
    return [*(path for path in above if path.is_file()), *walk(repository / folder)]


def _referenced(repository: Path, folder: str) -> list[str]:
    """The folders next to ``folder`` that its files refer to."""
    parent = PurePosixPath(folder).parent
    if folder == "." or str(parent) == "." or not (repository / parent).is_dir():
        return []
    beside = sorted(
        path.name
        for path in (repository / parent).iterdir()
        if path.is_dir() and path.name not in IGNORED_FOLDERS and path.name != Path(folder).name
    )
    text = "\n".join(
        path.read_text("utf-8", "replace")
        for path in walk(repository / folder)
        if path.suffix in TEXT_ENDINGS and path.is_file()
    )
    above = "[./]".join(map(re.escape, parent.parts))
    return [str(parent / name) for name in beside if _refers_to(text, above, re.escape(name))]


def _refers_to(text: str, above: str, name: str) -> bool:
    named = rf"(?:\b{above}[./]|from\s+\.\.){name}(?![\w-])"
    imported = rf"from\s+(?:{above}|\.\.)\s+import\b[^\n]*\b{name}\b"
    return re.search(f"{named}|{imported}", text) is not None


def digest(root: Path, files: Iterable[Path]) -> str:
    """The sha256 of files: of their names below ``root`` and their content."""
    found = hashlib.sha256()
    for path in files:
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
        name = path.relative_to(root).as_posix()
        found.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
