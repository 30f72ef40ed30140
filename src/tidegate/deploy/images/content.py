"""What goes into each image, as named inputs with their hashes, and the tag that they make.

Two kinds of image: the *environment* (the base image and all packages), which all pipelines of a
repository share, and on it one image a pipeline (the repository's shared code, Tidegate's runtime,
the pipeline itself). Reads files; asks nobody.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tidegate
from tidegate.deploy.images import dockerfile
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.names import fit
from tidegate.workspace.recipe import Recipe
from tidegate.workspace.repository import SHARED, digest, folder_files, pipeline_folders, walk

Architecture = Literal["x86_64", "arm64"]

BASE, RUNTIME = "the base image", "Tidegate"
PACKAGE = Path(tidegate.__file__).resolve().parent
_ENTRY_POINTS = ("targets.aws.lambda_handler", "runtime.worker")
_FORMAT = 1  # counts up when images are made in a way that no input tells of
_LOCAL = re.compile(
    r"""(?:-e|--editable)\b|\.{0,2}/|\.{1,2}['"]?\s*(?:#.*)?$|file:|\S+\s*@\s*file:"""
)


@dataclass(frozen=True)
class ImageRecipe:
    """All that goes into the environment's image."""

    environment: Recipe
    """What the repository asks for."""
    base: str
    """The base image, by name and tag."""
    base_digest: str
    """``sha256:…``: which base image that is."""
    architecture: Architecture = "x86_64"
    """The processor."""
    package: str = "tsdat"
    """What must be among the packages."""

    @property
    def pinned_base(self) -> str:
        """The base image's full name, by digest."""
        return f"{self.base}@{self.base_digest}"

    @property
    def uses_conda(self) -> bool:
        """Whether the environment is made by micromamba: for what PyPI does not have."""
        return bool(self.environment.needs_conda)

    def without(self, names: frozenset[str]) -> ImageRecipe:
        """The same, with packages counted among those that PyPI does not have."""
        return replace(self, environment=self.environment.without(names))


@dataclass(frozen=True)
class Content:
    """What goes into one image."""

    tag: str
    """Its name in the registry: a hash of its inputs."""
    inputs: Mapping[str, str]
    """What goes in, each with its hash, or its text where that is short."""
    pipeline: str = ""
    """The pipeline; "" for the environment."""
    folders: tuple[str, ...] = ()
    """The pipeline's folders."""


def environment_content(recipe: ImageRecipe) -> Content:
    """What goes into the environment's image.

    Raises:
        ConfigurationError: the requirements name something that cannot go into an image.
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
    if recipe.package != "tsdat":
        inputs["the package that is checked for"] = recipe.package
    return Content(_tag("environment", inputs), inputs)


def pipeline_contents(
    repository: Path, manifest: Manifest, recipe: ImageRecipe
) -> tuple[Content, ...]:
    """What goes into each pipeline's image, in the order of the config.

    Raises:
        ConfigurationError: something cannot go into an image.
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


def environment_part(inputs: Mapping[str, str]) -> dict[str, str]:
    """Of a pipeline's inputs those that are its environment's."""
    return {n: v for n, v in inputs.items() if n != RUNTIME and not n.endswith("/")}


def runtime_files() -> tuple[Path, ...]:
    """The files of Tidegate that go into images: its entry points, and all that they import."""
    found: set[Path] = set()
    waiting = [f"tidegate.{name}" for name in _ENTRY_POINTS]
    while waiting:
        parts = waiting.pop().split(".")[1:]
        packages = (PACKAGE.joinpath(*parts[:n], "__init__.py") for n in range(len(parts) + 1))
        module = PACKAGE.joinpath(*parts).with_suffix(".py")
        for path in (*packages, *([module] if parts else [])):
            if path.is_file() and path not in found:
                found.add(path)
                waiting += _imports(path)
    return tuple(sorted(found))


def _imports(path: Path) -> Iterator[str]:
    """The modules of Tidegate that a file may import, at its top or later."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What is imported from a package may be a module of it.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "tidegate")


def changes(now: Mapping[str, str], before: Mapping[str, str]) -> tuple[str, ...]:
    """What differs between the inputs of two images, in words."""
    said = []
    for name, value in now.items():
        was = before.get(name)
        if was is None:
            said.append(f"{name} is new")
        elif was != value:
            said.append(_said(name, was, value))
    return (*said, *(f"{name} is gone" for name in before if name not in now))


def check_requirements(recipe: Recipe) -> None:
    """Refuse what an image cannot have: files outside the repository, packages by their folder.

    Raises:
        ConfigurationError: the requirements name such a thing.
    """
    for file in recipe.files:
        if recipe.repository not in file.parents:
            raise ConfigurationError(
                f"the requirements name {file}, which is outside the repository",
                next="move it into the repository",
                where=str(recipe.source),
            )
        if not file.is_file():
            continue  # uv says so, with the line that names it
        for number, line in enumerate(file.read_text("utf-8-sig", "replace").splitlines(), 1):
            item = re.sub(r"^\s*(?:-\s+)?[\"']?", "", line)  # in environment.yml they are items
            if _LOCAL.match(item):
                raise ConfigurationError(
                    f"`{line.strip()}` names a package by its folder",
                    why="images take packages from an index, and of the repository only shared/, "
                    "utils/ and the pipelines",
                    next="put the code into utils/, or publish the package",
                    where=f"{file}:{number}",
                )


def _said(name: str, was: str, value: str) -> str:
    if name == RUNTIME:
        old, new = was.split()[0], value.split()[0]
        return f"Tidegate {new} changed" if old == new else f"Tidegate {old} became {new}"
    if name == BASE:
        old, new = was.split("@")[0], value.split("@")[0]
        if old == new:
            return f"the base image {new} was updated"
        return f"the base image changed from {old} to {new}"
    if len(was) + len(value) > 30:  # hashes say nothing to a person
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
