"""The base image of the environment: its name and its digest.

A tag such as ``3.12`` moves every few weeks. A release uses the digest of the release before, so
that a push only builds what it changes; a person decides when to update the base image.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tidegate.deploy.core.history import Release
from tidegate.deploy.core.hosts import is_loopback
from tidegate.deploy.images.content import BASE, Architecture, ImageRecipe
from tidegate.deploy.images.pythons import ASSUMED, BESIDE, ON_LAMBDA, fitting_versions
from tidegate.errors import ConfigurationError, StorageError
from tidegate.workspace.recipe import Recipe, read_recipe

LAMBDA = "public.ecr.aws/lambda/python"
"""Lambda's base images, one for each Python version."""

_MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = 30.0


def read_image_recipe(
    repository: Path,
    *,
    python: str | None = None,
    exclude_newer: str | None = None,
    architecture: Architecture = "x86_64",
    base: str | None = None,
    previous: Release | None = None,
    update_base: bool = False,
    package: str = "tsdat",
    micromamba: str | None = None,
) -> ImageRecipe:
    """Everything that the environment image of a repository is made from.

    ``python``, ``exclude_newer`` and ``micromamba`` come from the config; ``base`` names another
    base image than Lambda's, with or without its digest. The digest is that of the ``previous``
    release; without one, or with ``update_base``, the registry is asked for it.

    Raises:
        ConfigurationError: there is no base image for that version of Python.
        PythonEnvironmentError: the repository does not say what its environment contains.
        StorageError: the registry does not return the digest.
    """
    environment = read_recipe(repository, python, exclude_newer, ASSUMED)
    name, _, digest = (base or _lambda_base(environment)).partition("@")
    before = None if update_base else previous
    return ImageRecipe(
        environment,
        name,
        digest or _digest_in(before, name) or remote_digest(name),
        architecture,
        package,
        micromamba,
    )


def _lambda_base(recipe: Recipe) -> str:
    """Lambda's image for the Python version; conda installs its own Python."""
    version = ON_LAMBDA[0] if recipe.needs_conda else _version(recipe)
    return f"{LAMBDA}:{version}"


def _version(recipe: Recipe) -> str:
    """The version of the base image's own Python, which may lie beside the pipelines'."""
    fitting = fitting_versions(recipe)
    if not fitting:
        known = sorted((*ON_LAMBDA, *BESIDE), key=lambda version: int(version.split(".")[1]))
        raise ConfigurationError(
            f"there are no images with Python {recipe.python}, which {recipe.python_from} asks for",
            why=f"on AWS, pipelines can have {', '.join(known)}",
            next='set `python:` in pipelines_config.yml, such as `python: "3.12"`',
        )
    return next((version for version in fitting if version in ON_LAMBDA), ON_LAMBDA[0])


def _digest_in(previous: Release | None, name: str) -> str:
    """The digest of the base image of an earlier release; "" if it used another one."""
    for image in previous.images.values() if previous is not None else ():
        known, _, digest = image.inputs.get(BASE, "").partition("@")
        if known == name:
            return digest
    return ""


# --- requests to a registry -----------------------------------------------------------------------


def remote_digest(reference: str) -> str:
    """The present digest of a tag, from the registry's own protocol.

    Raises:
        StorageError: the registry does not return it.
    """
    host, path, tag = split_reference(reference)
    url = f"{'http' if is_loopback(host) else 'https'}://{host}/v2/{path}/manifests/{tag}"
    headers = {"Accept": _MANIFESTS}
    try:
        status, found = _head(url, headers)
        if status == 401:
            token = _token(found.get("WWW-Authenticate", ""))
            status, found = _head(url, {**headers, "Authorization": f"Bearer {token}"})
        if status != 200:
            raise ValueError(f"HTTP status {status}")
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot find the digest of the image {reference}",
            why=f"{host} answers: {error}",
            next="try again, or name the base image by its digest: --base NAME@sha256:…",
        ) from error
    digest = found.get("Docker-Content-Digest", "")
    if not _DIGEST.fullmatch(digest):
        raise StorageError(
            f"{host} does not return the digest of {reference}",
            next="name the base image by its digest: --base NAME@sha256:…",
        )
    return digest


def split_reference(reference: str) -> tuple[str, str, str]:
    """Registry, repository and tag in the name of an image, by Docker's rules."""
    host, slash, path = reference.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = "registry-1.docker.io", reference
        path = path if slash else f"library/{path}"
    host = "registry-1.docker.io" if host == "docker.io" else host
    name, colon, tag = path.rpartition(":")
    return (host, name, tag) if colon else (host, path, "latest")


def _head(url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    request = urllib.request.Request(url, headers=dict(headers), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIME) as answer:
            return int(answer.status), dict(answer.headers.items())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items())


def _token(challenge: str) -> str:
    """A token for reading, from the address in the registry's answer."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = asked.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or not realm.startswith(("https://", "http://")):
        raise ValueError("it requires credentials")
    with urllib.request.urlopen(
        f"{realm}?{urllib.parse.urlencode(asked)}", timeout=_TIME
    ) as answer:
        data = json.load(answer)
    return str(data.get("token") or data.get("access_token") or "")
