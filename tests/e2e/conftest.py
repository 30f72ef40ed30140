"""One deployment for all tests here."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest
from e2e_repository import config_text, csv, make_repository

_NEEDED = ("ministack", "boto3", "aws_lambda_powertools", "tsdat")


_OPEN = contextlib.ExitStack()
"""What ends with the last test here. A session's fixtures end with the last of all tests: the
emulator and its functions would be in the way of the others until then."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """End what is open after the last test here."""
    result = yield
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _OPEN.close()
    return result


def pytest_sessionfinish() -> None:
    """And when it does not come to that."""
    _OPEN.close()


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not installed: `uv pip sync --python {sys.executable}"
            " --require-hashes requirements/dev.txt`"
        )
    if shutil.which("openssl") is None:
        pytest.skip("the emulator makes its certificate with openssl: `apt-get install openssl`")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with all pipelines, as a person has it on a laptop."""
    _check_installed()
    root = tmp_path_factory.mktemp("e2e")
    repository = make_repository(root / "pipelines")
    (root / "pipelines_config.yml").write_text(config_text(repository))
    return root


@pytest.fixture(scope="session")
def session(workspace: Path):
    """The workspace, read, with what Tsdat says of each config."""
    from tidegate.workspace.folder import Workspace
    from tidegate.workspace.loading import load_workspace

    return load_workspace(Workspace(workspace), python=sys.executable)


@pytest.fixture(scope="session")
def cloud(session, tmp_path_factory: pytest.TempPathFactory):
    """The branch, deployed to an emulator that minds IAM policies and TLS."""
    from e2e_cloud import deploy
    from ministack_process import CREDENTIALS, ministack

    folder = tmp_path_factory.mktemp("cloud")
    patch = _OPEN.enter_context(pytest.MonkeyPatch.context())
    for name, value in CREDENTIALS.items():
        patch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = {"AUTH": "true", "USE_SSL": "1"}
    stack = _OPEN.enter_context(ministack(folder / "ministack", settings))
    bundle = folder / "ministack/tmp/ministack-tls/server.crt"
    patch.setenv("AWS_CA_BUNDLE", str(bundle))
    cloud = deploy(stack, session, folder, bundle)
    # For the schedule that fires each minute: meanwhile, other tests go on.
    cloud.put("tiny/ticks/first.csv", csv())
    return cloud


@pytest.fixture(scope="session")
def worker(session):
    """Tsdat, imported once for all services and functions that run in this process."""
    from e2e_same import Lasting

    worker = Lasting([sys.executable], session.repository)
    worker.start()
    _OPEN.callback(worker.kill)
    return worker


@pytest.fixture
def new_local(session, worker, tmp_path: Path) -> Iterator[Callable]:
    """Makes workspaces for these configs, or for all; they share one worker."""
    from e2e_same import Local, only

    from tidegate.executors import ExecutorOptions, ProcessExecutor

    made: list[Local] = []
    options = ExecutorOptions((sys.executable,), session.repository, workers=1)

    def new_executor() -> ProcessExecutor:
        return ProcessExecutor(options, lambda python, repository: worker)

    def make(configs: Sequence[str] = ()) -> Local:
        root = tmp_path / f"local-{time.time_ns()}"
        root.mkdir()
        made.append(Local(root, only(session.manifest, configs), new_executor))
        return made[-1]

    yield make
    for local in made:
        local.close()
