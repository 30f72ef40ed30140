"""Raw files that a person named and that do not lie in ``input/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.runtime.runs import Input
from tidegate.targets.local.inputs import FolderInputs

Outside = Mapping[str, Path]
"""By the key that stands for it: where such a file lies."""


class OutsideInputs:
    """``FolderInputs``, and some files from elsewhere under keys of their own."""

    def __init__(self, inputs: FolderInputs, outside: Outside) -> None:
        self._inputs = inputs
        self._outside = outside

    def input(self, key: str) -> Input:
        """The file at its present version; raises UsageError when it does not count as a file."""
        inputs, name = self._at(key)
        found = inputs.find(name)
        if found is None:
            raise UsageError(
                f"{name} does not count as a raw file",
                why="dotfiles, *.part, *.tmp, *~, and links that lead out of input/ do not",
                next="give it another name, or copy it into input/",
            )
        return Input(key, inputs.identify(found).version, found.size)

    def fetch(self, input: Input, destination: Path) -> None:
        """As ``Inputs.fetch``."""
        inputs, name = self._at(input.key)
        inputs.fetch(Input(name, input.version, input.size), destination)

    def replaced(self, input: Input) -> bool:
        """As ``Inputs.replaced``."""
        inputs, name = self._at(input.key)
        return inputs.replaced(Input(name, input.version, input.size))

    def list(self, prefix: str) -> Iterable[Input]:
        """As ``Inputs.list``: what lies elsewhere is in no listing."""
        return self._inputs.list(prefix)

    def _at(self, key: str) -> tuple[FolderInputs, str]:
        path = self._outside.get(key)
        return (FolderInputs(path.parent), path.name) if path else (self._inputs, key)
