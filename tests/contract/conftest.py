"""A fixture for each protocol, once for each implementation in ``implementations``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from implementations import INPUTS, LEDGERS, OUTPUTS, InputsUnderTest, OutputsUnderTest

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
