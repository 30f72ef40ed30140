"""The inputs of each image with their hashes, and the tag that follows from them.

There are two kinds of images: the *environment* (the base image and all packages), which all
pipelines of a repository share, and an image on top of it for each pipeline (the repository's
shared code, Tidegate's runtime, the pipeline itself). This module only reads files.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tidegate
from tidegate.deploy.images import dockerfile
from tidegate.errors import ConfigurationError
from tidegate.runtime.code_files import SHARED, walk
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.names import fit
from tidegate.workspace.recipe import Recipe
from tidegate.workspace.repository import (
    digest,
    folder_files,
    pipeline_folders,
    starts_release,
)

Architecture = Literal["x86_64", "arm64"]

BASE, RUNTIME = "the base image", "Tidegate"
PACKAGE = Path(tidegate.__file__).resolve().parent
_ENTRY_POINTS = ("targets.aws.lambda_handler", "targets.aws.sweep_handler", "runtime.worker")
_FORMAT = 1  # increased when images change in a way that no input shows
_LOCAL = re.compile(
    r"""(?:-e|--editable)\b|\.{0,2}/|\.{1,2}['"]?\s*(?:#.*)?$|file:|\S+\s*@\s*file:"""
)


@dataclass(frozen=True)
class ImageRecipe:
    """Everything that the environment image is made from."""

    environment: Recipe
    """The requirements of the repository."""
    base: str
    """The base image, by name and tag."""
    base_digest: str
    """The digest of the base image, ``sha256:…``."""
    architecture: Architecture = "x86_64"
    """The processor."""
    package: str = "tsdat"
    """A package that must be installed in it."""
    micromamba: str | None = None
    """The address of micromamba, if not that of its own releases."""

    @property
    def pinned_base(self) -> str:
        """The full name of the base image, with its digest."""
        return f"{self.base}@{self.base_digest}"

    @property
    def uses_conda(self) -> bool:
        """Whether micromamba makes the environment, for packages that are not on PyPI."""
        return bool(self.environment.needs_conda)

    def without(self, names: frozenset[str]) -> ImageRecipe:
        """The same recipe, with more packages that are not on PyPI."""
        return replace(self, environment=self.environment.without(names))


@dataclass(frozen=True)
class Content:
    """The inputs of one image."""

    tag: str
    """Its tag in the registry, with a hash of its inputs."""
    inputs: Mapping[str, str]
    """Its inputs, each with its hash, or its text if that is short."""
    pipeline: str = ""
    """The pipeline; "" for the environment."""
    folders: tuple[str, ...] = ()
    """The pipeline's folders."""


def environment_content(recipe: ImageRecipe) -> Content:
    """The inputs of the environment image.

    Raises:
        ConfigurationError: the requirements name something that cannot be part of an image.
    """
    check_requirements(recipe.environment)
    inputs = {
        BASE: recipe.pinned_base,
        "the architecture": recipe.architecture,
        "Tidegate's image recipe": _short(dockerfile.environment_text()),
    }
    inputs |= {name: _brief(value) for name, value in recipe.environment.parts.items()}
    conda = recipe.environment.conda_file
    if recipe.uses_conda and conda is not None:
        inputs[conda.name] = _short(conda.read_text("utf-8", "replace"))
    if recipe.uses_conda and recipe.micromamba:
        inputs["micromamba"] = recipe.micromamba
    if recipe.package != "tsdat":
        inputs["the package that is checked for"] = recipe.package
    return Content(_tag("environment", inputs), inputs)


def pipeline_contents(
    repository: Path, manifest: Manifest, recipe: ImageRecipe
) -> tuple[Content, ...]:
    """The inputs of each pipeline's image, in the order of the config.

    Raises:
        ConfigurationError: something cannot be part of an image.
    """
    common = {**environment_content(recipe).inputs, RUNTIME: _runtime()}
    for name in SHARED:
        files = list(walk(repository / name))
        if files:
            common[f"{name}/"] = digest(repository, files)[:16]
    found = []
    for pipeline in dict.fromkeys(config.pipeline for config in manifest.configs):
        files_named = [c.config_file for c in manifest.configs if c.pipeline == pipeline]
        folders = pipeline_folders(repository, files_named)
        own = {
            f"{folder}/": digest(repository, folder_files(repository, folder))[:16]
            for folder in folders
        }
        inputs = {**common, **own}
        found.append(Content(_tag(pipeline, inputs), inputs, pipeline, folders))
    return tuple(found)


