"""What is known of raw files: a file is hashed only if it has changed since it was last seen."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input
from tidegate.runtime.select import takes
from tidegate.targets.local.inputs import FolderInputs, RawFile
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.skipped import SkippedFiles

T = TypeVar("T")


class Each(Protocol):
    """``map``, perhaps in several threads."""

    def __call__(
        self, read: Callable[[RawFile], SeenFile | None], files: Iterable[RawFile], /
    ) -> Iterable[SeenFile | None]: ...


BATCH = 200
"""How many files are looked up in the ledger at once."""
_MOST_SAID = 10_000


class Sightings:
    """Reads raw files and remembers their versions in the ledger.

    ``configs`` are all configs of the workspace: the files of those with trigger S3 are only noted
    as seen when their runs are queued (see ``Intake``).
    """

    def __init__(
        self,
        inputs: FolderInputs,
        configs: Sequence[Config],
        ledger: SqliteLedger,
        say: Callable[[str], None],
    ) -> None:
        self._inputs = inputs
        self._configs = [config for config in configs if config.trigger == "S3"]
        self._ledger = ledger
        self._say = say
        self._said: set[str] = set()

    def is_wanted(self, key: str) -> bool:
        """Whether a file of that key sets off runs when it arrives."""
        return any(takes(config, key) for config in self._configs)

    def scan(
        self, prefix: str = "", skipped: SkippedFiles | None = None
    ) -> Iterator[list[RawFile]]:
        """All files below a prefix, in batches; those that cannot be read are reported.

        ``skipped`` collects what does not count as arrived.
        """
        if skipped is None:
            return batched(self._inputs.scan(prefix, self._report), BATCH)

        def unreadable(key: str, error: OSError) -> None:
            skipped.unreadable(key, error)
            self._report(key, error)

        return batched(self._inputs.scan(prefix, unreadable, skipped.left_out), BATCH)

    def row(
        self,
        file: RawFile,
        known: Mapping[str, SeenFile],
        check: Callable[[], None] = lambda: None,
    ) -> SeenFile | None:
        """What to note of a file; None if it cannot be read, which is reported.

        Its content is hashed, unless size, times and inode are as ``known``. ``check`` is called
        now and then, and may raise an exception to end this.

        Raises:
            InputChanged: its content or its inode changed meanwhile, so it must be read again.
        """
        before = known.get(file.key)
        if before is not None and before[:5] == tuple(file):
            return before
        try:
            return self._inputs.hash_file(file, check=check)
        except StorageError as error:
            self._say_once(str(error))
            return None

    def list(
        self, config: Config, *, each: Each = map, check: Callable[[], None] = lambda: None
    ) -> list[Input]:
        """The files under a scheduled ingest's path, without those that are still being written.

        ``each`` is called like ``map`` to read several. ``check`` is called now and then, and may
        raise an exception to end this.
        """
        batches = self.scan(config.input_path or "")
        found = (self.inputs_of(config, batch, each=each, check=check) for batch in batches)
        return [input for inputs in found for input in inputs]

    def inputs_of(
        self,
        config: Config,
        batch: Sequence[RawFile],
        *,
        each: Each = map,
        check: Callable[[], None] = lambda: None,
    ) -> Sequence[Input]:
        """The versions of some files, without those that are still being written; see ``list``."""
        oldest = time.time_ns() - int(config.settle * 1e9)
        # A time in the future says nothing about when the file was written.
        future = time.time_ns() + int(config.settle * 1e9)
        found = [f for f in batch if f.mtime_ns <= oldest or f.mtime_ns > future]
        known = self._ledger.seen_files.at(file.key for file in found)

        def read(file: RawFile) -> SeenFile | None:
            try:
                check()
                return self.row(file, known, check)
            except InputChanged:  # the schedule's next time takes it
                return None

        rows = [row for row in each(read, found) if row is not None]
        # For a file that also sets off a run of its own, "seen" means that this run is queued.
        new = [r for r in rows if known.get(r.key) != r and not self.is_wanted(r.key)]
        self._ledger.seen_files.add(new)
        return [row.to_input() for row in rows]

    def _report(self, key: str, error: OSError) -> None:
        self._say_once(f"{key} cannot be read: {error.strerror or error}")

    def _say_once(self, text: str) -> None:
        """Say something, unless it was said before: all files are looked at every few minutes."""
        if text not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(text)
            self._say(text)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to ``size`` items."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
