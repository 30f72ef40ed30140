"""Find the raw files that a product names as its inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import Input


class RawFiles:
    """The raw files of all configs, found by their names; listed once for each config."""

    def __init__(self, manifest: Manifest, files: Callable[[Config], Iterable[Input]]) -> None:
        self._manifest = manifest
        self._files = files
        self._known: dict[str, dict[str, list[Input]]] = {}

    def find(self, config: str, names: Sequence[str]) -> tuple[Input, ...]:
        """The raw files with these names or paths; empty unless all of them are found."""
        known = self._by_name(self._manifest.config(config))
        found = [self._find_one(name, known) for name in names]
        files = {file.key: file for file in found if file is not None}
        return tuple(files[key] for key in sorted(files)) if all(found) else ()

    def _find_one(self, name: str, known: Mapping[str, list[Input]]) -> Input | None:
        """By the end of its path, or by its name alone if only one file has that name."""
        path = name.replace("\\", "/")
        same_name = known.get(path.rsplit("/", 1)[-1], [])
        same_path = [file for file in same_name if f"/{path}".endswith(f"/{file.key}")]
        found = same_path or same_name
        return found[0] if len(found) == 1 else None

    def _by_name(self, config: Config) -> dict[str, list[Input]]:
        if config.id not in self._known:
            by_name: dict[str, list[Input]] = defaultdict(list)
            if config.kind == "Ingest" and config.input_path and not config.inputs:
                for file in self._files(config):
                    by_name[file.key.rsplit("/", 1)[-1]].append(file)
            self._known[config.id] = by_name
        return self._known[config.id]
