"""A pipelines repository on disk: the content hash of what each pipeline runs with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

SHARED = ("shared", "utils")
"""Folders that every pipeline of a repository may use."""
ENVIRONMENT_FILES = ("requirements.txt", "environment.yml", "environment.yaml", ".python-version")
"""Files that say what the pipelines' environment holds."""
_IGNORED_FOLDERS = {"__pycache__", ".git", ".venv", ".ipynb_checkpoints", "tests", "test"}
_IGNORED_ENDINGS = (".pyc", ".md", "~", ".swp")


def releases(repository: Path, config_files: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """For each pipeline the sha256, shortened to 16 digits, of what goes into its runs.

    That is the environment files, ``shared/``, ``utils/`` and the pipeline's own folder, the one
    above its ``config/``; not READMEs, not tests (DESIGN, section 6, "Images").
    """
    common = hashlib.sha256()
    for name in ENVIRONMENT_FILES:
        _add(common, repository, repository / name)
    for name in SHARED:
        for path in walk(repository / name):
            _add(common, repository, path)
    found = {}
    for pipeline, files in config_files.items():
        digest = common.copy()
        for folder in sorted({pipeline_folder(file) for file in files}):
            for path in walk(repository / folder):
                _add(digest, repository, path)
        found[pipeline] = digest.hexdigest()[:16]
    return found


def pipeline_folder(config_file: str) -> str:
    """``pipelines/lidar`` for ``pipelines/lidar/config/pipeline.yaml``."""
    folder = PurePosixPath(config_file).parent
    return str(folder.parent if folder.name == "config" else folder)


def walk(folder: Path) -> Iterator[Path]:
    """The files below ``folder`` that count, in a fixed order."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _IGNORED_FOLDERS)
        for name in sorted(names):
            if not name.endswith(_IGNORED_ENDINGS):
                yield Path(here) / name


def _add(digest: hashlib._Hash, repository: Path, path: Path) -> None:
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return
    name = path.relative_to(repository).as_posix()
    digest.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
