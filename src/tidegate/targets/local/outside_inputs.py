"""Raw files that a person named and that are not in ``input/``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.related_files import companions_of
from tidegate.runtime.runs import Input
from tidegate.runtime.select import is_ignored
from tidegate.targets.local.inputs import FolderInputs

Outside = dict[str, Path]
"""Where such files are, by the keys that they are given."""


class OutsideInputs:
    """``FolderInputs``, and some files from elsewhere; a person may name links.

    ``outside`` gets the companions of these files, too.
    """

    def __init__(self, inputs: FolderInputs, outside: Outside) -> None:
        self._inputs = inputs
        self._outside = outside
        self._folders: dict[Path, FolderInputs] = {}

    def input(self, key: str) -> Input:
        """The file at its present version; raises UsageError if it does not count as a raw file."""
        inputs, name = self._at(key)
        found = inputs.find(name)
        if found is None:
            raise UsageError(
                f"{name} is not accepted as a raw file",
                why="hidden and temporary names, and links in input/, are not",
                next="give it another name, or copy it into input/",
            )
        return replace(inputs.identify(found), key=key)

    def companions(self, config: Config, files: Iterable[Input]) -> list[Input]:
        """The companions that lie beside these files."""
        found: dict[str, Input] = {}
        for file in files:
            beside = self._outside.get(file.key)
            for key in companions_of(config, file.key):
                place = beside.with_name(key.rpartition("/")[2]) if beside else None
                if is_ignored(config, key) or (place is not None and not place.is_file()):
                    continue
                if place is not None:
                    self._outside[key] = place
                inputs, name = self._at(key)
                if (companion := inputs.find(name)) is not None:
                    found[key] = replace(inputs.identify(companion), key=key)
        return list(found.values())

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
        if path is None:
            return self._inputs, key
        real = Path(os.path.realpath(path))
        return self._folders.setdefault(real.parent, FolderInputs(real.parent)), real.name
