"""Every implementation of the three protocols, for the contract tests to run on.

To add one, write a factory (a generator that yields it and cleans up after it) and register it
below; a factory may call ``pytest.skip`` where what it needs is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.runtime.protocols import Inputs, Ledger, Outputs
from tidegate.runtime.testing import MemoryInputs, MemoryLedger, MemoryOutputs
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outputs import FolderOutputs


@dataclass(frozen=True)
class InputsUnderTest:
    """Inputs, and how raw files get there and away."""

    inputs: Inputs
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]


@dataclass(frozen=True)
class OutputsUnderTest:
    """Outputs, and what a reader sees of them."""

    outputs: Outputs
    keys: Callable[[], set[str]]
    """The keys of all files, those inside folder products included."""


def memory_ledger(tmp: Path) -> Iterator[Ledger]:
    yield MemoryLedger()


def sqlite_ledger(tmp: Path) -> Iterator[Ledger]:
    with SqliteLedger(tmp / ".tidegate" / "ledger.db") as ledger:
        yield ledger


def memory_inputs(tmp: Path) -> Iterator[InputsUnderTest]:
    inputs = MemoryInputs()

    def put(key: str, content: bytes) -> None:
        inputs.put(key, content)

    def delete(key: str) -> None:
        del inputs.files[key]

    yield InputsUnderTest(inputs, put, delete)


def folder_inputs(tmp: Path) -> Iterator[InputsUnderTest]:
    root = tmp / "input"
    root.mkdir()

    def put(key: str, content: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)

    yield InputsUnderTest(FolderInputs(root), put, lambda key: (root / key).unlink())


def _files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def memory_outputs(tmp: Path) -> Iterator[OutputsUnderTest]:
    root = tmp / "output"
    yield OutputsUnderTest(MemoryOutputs(root), lambda: _files(root))


def folder_outputs(tmp: Path) -> Iterator[OutputsUnderTest]:
    root = tmp / "output"
    yield OutputsUnderTest(FolderOutputs(root, tmp / "work"), lambda: _files(root))


Factory = Callable[[Path], Iterator[Any]]

LEDGERS: dict[str, Factory] = {"memory": memory_ledger, "sqlite": sqlite_ledger}
INPUTS: dict[str, Factory] = {"memory": memory_inputs, "folders": folder_inputs}
OUTPUTS: dict[str, Factory] = {"memory": memory_outputs, "folders": folder_outputs}
