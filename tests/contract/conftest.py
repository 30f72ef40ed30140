"""A fixture for each protocol, once for each implementation in ``implementations``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from implementations import (
    EXECUTORS,
    INPUTS,
    LEDGERS,
    OUTPUTS,
    QUEUES,
    ExecutorUnderTest,
    InputsUnderTest,
    OutputsUnderTest,
    QueueUnderTest,
)
from obedient_pipeline import CONFIG, FAST, make_repository

from tidegate.runtime.protocols import Ledger


@pytest.fixture(params=LEDGERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    yield from LEDGERS[request.param](tmp_path)


@pytest.fixture(params=INPUTS)
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InputsUnderTest]:
    yield from INPUTS[request.param](tmp_path)


@pytest.fixture(params=OUTPUTS)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutputsUnderTest]:
    yield from OUTPUTS[request.param](tmp_path)


@pytest.fixture(params=QUEUES)
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueUnderTest]:
    yield from QUEUES[request.param](tmp_path)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("obedient"))


@pytest.fixture(params=EXECUTORS)
def executor(
    request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExecutorUnderTest]:
    monkeypatch.setenv("PYTHONPATH", FAST)
    yield from EXECUTORS[request.param](repository, CONFIG)
