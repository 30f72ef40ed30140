"""Which files a scheduled ingest runs, and how many of them together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Input, RunRecord

_LEAST_ROOM = 64 * 2**20
_FAILURES = 500
_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Room:
    """What one run of a scheduled ingest takes at most; more files become several runs."""

    files: int = 500
    """How many files."""
    bytes: int = 2**31
    """How large they are together; a file that is larger is run alone."""


def room_on(folder: Path, runs_at_once: int = 1) -> Room:
    """What one run may take where its work folder is in ``folder``.

    Half of the free space is left for products.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Room()
    return Room(bytes=max(free // (2 * max(runs_at_once, 1)), _LEAST_ROOM))


def new_files(config: Config, files: Sequence[Input], ledger: Ledger) -> list[Input]:
    """Those of the files under the config's path that no run has taken.

    A failed run has taken its files as long as all of them are as they were: if one is removed or
    replaced, the others are new again; a file that was delivered again is new, too.
    """
    new = dict.fromkeys(ledger.untaken(config.id, files))
    present = {file.key: file for file in files}
    for record in ledger.records(config=config.id, states=("failed",), limit=_FAILURES):
        if not _is_as_it_was(record, present):
            for input in record.run.files:
                file = present.get(input.key)
                if file is None or file != input or file in new:
                    continue
                if not _is_taken(config, file, present, ledger):
                    new[file] = None
    return list(new)


def in_batches(config: Config, files: Sequence[Input], room: Room) -> Iterator[tuple[Input, ...]]:
    """The files of each run, the oldest first.

    Together they have at most half of the config's memory: readers hold all of them at once.
    """
    most = min(room.bytes, config.memory * 2**20 // 2)
    batch: list[Input] = []
    size = 0
    for file in sorted(files, key=lambda file: (file.modified or _EARLIEST, file.key)):
        if batch and (len(batch) >= room.files or size + file.size > most):
            yield _in_order(batch)
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield _in_order(batch)


def _in_order(batch: Sequence[Input]) -> tuple[Input, ...]:
    return tuple(sorted(batch, key=lambda file: file.key))


def _is_taken(config: Config, file: Input, present: dict[str, Input], ledger: Ledger) -> bool:
    """Whether a run has taken the file, other than failed ones that have lost one."""
    return any(
        file in record.run.files
        and record.state != "superseded"
        and (record.state != "failed" or _is_as_it_was(record, present))
        for record in ledger.about(config.id, file.key)
    )


def _is_as_it_was(record: RunRecord, present: dict[str, Input]) -> bool:
    """Whether all files of a run are there, at their versions, and were not delivered again."""
    for input in record.run.files:
        file = present.get(input.key)
        if file != input or file is None:
            return False
        if input.modified and file.modified and file.modified != input.modified:
            return False
    return True
