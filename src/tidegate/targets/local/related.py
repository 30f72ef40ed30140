"""Finds the files that belong to those that arrived: companions, and members of their group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.events import FileArrived
from tidegate.runtime.manifest import Config
from tidegate.runtime.related_files import (
    companions_of,
    has_related,
    related_prefix,
    related_runs,
    waits_until,
)
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.select import is_input, takes
from tidegate.targets.local.inputs import LARGE, FolderInputs, RawFile
from tidegate.targets.local.ledger import SeenFile, SqliteLedger

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_REMEMBERED = 10_000


class RelatedFiles:
    """Completes arrivals; ``has_settled`` says which other files can be used already."""

    def __init__(
        self, inputs: FolderInputs, ledger: SqliteLedger, has_settled: Callable[[RawFile], bool]
    ) -> None:
        self._inputs = inputs
        self._ledger = ledger
        self._has_settled = has_settled
        self._hashed: dict[RawFile, SeenFile] = {}

    def waiting(
        self, configs: Sequence[Config], rows: Sequence[SeenFile], now: datetime
    ) -> dict[str, datetime]:
        """Until when each of these files waits for companions that are not there yet, by key."""
        found: dict[str, datetime] = {}
        for config in filter(has_related, configs):
            for row in rows:
                self._remember(row)
                companions = companions_of(config, row.key)
                if not companions or not takes(config, row.key):
                    continue
                present = [key for key in companions if self._is_present(config, key)]
                until = waits_until(config, row.to_input(), present)
                if until is not None and until > now:
                    found[row.key] = max(until, found.get(row.key, until))
        return found

    def arrivals(
        self, configs: Sequence[Config], rows: Sequence[SeenFile], now: datetime
    ) -> Iterator[FileArrived]:
        """The arrivals of files, for each config that takes them, with what belongs to them.

        If files that belong together arrive together, one arrival stands for them.
        """
        for config in configs:
            mine = [row for row in rows if takes(config, row.key)]
            if mine and has_related(config):
                yield from self._related_arrivals(config, mine, now)
            else:
                yield from (FileArrived(row.to_input(), now, config.id) for row in mine)

    def _related_arrivals(
        self, config: Config, rows: Sequence[SeenFile], now: datetime
    ) -> Iterator[FileArrived]:
        """An arrival for each run that is due, with the files of that run; only these are hashed.

        They are in the order of ``rows``.
        """
        arrived = {row.key: row.to_input() for row in rows}
        due, others = self._due(config, rows, now)
        known = self._ledger.seen_files.at(file.key for file in others)
        files = dict(arrived)
        for file in others:
            row = self._version(file, known.get(file.key))
            if row is not None:
                files[row.key] = row.to_input()
        for place, run in sorted(due, key=lambda item: item[0]):
            belonging = tuple(files[file.key] for file in run.files if file.key in files)
            yield FileArrived(arrived[rows[place].key], now, config.id, belonging)

    def hash_members(
        self, configs: Sequence[Config], rows: Sequence[SeenFile], now: datetime
    ) -> None:
        """Hash all files of the runs that are due, large ones too, before ``arrivals``."""
        for config in filter(has_related, configs):
            mine = [row for row in rows if takes(config, row.key)]
            if mine:
                _, others = self._due(config, mine, now)
                known = self._ledger.seen_files.at(file.key for file in others)
                for file in others:
                    if not _is_known(file, known.get(file.key)):
                        self._hash(file)

    def _due(
        self, config: Config, rows: Sequence[SeenFile], now: datetime
    ) -> tuple[list[tuple[int, Run]], list[RawFile]]:
        """The runs that are due, each with the place of its first row, and their other files."""
        found = {file.key: file for file in self._present(config, rows)}
        arrived = {row.key: row.to_input() for row in rows}
        places = {key: place for place, key in enumerate(arrived)}
        present = [_not_hashed(file) for file in found.values()]
        due = [
            (min(places[file.key] for file in run.files if file.key in places), run)
            for run in related_runs(config, arrived.values(), present, now, now=now)
        ]
        wanted = {file.key for _, run in due for file in run.files} - arrived.keys()
        return due, [found[key] for key in sorted(wanted)]

    def _present(self, config: Config, rows: Sequence[SeenFile]) -> Iterator[RawFile]:
        for prefix in sorted({related_prefix(config, row.key) for row in rows}):
            for file in self._inputs.scan(prefix):
                if is_input(config, file.key) and self._has_settled(file):
                    yield file

    def _is_present(self, config: Config, key: str) -> bool:
        """Whether a companion is there; a large one counts once it is hashed."""
        file = self._inputs.find(key) if is_input(config, key) else None
        if file is None or not self._has_settled(file):
            return False
        known = self._ledger.seen_files.at([key]).get(key) if file.size >= LARGE else None
        return file.size < LARGE or file in self._hashed or _is_known(file, known)

    def _version(self, file: RawFile, known: SeenFile | None) -> SeenFile | None:
        """A file at its present version; None for one that arrives again, or is hashed later."""
        if _is_known(file, known):
            return known
        if file.size >= LARGE and file not in self._hashed:
            return None
        return self._hash(file)

    def _hash(self, file: RawFile) -> SeenFile | None:
        """A file at its present version; None for one that changes now."""
        try:
            row = self._hashed.get(file) or self._inputs.hash_file(file)
        except (InputChanged, StorageError):
            return None
        self._remember(row)
        return row

    def _remember(self, row: SeenFile) -> None:
        if len(self._hashed) >= _REMEMBERED:
            self._hashed.clear()
        self._hashed[RawFile(*row[:5])] = row


def _is_known(file: RawFile, known: SeenFile | None) -> bool:
    return known is not None and known[:5] == tuple(file)


def _not_hashed(file: RawFile) -> Input:
    modified = _EPOCH + timedelta(microseconds=file.mtime_ns // 1000)
    return Input(file.key, "", file.size, modified)
