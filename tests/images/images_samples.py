"""A small pipelines repository, and what a release of it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidegate.deploy.images.content import ImageRecipe
from tidegate.runtime.manifest import Config, Manifest
from tidegate.workspace.recipe import read_recipe

DIGEST = "sha256:" + "ab" * 32
FILES = {
    "requirements.txt": "six==1.17.0\n",
    "README.md": "Two pipelines.\n",
    "shared/storage.yaml": "root: storage\n",
    "utils/__init__.py": "",
    "utils/wind.py": "SPEED = 1\n",
    "pipelines/__init__.py": "",
    "pipelines/buoy/__init__.py": "",
    "pipelines/buoy/pipeline.py": "from utils.wind import SPEED\nNAME = 'buoy'\n",
    "pipelines/buoy/config/pipeline_morro.yaml": "name: morro\n",
    "pipelines/buoy/tests/test_buoy.py": "assert 1\n",
    "pipelines/tides/__init__.py": "",
    "pipelines/tides/pipeline.py": "NAME = 'tides'\n",
    "pipelines/tides/config/pipeline.yaml": "name: tides\n",
}


def write(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def config(pipeline: str, name: str, file: str) -> Config:
    return Config(pipeline, name, "Ingest", "S3", file, input_path=f"{pipeline}/{name}/")


MANIFEST = Manifest(
    (
        config("buoy", "morro", "pipelines/buoy/config/pipeline_morro.yaml"),
        config("buoy", "humboldt", "pipelines/buoy/config/pipeline_humboldt.yaml"),
        config("tides", "main", "pipelines/tides/config/pipeline.yaml"),
    )
)


def recipe_of(repository: Path, **changed: object) -> ImageRecipe:
    """As ``read_image_recipe``, with a base image that nobody has to be asked about."""
    python, newer = changed.pop("python", "3.12"), changed.pop("exclude_newer", None)
    environment = read_recipe(repository, python, newer)  # type: ignore[arg-type]
    given: dict[str, object] = {
        "base": "public.ecr.aws/lambda/python:3.12",
        "base_digest": DIGEST,
        "package": "six",
    }
    return ImageRecipe(environment, **{**given, **changed})  # type: ignore[arg-type]
