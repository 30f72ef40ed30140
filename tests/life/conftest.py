"""The tools that these tests need, and an organization for each module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from deploy_lambda import functions
from deploy_world import FUNCTIONS, World
from ministack_process import CREDENTIALS, ministack

_NEEDED = ("ministack", "boto3", "tsdat")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A longer time limit for all tests here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # The first one builds an environment with all of Tsdat, on a machine that may be busy.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: `make .venv/.ready`")


@pytest.fixture(scope="module")
def world(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two repositories and an empty account, whose functions run the images that they name."""
    root = tmp_path_factory.mktemp("deploy")
    worlds: list[World] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        extra: dict[str, str] = {}
        with functions(
            lambda function: worlds[0].image_of(function),
            lambda uri: worlds[0].runner(uri),
            extra,
            root / "functions.log",
        ) as served:
            proxies = {f"MINISTACK_LAMBDA_PROXY_{name}": served.url for name in FUNCTIONS}
            (root / "aws").mkdir()
            with ministack(root / "aws", proxies) as stack:
                extra.update(stack.environment)
                world = World(root, stack, base, root / "functions.log")
                worlds.append(world)
                yield world
                world.close()
