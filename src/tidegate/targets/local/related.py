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
            mains = [
                row for row in rows if companions_of(config, row.key) and takes(config, row.key)
            ]
            present = {file.key for file in self._present(config, mains)} if mains else set()
            for row in mains:
                until = waits_until(config, row.to_input(), present)
                if until is not None and until > now:
                    found[row.key] = max(until, found.get(row.key, until))
        return found

    def arrivals(
        self, configs: Sequence[Config], rows: Sequence[SeenFile], now: datetime
    ) -> Iterator[FileArrived]:
        """The arrivals of files, for each config that takes them, with what belongs to them."""
        for config in configs:
            mine = [row for row in rows if takes(config, row.key)]
            files = self._belonging(config, mine, now) if mine and has_related(config) else ()
            for row in mine:
                yield FileArrived(row.to_input(), now, config.id, files)

    def _belonging(
        self, config: Config, rows: Sequence[SeenFile], now: datetime
    ) -> tuple[Input, ...]:
        """All files of the runs that are due; only these are hashed."""
        found = {file.key: file for file in self._present(config, rows)}
        arrived = [row.to_input() for row in rows]
        runs = related_runs(
            config, arrived, [_not_hashed(file) for file in found.values()], now, now=now
        )
        known = {row.key: row for row in rows}
        wanted = {file.key for run in runs for file in run.files} - known.keys()
        known.update(self._ledger.seen_files.at(wanted))
        files = [row.to_input() for row in rows]
        for key in sorted(wanted):
            row = self._hash(found[key], known.get(key))
            files += [row.to_input()] if row is not None else []
        return tuple(files)

    def _present(self, config: Config, rows: Sequence[SeenFile]) -> Iterator[RawFile]:
        for prefix in sorted({related_prefix(config, row.key) for row in rows}):
            for file in self._inputs.scan(prefix):
                if is_input(config, file.key) and self._has_settled(file):
                    yield file

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
