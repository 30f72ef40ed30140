"""Find the pipelines repository, and check that Tsdat's config files are in it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.config import values
from tidegate.config.problems import Finding, KeyPath


def check_files(
    data: dict[str, Any], folder: Path, repository: Path | None
) -> tuple[Path | None, list[Finding]]:
    """The repository's root, and a finding for each ``config_file_path`` that is not in it.

    ``folder`` has pipelines_config.yml; ``repository`` is used instead of the one that it names.
    """
    wanted = list(_config_files(data))
    named = data.get("repository")
    if repository is None and isinstance(named, str):
        repository = folder / named
        if not _is_folder(repository):
            what = f"'repository' is not a folder: {values.show(named)}"
            fix = f"write the path of the pipelines repository relative to {folder.resolve()}"
            return None, [Finding(("repository",), what, fix)]
    elif repository is None and "repository" not in data:
        repository = _find(folder, data.get("pipelines_repo_name"), [file for _, file in wanted])
    if repository is None:
        what = "there is no pipelines repository beside this file"
        fix = "write 'repository:' and its path, relative to this file"
        known = "repository" in data or not wanted
        return None, [] if known else [Finding(wanted[0][0], what, fix)]
    root = repository
    return root, [_missing(root, path, file) for path, file in wanted if not _is_file(root, file)]


def _config_files(data: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    pipelines = data.get("pipelines")
    for number, pipeline in enumerate(pipelines if isinstance(pipelines, list) else ()):
        configs = pipeline.get("configs") if isinstance(pipeline, dict) else None
        for name, config in configs.items() if isinstance(configs, dict) else ():
            file = config.get("config_file_path") if isinstance(config, dict) else None
            if isinstance(file, str):  # else it is INVALID, and reported
                path: KeyPath = ("pipelines", number, "configs", name, "config_file_path")
                yield path, values.repository_path(file)


def _find(folder: Path, name: object, wanted: list[str]) -> Path | None:
    """The folder in or beside ``folder`` that has most of the wanted files.

    A folder that has none of them still counts if it looks like a pipelines repository: then the
    paths are wrong, and the message can suggest the right ones.
    """
    candidates = [folder]
    if isinstance(name, str):
        candidates += [folder / name, folder.absolute().parent / name]
    with contextlib.suppress(OSError):
        candidates += sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    best, most = None, 0
    for candidate in candidates:
        if not _is_folder(candidate):
            continue
        score = 2 * sum(_is_file(candidate, file) for file in wanted)
        score += any(_known_files(candidate))
        if score > most:
            best, most = candidate, score
    return best


def _known_files(root: Path) -> Iterator[str]:
    for pattern in ("pipelines/*/config/*.yaml", "pipelines/*/config/*.yml"):
        yield from (file.relative_to(root).as_posix() for file in root.glob(pattern))


def _missing(root: Path, path: KeyPath, file: str) -> Finding:
    known = sorted(_known_files(root))
    pipelines = [name for name in known if "pipeline" in name.rsplit("/", 1)[-1]]
    if _is_folder(root / file):
        inside = [name for name in pipelines if name.startswith(f"{file}/")]
        fix = f"write the file in it, such as '{inside[0]}'" if inside else "write the file in it"
        return Finding(path, f"'config_file_path' is a folder: {values.show(file)}", fix)
    for names in (pipelines, known):
        near = difflib.get_close_matches(file, names, n=1, cutoff=0.5)
        if near:
            break
    fix = f"write '{near[0]}'" if near else "write a path relative to the repository's root"
    what = f"there is no file {values.show(file)} in the pipelines repository {root}"
    return Finding(path, what, fix)


def _is_file(root: Path, file: str) -> bool:
    try:
        return (root / file).is_file()
    except OSError:  # such as a name that is too long
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
