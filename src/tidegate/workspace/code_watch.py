"""Detect changes of the config, the pipelines' code and their packages since they were read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tidegate.runtime.code_files import SHARED, walk
from tidegate.runtime.manifest import Config
from tidegate.workspace.repository import ENVIRONMENT_FILES, pipeline_folders

EVERY = 1.0
"""The time between two looks at all files, s. A change is taken over when two looks in a row find
the same: someone may be copying several files."""

_PACKAGES = (".dist-info", ".egg-info")

Stamps = dict[str, tuple[int, int, int]]


class CodeWatch:
    """Compares names, sizes, times and inodes of files with those at its start.

    Create it before the files are read: then what was read is what it compares with. Any thread may
    ask. See ``targets.local.code_changes.CodeChanges``.
    """

    def __init__(
        self,
        config: Path,
        repository: Path,
        pipelines: Mapping[str, Iterable[str]],
        packages: Iterable[Path] = (),
    ) -> None:
        """``pipelines`` are the config files of each pipeline; ``packages`` folders with packages.

        Of a package, only its ``dist-info`` folder is looked at.
        """
        self._config = config
        self._repository = repository
        self._lock = threading.Lock()
        self._folders = {
            name: (*SHARED, *pipeline_folders(repository, files))
            for name, files in pipelines.items()
        }
        self._package_folders = tuple(packages)
        self._packages_at = self._package_times()
        self._packages = self._installed()
        self._start = self._scan()
        self._starts = {name: self._code(folders) for name, folders in self._folders.items()}
        self._last = self._start
        self._next = time.monotonic() + EVERY
        self.suspected = False
        """Whether something had changed when it was last looked at."""

    def watch_packages(self, folders: Iterable[Path]) -> None:
        """Look at the packages in these folders, too; call it before anybody asks."""
        self._package_folders = tuple(folders)
        self._packages_at = self._package_times()
        self._packages = self._installed()
        self._start.update(self._packages)
        self._last = self._start

    def affects(self, config: Config) -> bool:
        """Whether the code or the packages of that config's pipeline have changed."""
        folders = self._folders.get(config.pipeline)
        if folders is None:
            return False
        same = self._code(folders) == self._starts[config.pipeline]
        if same and not self._packages_changed():
            return False
        self.suspected = True
        return True

    def _packages_changed(self) -> bool:
        # An installation adds and removes names, which changes the folder's own time. Each run asks
        # twice, so the folder is listed only then.
        times = self._package_times()
        if times == self._packages_at:
            return False
        if self._installed() != self._packages:
            return True
        self._packages_at = times
        return False

    def _package_times(self) -> list[tuple[int, int]]:
        times = []
        for folder in self._package_folders:
            with suppress(OSError):
                status = folder.stat()
                times.append((status.st_mtime_ns, status.st_ino))
        return times

    def settled(self) -> str:
        """What has changed, once it does not change any more; "" for nothing."""
        with self._lock:
            if time.monotonic() < self._next:
                return ""
            self._next = time.monotonic() + EVERY
            before, self._last = self._last, self._scan()
            self.suspected = self._last != self._start
            if not self.suspected or self._last != before:
                return ""
            changed = sorted(dict(self._last.items() ^ self._start.items()))
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            return f"{changed[0]}{more}"

    def _scan(self) -> Stamps:
        everything = {folder for folders in self._folders.values() for folder in folders}
        found = self._code(sorted(everything))
        found.update(self._stamps(self._repository / name for name in ENVIRONMENT_FILES))
        found.update(self._stamps([self._config]))
        found.update(self._installed())
        return found

    def _installed(self) -> Stamps:
        found: Stamps = {}
        for folder in self._package_folders:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(_PACKAGES):
                        with suppress(OSError):
                            status = entry.stat()
                            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
                            found[entry.name] = stamp
        return found

    def _code(self, folders: Iterable[str]) -> Stamps:
        return self._stamps(self._files(folders))

    def _files(self, folders: Iterable[str]) -> Iterator[Path]:
        for folder in folders:
            for above in PurePosixPath(folder).parents:
                yield self._repository / above / "__init__.py"
            yield from walk(self._repository / folder)

    def _stamps(self, files: Iterable[Path]) -> Stamps:
        found = {}
        for path in files:
            try:
                status = path.stat()
            except OSError:
                continue
            inside = path != self._config and self._repository in path.parents
            name = str(path.relative_to(self._repository)) if inside else path.name
            found[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found
