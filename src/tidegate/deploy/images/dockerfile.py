"""The Dockerfiles of the two kinds of images, and the folders from which they are built.

    environment    base image ─ the function's own packages ─ the pipelines' packages
    pipeline       environment ─ shared/, utils/ ─ Tidegate's runtime ─ the pipeline, last

The environment takes minutes to build and changes rarely; the image of a pipeline takes seconds.
There are two files so that a change of code is fast without a builder's cache: the environment is
an image in the registry, named by its content like all others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tidegate.deploy.images.context import prepare
from tidegate.deploy.images.pythons import asked_versions
from tidegate.runtime.code_files import SHARED, walk
from tidegate.workspace.recipe import Recipe
from tidegate.workspace.repository import folder_files

HANDLER = "tidegate.targets.aws.lambda_handler.handler"
"""The function's entry point."""

_TOOLS = Path(prepare.__file__).parent
_FILES = ("prepare.py", "uv.txt", "handler.txt")
_HERE = Path("/tidegate")

# LOGNAME: Tsdat records the user name, and the user of a function may have none.
_ENVIRONMENT = """\
# The environment of one repository's pipelines. Made by Tidegate.
ARG BASE
FROM ${{BASE}} AS tools
COPY tools/ /tidegate/
RUN PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet \\
    --no-cache-dir --require-hashes --target /tidegate/uv -r /tidegate/uv.txt

FROM tools AS handler
RUN --mount=type=cache,target=/root/.cache python3 /tidegate/prepare.py handler

FROM tools AS pipelines
COPY environment/ /tidegate/
RUN --mount=type=cache,target=/root/.cache python3 /tidegate/prepare.py pipelines

FROM ${{BASE}}
COPY --from=handler /opt/python/ /opt/python/
COPY --from=pipelines /opt/pipelines/ /opt/pipelines/
ENV PATH=/opt/pipelines/bin:${{PATH}} \\
    TIDEGATE_WORKER={worker} \\
    LOGNAME=tidegate \\
    MPLBACKEND=Agg \\
    MPLCONFIGDIR=/opt/pipelines/matplotlib \\
    NUMBA_CACHE_DIR=/tmp/cache/numba \\
    XDG_CACHE_HOME=/tmp/cache
WORKDIR /var/task
CMD ["{handler}"]
"""

PIPELINE = """\
# One pipeline on its environment. Made by Tidegate.
ARG ENVIRONMENT
FROM ${ENVIRONMENT} AS compiled
COPY . /tidegate/
RUN /opt/python/bin/python /tidegate/prepare.py code \\
    /tidegate/repository /tidegate/runtime /tidegate/pipeline

FROM ${ENVIRONMENT}
COPY --from=compiled /tidegate/repository/ /var/task/
COPY --from=compiled /tidegate/runtime/ /var/task/
COPY --from=compiled /tidegate/pipeline/ /var/task/
"""

# The interpreter of the function's own process asks; the worker is the pipelines' own. A build has
# no credentials: the code that Tsdat imports is the repository's.
_ASK = """\
# What Tsdat says about configs, in the environment that they run in. Made by Tidegate.
ARG ENVIRONMENT
FROM ${ENVIRONMENT} AS asked
COPY files.json /tmp/
COPY code/ /var/task/
RUN /opt/python/bin/python -m tidegate.runtime.descriptions \\
    /tmp/files.json /tmp/answer.json

FROM scratch
COPY --from=asked /tmp/answer.json /opt/pipelines/packages.txt /
"""


def environment_dockerfile(*, conda: bool) -> str:
    """The Dockerfile of the environment; its argument is ``BASE``."""
    return _ENVIRONMENT.format(
        worker="/opt/pipelines/bin/" + ("worker-python" if conda else "python"),
        handler=HANDLER,
    )


def environment_text() -> str:
    """Everything that determines how environments are made, but for the requirements."""
    files = [(_TOOLS / name).read_text("utf-8") for name in _FILES]
    return "\0".join([*(environment_dockerfile(conda=conda) for conda in (False, True)), *files])


def write_environment(
    folder: Path, recipe: Recipe, *, package: str, micromamba: str | None = None
) -> None:
    """Write the folder from which an environment is built; ``micromamba`` is where it comes from,
    if not from its own releases."""
    conda = bool(recipe.needs_conda)
    (folder / "Dockerfile").write_text(environment_dockerfile(conda=conda), "utf-8")
    for name in _FILES:
        _put(_TOOLS / name, folder / "tools" / name)
    here = folder / "environment"
    requirements = here / "requirements"
    requirements.mkdir(parents=True)
    listed = []
    for file in recipe.files:
        if file.suffix not in (".yml", ".yaml") and file.is_file():
            _put(file, requirements / file.relative_to(recipe.repository))
    if recipe.source.suffix == ".txt":
        listed.append(recipe.source.name)
    else:
        text = recipe.requirements(_HERE / "requirements", conda=not conda)
        if text:
            (requirements / "environment.txt").write_text(text, "utf-8")
            listed.append("environment.txt")
    if conda:
        (here / "conda.yml").write_text(recipe.conda_environment(), "utf-8")
    options = {
        "conda": conda,
        "exclude_newer": recipe.exclude_newer,
        "micromamba": micromamba,
        "package": package,
        "pythons": asked_versions(recipe),
        "requirements": listed,
    }
    (here / "options.json").write_text(json.dumps(options), "utf-8")
    prepare.tidy([folder])


def write_pipeline(
    folder: Path, repository: Path, folders: Iterable[str], package: Path, runtime: Iterable[Path]
) -> None:
    """Write the folder from which a pipeline's image is built: only files that are in its hash."""
    (folder / "Dockerfile").write_text(PIPELINE, "utf-8")
    _put(_TOOLS / "prepare.py", folder / "prepare.py")
    for name in ("repository", "runtime", "pipeline"):
        (folder / name).mkdir()
    _put_shared(repository, folder / "repository")
    for path in runtime:
        _put(path, folder / "runtime" / "tidegate" / path.relative_to(package))
    _put_folders(repository, folders, folder / "pipeline")
    prepare.tidy([folder])


def write_question(
    folder: Path,
    repository: Path,
    folders: Iterable[str],
    package: Path,
    runtime: Iterable[Path],
    files: Sequence[str],
) -> None:
    """Write the folder from which Tsdat is asked about config files: with what images contain."""
    (folder / "Dockerfile").write_text(_ASK, "utf-8")
    (folder / "files.json").write_text(json.dumps(list(files)), "utf-8")
    _put_shared(repository, folder / "code")
    _put_folders(repository, folders, folder / "code")
    for path in runtime:
        _put(path, folder / "code" / "tidegate" / path.relative_to(package))
    prepare.tidy([folder])


def _put_shared(repository: Path, target: Path) -> None:
    for name in SHARED:
        for path in walk(repository / name):
            _put(path, target / path.relative_to(repository))


def _put_folders(repository: Path, folders: Iterable[str], target: Path) -> None:
    for name in folders:
        for path in folder_files(repository, name):
            _put(path, target / path.relative_to(repository))


def _put(source: Path, target: Path) -> None:
    if source.is_file():  # broken links and sockets are not in the hash either
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(source.stat().st_mode)
