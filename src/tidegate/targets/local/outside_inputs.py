"""Raw files that a person named and that are not in ``input/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.runtime.runs import Input
from tidegate.targets.local.inputs import FolderInputs

Outside = Mapping[str, Path]
"""Where such files are, by the keys that they are given."""


class OutsideInputs:
    """``FolderInputs``, and some files from elsewhere."""

    def __init__(self, inputs: FolderInputs, outside: Outside) -> None:
        self._inputs = inputs
        self._outside = outside

    def input(self, key: str) -> Input:
        """The file at its present version; raises UsageError if it does not count as a raw file."""
        inputs, name = self._at(key)
        found = inputs.find(name)
        if found is None:
            raise UsageError(
                f"{name} is not accepted as a raw file",
                why="hidden and temporary names, and links that lead out of input/, are not",
                next="give it another name, or copy it into input/",
            )
        return replace(inputs.identify(found), key=key)

    def fetch(self, input: Input, destination: Path) -> None:
        """As ``Inputs.fetch``."""
        inputs, name = self._at(input.key)
        inputs.fetch(Input(name, input.version, input.size), destination)

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        """As ``Inputs.fetch_all``."""
        for input, destination in wanted:
            self.fetch(input, destination)

    def replaced(self, input: Input) -> bool:
        """As ``Inputs.replaced``."""
        inputs, name = self._at(input.key)
        return inputs.replaced(Input(name, input.version, input.size))

    def list(self, prefix: str) -> Iterable[Input]:
        """As ``Inputs.list``; files from elsewhere are not listed."""
        return self._inputs.list(prefix)

    def _at(self, key: str) -> tuple[FolderInputs, str]:
        path = self._outside.get(key)
        return (FolderInputs(path.parent), path.name) if path else (self._inputs, key)
