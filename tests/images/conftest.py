"""Clients for the emulator, a registry and a base image, for the tests of images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from image_kit import (
    Registry,
    base_archive,
    buildah_store,
    docker_registry,
    push_base,
    skip_without_tools,
)
from ministack_process import MiniStack

from tidegate.targets.aws.clients import Clients


@pytest.fixture(scope="session")
def clients(aws: MiniStack) -> Clients:
    return aws.clients()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of buildah's for this session."""
    skip_without_tools()
    with buildah_store(tmp_path_factory.mktemp("buildah")):
        yield


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of this machine."""
    skip_without_tools()
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def base(registry: Registry, store: None) -> str:
    """The name of a base image like Lambda's, in that registry."""
    name = f"{registry.host}/lambda/python:3.11"
    push_base(base_archive(), name)
    return name
