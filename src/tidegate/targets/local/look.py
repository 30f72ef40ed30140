"""The look through the input folder that a service takes as it starts, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.select import takes
from tidegate.targets.local.inputs import RawFile
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.sightings import Sightings
from tidegate.targets.local.skipped import SkippedFiles

_STATE = "intake/look"
_EVERY = 2.0


@dataclass(frozen=True)
class Look:
    """A look through all files of the input folder."""

    began: datetime
    """When it began, UTC."""
    files: int = 0
    """How many files have been looked at so far."""
    new: int = 0
    """How many of them were new or changed, and are run."""
    expected: int = 0
    """How many files there were the last time; 0 if that is not known."""
    ended: datetime | None = None
    """When it ended, UTC; None while it goes on."""


def read_look(ledger: Ledger) -> Look | None:
    """The latest look, if there was one."""
    text = ledger.state(_STATE)
    with suppress(ValueError):  # of another version of Tidegate
        return loads(Look, text) if text else None
    return None


class LookProgress:
    """Keeps count of a look, and writes it to the ledger now and then for ``tidegate status``."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        before = read_look(ledger)
        expected = 0 if before is None else before.files if before.ended else before.expected
        self._look = Look(now(), expected=expected)
        self._write()

    def add(self, files: int, new: int) -> None:
        """Count files, and the new ones among them."""
        look = self._look
        self._look = replace(look, files=look.files + files, new=look.new + new)
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def end(self) -> None:
        """All files have been looked at."""
        self._look = replace(self._look, ended=self._now())
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(StorageError):  # who queues the runs says so
            self._ledger.set_state(_STATE, dumps(self._look))


class InputLook:
    """Looks through all files once; ``skipped`` has those that are not taken, so far."""

    def __init__(
        self, root: Path, sightings: Sightings, ledger: SqliteLedger, configs: Sequence[Config]
    ) -> None:
        self._sightings = sightings
        self._ledger = ledger
        self.skipped = SkippedFiles(root, configs)

    def new_files(
        self, new: Sequence[Config], now: Callable[[], datetime]
    ) -> Iterator[list[RawFile]]:
        """The files that start runs, without those that were taken in before and are unchanged.

        There is a list for each few hundred files that were looked at; most often it is empty.
        ``new`` are configs that have seen none of the files: for them, unchanged files count too.
        """
        progress = LookProgress(self._ledger, now)
        for batch in self._sightings.scan("", self.skipped):
            found = self._not_done(batch, new)
            progress.add(len(batch), len(found))
            yield found
        progress.end()

    def _not_done(self, batch: Sequence[RawFile], new: Sequence[Config]) -> list[RawFile]:
        done = self._ledger.seen_files.unchanged(batch)
        found = []
        for file in batch:
            known = file.key in done
            taken = self.skipped.note(file, known=known)
            if known:
                wanted = any(takes(config, file.key) for config in new)
            else:
                wanted = taken and self._sightings.is_wanted(file.key)
            if wanted:
                found.append(file)
        return found