def without_trigger(recipe: Recipe, contents: Iterable[Content]) -> tuple[str, ...]:
    """The files and folders in images that start no release if a push changes only them."""
    files = [*recipe.files, *([recipe.conda_file] if recipe.conda_file else [])]
    names = [file.relative_to(recipe.repository).as_posix() for file in files]
    folders = [f"{folder}/" for content in contents for folder in content.folders]
    return tuple(name for name in dict.fromkeys((*names, *folders)) if not starts_release(name))


def environment_part(inputs: Mapping[str, str]) -> dict[str, str]:
    """Those inputs of a pipeline's image that belong to the environment."""
    return {n: v for n, v in inputs.items() if n != RUNTIME and not n.endswith("/")}


def runtime_files(entry_points: Iterable[str] = _ENTRY_POINTS) -> tuple[Path, ...]:
    """The files of Tidegate in an image: the entry points, and everything that they import."""
    found: set[Path] = set()
    seen: set[str] = set()
    waiting = {f"tidegate.{name}" for name in entry_points}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        parts = name.split(".")[1:]
        packages = (PACKAGE.joinpath(*parts[:n], "__init__.py") for n in range(len(parts) + 1))
        module = PACKAGE.joinpath(*parts).with_suffix(".py")
        for path in (*packages, *([module] if parts else [])):
            if path.is_file() and path not in found:
                found.add(path)
                waiting |= _imports(path.read_bytes()) - seen
    return tuple(sorted(found))


@functools.lru_cache(maxsize=1024)
def _imports(source: bytes) -> frozenset[str]:
    """The modules of Tidegate that this code may import, at its top or later.

    Cached: a release asks several times, and parsing is most of its planning.
    """
    return frozenset(_imported_names(source))


def _imported_names(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What is imported from a package may be a module of it.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "tidegate")


def changes(now: Mapping[str, str], before: Mapping[str, str]) -> tuple[str, ...]:
    """The differences between the inputs of two images, in words."""
    found = []
    for name, value in now.items():
        was = before.get(name)
        if was is None:
            found.append(f"{name} is new")
        elif was != value:
            found.append(_describe_change(name, was, value))
    return (*found, *(f"{name} was removed" for name in before if name not in now))


def check_requirements(recipe: Recipe) -> None:
    """Check that an image can contain everything: no outside files, no local packages.

    Raises:
        ConfigurationError: it cannot.
    """
    for file in recipe.files:
        if recipe.repository not in file.parents:
            raise ConfigurationError(
                f"the requirements name {file}, which is outside the repository",
                next="move it into the repository",
                where=str(recipe.source),
            )
        if not file.is_file():
            continue  # uv reports it with the line
        for number, line in enumerate(file.read_text("utf-8-sig", "replace").splitlines(), 1):
            item = re.sub(
                r"^\s*(?:-\s+)?[\"']?", "", line
            )  # in environment.yml requirements are list items
            if _LOCAL.match(item):
                raise ConfigurationError(
                    f"`{line.strip()}` names a package by its folder",
                    why="an image only contains packages from an index, and shared/, utils/ and "
                    "the pipelines from the repository",
                    next="move the code to utils/, or publish the package",
                    where=f"{file}:{number}",
                )


def _describe_change(name: str, was: str, value: str) -> str:
    if name == RUNTIME:
        old, new = was.split()[0], value.split()[0]
        return f"Tidegate {new} changed" if old == new else f"Tidegate {old} became {new}"
    if name == BASE:
        old, new = was.split("@")[0], value.split("@")[0]
        if old == new:
            return f"the base image {new} was updated"
        return f"the base image changed from {old} to {new}"
    if len(was) + len(value) > 30:  # hashes mean nothing to a person
        return f"{name} changed"
    return f"{name} changed from {was} to {value}"


def _runtime() -> str:
    text = digest(PACKAGE, runtime_files()) + dockerfile.PIPELINE
    return f"{tidegate.__version__} {_short(text)}"


def _tag(name: str, inputs: Mapping[str, str]) -> str:
    content = _short(json.dumps([_FORMAT, sorted(inputs.items())]))
    return fit(f"{name}-{content}", limit=128, allowed="A-Za-z0-9_.-", first="A-Za-z0-9_")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _brief(value: str) -> str:
    return value[:16] if re.fullmatch(r"[0-9a-f]{64}", value) else value
