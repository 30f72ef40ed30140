"""The tiers of tests: what a test may start, and which tests share a process.

* ``unit``: no child process, no emulator. ``make test-quick`` runs these.
* ``functional``: may start child processes: Tsdat in a worker, the command line, git, uv.
* ``integration``: needs the emulator of AWS, a registry, or images that are really built.

A test is a unit test unless it has a marker of another tier, or uses a fixture in ``_FIXTURES``. A
unit test that starts a process fails, and so does a functional test that starts an emulator.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

TESTS = Path(__file__).parent
sys.path += [str(TESTS / "aws"), str(TESTS / "images"), str(TESTS / "web")]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background: the children that tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The CDK unpacks its 100 MB there once, not once for each home folder that a test has.
os.environ.setdefault("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(TESTS.parent / ".tools" / "jsii"))

hypothesis.settings.register_profile("tidegate", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("tidegate")

TIERS = ("unit", "functional", "integration")

_FIXTURES = {
    "integration": {"aws", "stack", "moto", "cloud", "world", "registry", "store", "base"},
    "functional": {
        "executor",
        "worker",
        "tsdat_python",
        "run_tsdat",
        "git",
        "small_disk",
        "sharing_disk",
        "read_only",
    },
}
"""Fixtures that start something, by the tier of the tests that use them."""

_FOLDERS = {"e2e": "integration", "life": "integration"}
"""Folders with tests of one tier only."""

_TOGETHER = {
    "e2e": "the deployment",
    "life": "the example's images",
    "images/test_image_tsdat.py": "the example's images",
    "images/test_image_base.py": "small images",
    "images/test_image_build.py": "small images",
    "images/test_image_builders.py": "small images",
}
"""Folders and modules of which all tests share something expensive: one process runs them all."""

_APART = {"benchmarks/test_benchmarks.py"}
"""Modules of which the tests share nothing: any process runs any of them."""

_EMULATORS = {"ministack", "moto.server", "buildah", "docker-registry", "debootstrap"}
"""Words in a command that only integration tests may run."""

_STARTS = {
    *("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
    "os.exec",
}
"""Python's audit events of a process that starts."""


# Which tier a test is in.


def _tier(item: pytest.Item) -> str:
    """The highest tier that a marker, the folder or a fixture asks for."""
    folder = item.path.relative_to(TESTS).parts[0]
    used = set(getattr(item, "fixturenames", ()))
    for tier, old in (("integration", "aws"), ("functional", "slow")):
        marked = item.get_closest_marker(tier) or item.get_closest_marker(old)
        if marked or _FOLDERS.get(folder) == tier or used & _FIXTURES[tier]:
            return tier
    return "unit"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """Mark each test with its tier; put large groups first, then modules with integration tests.

    Those take longest: at the end no process is left alone with one. The tests of a group stay
    together, after pytest-randomly has changed the order, too.
    """
    for item in items:
        item.add_marker(getattr(pytest.mark, _tier(item)))
    result = yield
    places: dict[str, tuple[int, int]] = {}
    for item in items:
        group = _group(item.nodeid)
        before = places.get(group, (0, len(places)))
        first = -len(TIERS) if group in _TOGETHER.values() else -TIERS.index(_marked(item))
        places[group] = (min(before[0], first), before[1])
    items.sort(key=lambda item: places[_group(item.nodeid)])
    return result


def _group(nodeid: str) -> str:
    """What one process of pytest-xdist runs: a module, or all that share something."""
    module = nodeid.split("::")[0].removeprefix("tests/")
    if module in _APART:
        return nodeid
    return _TOGETHER.get(module) or _TOGETHER.get(module.split("/")[0]) or module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests by group, so that expensive fixtures are made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log)


def _marked(item: pytest.Item) -> str:
    """The tier of a test that has been marked."""
    return next(tier for tier in reversed(TIERS) if item.get_closest_marker(tier))


# A test that starts more than its tier may.


class _Guard:
    """Watches the processes that the current test starts."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.refused: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Called by Python for each event; raising here keeps the process from starting."""
        if event not in _STARTS or self.item is None:
            return
        words = [str(word) for word in _flat(arguments[:2])]
        needed = "functional"
        if any(word in _EMULATORS or os.path.basename(word) in _EMULATORS for word in words):
            needed = "integration"
        tier = _marked(self.item)
        if TIERS.index(tier) < TIERS.index(needed):
            self.refused.append(
                f"a test of the tier {tier!r} starts {' '.join(words)[:200]!r}:"
                f" mark it `@pytest.mark.{needed}`, or add the fixture that starts it to"
                " _FIXTURES in tests/conftest.py"
            )
            pytest.fail(self.refused[-1])


def _flat(values: object) -> Iterator[object]:
    if isinstance(values, (list, tuple)):
        for value in values:
            yield from _flat(value)
    elif values is not None:
        yield values


_GUARD = _Guard()
sys.addaudithook(_GUARD.audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The processes that start in set-up and call are this test's."""
    _GUARD.item, _GUARD.refused = item, []
    try:
        return (yield)
    finally:
        _GUARD.item = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """What ends here may be a fixture of a whole session that a test of a higher tier asked for."""
    _GUARD.item = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """The code under test may have caught what the guard raised."""
    result = yield
    if _GUARD.refused:
        pytest.fail(_GUARD.refused[0], pytrace=False)
    return result


# The emulator, one for each process that runs tests.


_NO_ACCOUNT = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}
"""With these, boto3 finds no credentials but those in the environment."""


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The emulator of AWS, on a port of its own, with folders of its own.

    Its address is in the environment of the tests that use it.
    """
    from ministack_process import CREDENTIALS, ministack

    with (
        pytest.MonkeyPatch.context() as patch,
        ministack(tmp_path_factory.mktemp("ministack")) as stack,
    ):
        for name, value in {**_NO_ACCOUNT, **CREDENTIALS}.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ENDPOINT_URL", stack.endpoint)
        yield stack


# Images, for each process that runs tests.


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of buildah's: what one test has built, another takes from there."""
    from image_kit import buildah_store, skip_without_tools

    skip_without_tools()
    with buildah_store(tmp_path_factory.mktemp("buildah")):
        yield


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A registry of this machine."""
    from image_kit import docker_registry, skip_without_tools

    skip_without_tools()
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def base(registry: Any, store: None) -> str:
    """The name of a base image like Lambda's, in that registry."""
    from image_kit import base_archive, push_base

    name = f"{registry.host}/lambda/python:3.11"
    push_base(base_archive(), name)
    return name


@pytest.fixture(autouse=True)
def _environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests; of AWS only what the emulator needs."""
    for name in ("TIDEGATE_TARGET", "TIDEGATE_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    if request.node.get_closest_marker("integration"):
        return
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in _NO_ACCOUNT.items():
        monkeypatch.setenv(name, value)
