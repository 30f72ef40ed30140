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
from tidegate.runtime.runs import Input
from tidegate.runtime.select import is_input, takes
from tidegate.targets.local.inputs import FolderInputs, RawFile
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
        for config in configs:
            for row in rows:
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
        found = {file.key: file for file in self._present(config, rows)}
        arrived = {row.key: row.to_input() for row in rows}
        places = {key: place for place, key in enumerate(arrived)}
        present = [_not_hashed(file) for file in found.values()]
        due = [
            (min(places[file.key] for file in run.files if file.key in places), run)
            for run in related_runs(config, arrived.values(), present, now, now=now)
        ]
        wanted = {file.key for _, run in due for file in run.files} - arrived.keys()
        known = self._ledger.seen_files.at(wanted)
        files = dict(arrived)
        for key in sorted(wanted):
            row = self._hash(found[key], known.get(key))
            if row is not None:
                files[key] = row.to_input()
        for place, run in sorted(due, key=lambda item: item[0]):
            belonging = tuple(files[file.key] for file in run.files if file.key in files)
            yield FileArrived(arrived[rows[place].key], now, config.id, belonging)

    def _present(self, config: Config, rows: Sequence[SeenFile]) -> Iterator[RawFile]:
        for prefix in sorted({related_prefix(config, row.key) for row in rows}):
            for file in self._inputs.scan(prefix):
                if is_input(config, file.key) and self._has_settled(file):
                    yield file

    def _is_present(self, config: Config, key: str) -> bool:
        file = self._inputs.find(key) if is_input(config, key) else None
        return file is not None and self._has_settled(file)

    def _hash(self, file: RawFile, known: SeenFile | None) -> SeenFile | None:
        """A file at its present version; None for one that changes now, which arrives again."""
        if known is not None and known[:5] == tuple(file):
            return known
        try:
            row = self._hashed.get(file) or self._inputs.hash_file(file)
        except (InputChanged, StorageError):
            return None
        if len(self._hashed) >= _REMEMBERED:
            self._hashed.clear()
        self._hashed[file] = row
        return row


def _not_hashed(file: RawFile) -> Input:
    modified = _EPOCH + timedelta(microseconds=file.mtime_ns // 1000)
    return Input(file.key, "", file.size, modified)
