"""The pipelines of a repository, as entries of pipelines_config.yml.

Only the files are read: the repository's environment need not be there yet. What a file does not
tell for certain (does it run when files arrive, or on a schedule?) a person looks over.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from tidegate.config.product_names import period_of_names
from tidegate.errors import UsageError

Kind = Literal["Ingest", "VAP"]

_LIMIT = 64
_DEFAULT = "default"
"""The name of a config whose file names no site."""


@dataclass(frozen=True)
class Discovered:
    """One pipeline that was found, with its configs."""

    name: str
    """What it is called: as its folder."""
    kind: Kind
    """Whether its configs turn raw files into products, or products into further ones."""
    configs: Mapping[str, str]
    """By name, the config file, relative to the repository."""
    period: str = ""
    """ "day", where all files of a day give a product of the same name."""


def discover(repository: Path) -> tuple[Discovered, ...]:
    """What ``pipelines/*/config/pipeline*.yaml`` holds, by folder.

    Raises:
        UsageError: there is no such folder, or no pipeline in it.
    """
    if not repository.is_dir():
        raise UsageError(
            f"there is no folder {repository}",
            next="name a pipelines repository that is cloned here, or leave --from out",
        )
    entries: dict[str, Discovered] = {}
    for name, files in _by_folder(repository).items():
        by_kind: dict[Kind, dict[str, str]] = {}
        for file in files:
            content = _mapping(repository / file)
            configs = by_kind.setdefault(_kind(repository, content), {})
            configs[_unused(_config_name(repository, file, content), configs)] = file
        for kind, configs in sorted(by_kind.items()):
            # One folder with both kinds makes two entries.
            wanted = f"{name[: _LIMIT - 4]}_vap" if kind == "VAP" and len(by_kind) > 1 else name
            unused = _unused(wanted, entries)
            period = _period(repository, configs.values()) if kind == "Ingest" else ""
            entries[unused] = Discovered(unused, kind, configs, period)
    if not entries:
        raise UsageError(
            f"there are no pipelines in {repository}",
            why="no file there is called pipelines/*/config/pipeline*.yaml",
            next="name the root of a repository that has Tsdat's usual shape",
        )
    return tuple(entries.values())


def _by_folder(repository: Path) -> dict[str, list[str]]:
    """The config files of each pipeline's folder."""
    files: dict[str, list[str]] = {}
    for pattern in ("pipelines/*/config/pipeline*.yaml", "pipelines/*/config/pipeline*.yml"):
        for path in sorted(repository.glob(pattern)):
            if path.is_file():
                name = _identifier(path.parent.parent.name)
                files.setdefault(name, []).append(path.relative_to(repository).as_posix())
    return {name: sorted(files[name]) for name in sorted(files)}


def _kind(repository: Path, content: Mapping[str, Any]) -> Kind:
    """A VAP reads datastreams, or is a Tsdat transformation, or retrieves from the storage."""
    parameters = content.get("parameters")
    if isinstance(parameters, dict) and parameters.get("datastreams"):
        return "VAP"
    if "TransformationPipeline" in _bases(repository, content.get("classname")):
        return "VAP"
    retriever = _part(repository, content, "retriever")
    return "VAP" if str(retriever.get("classname")).endswith("StorageRetriever") else "Ingest"


def _period(repository: Path, files: Iterable[str]) -> str:
    """The first period by which one of these configs names its products."""
    for file in files:
        storage = _part(repository, _mapping(repository / file), "storage")
        parameters = _within(storage, "parameters")
        path, name = parameters.get("data_storage_path"), parameters.get("data_filename_template")
        if isinstance(name, str) and (period := period_of_names(str(path or ""), name)):
            return period
    return ""


def _bases(repository: Path, classname: object) -> set[str]:
    """What the pipeline's class is called, and what it is derived from, by the source."""
    module, _, name = str(classname).rpartition(".")
    file = repository / f"{module.replace('.', '/')}.py"
    try:
        tree = ast.parse(file.read_text("utf-8", "replace"))
    except (OSError, SyntaxError, ValueError):  # Tsdat's own classes have no file here
        return {name}
    bases = {
        ast.unparse(base).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == name
        for base in node.bases
    }
    return {name, *bases}


def _config_name(repository: Path, file: str, content: Mapping[str, Any]) -> str:
    """As the file has it (``pipeline_morro.yaml``), else its location."""
    in_file = re.sub(r"^pipeline[_.-]*", "", Path(file).stem)
    if in_file:
        return _identifier(in_file)
    overrides = _within(content.get("dataset"), "overrides")
    attributes = _within(_part(repository, content, "dataset"), "attrs")
    location = overrides.get("/attrs/location_id", attributes.get("location_id"))
    return _identifier(location) if isinstance(location, str) else _DEFAULT


def _within(holder: object, key: str) -> Mapping[str, Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def _part(repository: Path, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a pipeline's config that may be written in a file of its own."""
    part = content.get(key)
    if not isinstance(part, dict):
        return {}
    path = part.get("path")
    return _mapping(repository / path) if isinstance(path, str) else part


def _mapping(file: Path) -> Mapping[str, Any]:
    """What a YAML file says; nothing where it cannot be read: `tidegate check` tells of that."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:_LIMIT] or _DEFAULT


def _unused(name: str, used: Mapping[str, object]) -> str:
    return next(candidate for candidate in _numbered(name) if candidate not in used)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name[: _LIMIT - 4]}_{number}"
        number += 1
