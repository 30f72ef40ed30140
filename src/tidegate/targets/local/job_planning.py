"""The runs of a job, some at a time: from the files in a folder, from windows, or from the record.

A cursor says how far they were chosen: a file's key, the end of a window, or the start of a run.
Memory does not grow with the number of runs, except for files that belong together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.related_files import has_related, related_runs
from tidegate.runtime.runs import SETTLED, Input, Run, RunRecord, parse_window, windows_over
from tidegate.runtime.scope import PastRun, Scope, is_wanted, is_within, past_run, span_of
from tidegate.runtime.select import is_input, window_runs
from tidegate.targets.local.inputs import FolderInputs, RawFile
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.sightings import Sightings, batched

BATCH = 500
"""How many files or windows are looked at together."""
_SLICE = timedelta(days=31)
_INSTANT = timedelta(microseconds=1)


class Batch(NamedTuple):
    """Some of the runs of a job."""

    cursor: str
    """What to begin after for the next ones."""
    runs: list[Run]
    """The runs; perhaps none."""
    repeated: int
    """How many of them have succeeded before."""


class Planner:
    """Finds the runs of jobs."""

    def __init__(
        self,
        manifest: Manifest,
        ledger: SqliteLedger,
        inputs: FolderInputs,
        sightings: Sightings,
        output: Path,
    ) -> None:
        self._manifest = manifest
        self._ledger = ledger
        self._inputs = inputs
        self._sightings = sightings
        self._output = output

    def batches(
        self, scope: Scope, asked: datetime, cursor: str = "", *, read: bool = True
    ) -> Iterator[Batch]:
        """The runs in a scope, after a cursor, for a job that was asked for then.

        Without ``read``, to count them: files that were not hashed before are not hashed either.
        """
        config = scope.config
        if config.inputs or (config.kind == "VAP" and not _datastreams(config)):
            yield from self._recorded(scope, asked, cursor)
        elif config.kind == "VAP":
            yield from self._windows(scope, cursor)
        elif has_related(config):
            yield from self._related(scope, cursor, read=read)
        else:
            yield from self._files(scope, cursor, read=read)

    # --- files ------------------------------------------------------------------------------

    def _files(self, scope: Scope, cursor: str, *, read: bool) -> Iterator[Batch]:
        config = scope.config
        found = self._inputs.scan_in_order(config.input_path or "", cursor)
        for batch in batched(found, BATCH):
            runs = [Run(config.id, inputs=(file,)) for file in self._versions(config, batch, read)]
            yield self._batch(scope, batch[-1].key, runs)

    def _related(self, scope: Scope, cursor: str, *, read: bool) -> Iterator[Batch]:
        config = scope.config
        found = self._inputs.scan_in_order(config.input_path or "")
        files = [f for batch in batched(found, BATCH) for f in self._versions(config, batch, read)]
        runs = [r for r in related_runs(config, files, files, None) if r.inputs[0].key > cursor]
        for group in batched(sorted(runs, key=lambda run: run.inputs[0].key), BATCH):
            yield self._batch(scope, group[-1].inputs[0].key, group)

    def _versions(self, config: Config, batch: Sequence[RawFile], read: bool) -> Sequence[Input]:
        mine = [file for file in batch if is_input(config, file.key)]
        if read:
            return self._sightings.inputs_of(config, mine)
        seen = self._ledger.seen_files.at(file.key for file in mine)
        return [
            known.to_input()
            if (known := seen.get(file.key)) is not None and known[:5] == tuple(file)
            else Input(file.key, "", file.size)
            for file in mine
        ]

    # --- windows, and what only the ledger knows ----------------------------------------------

    def _windows(self, scope: Scope, cursor: str) -> Iterator[Batch]:
        config = scope.config
        extent = self._ledger.history.extent(_datastreams(config))
        if extent is None:
            return
        begin = max(scope.begin or config.since or extent[0], extent[0])
        end = min(scope.end or extent[1], extent[1])
        if cursor:
            begin = max(begin, datetime.fromisoformat(cursor))
        length = config.window or "day"
        step = parse_window(length)
        size = _SLICE if isinstance(step, str) else min(_SLICE, BATCH * step)
        while begin < end:
            until = min(begin + size, end)
            windows = list(windows_over(length, begin, until - _INSTANT))
            begin = windows[-1].end
            yield self._batch(scope, begin.isoformat(), window_runs(config, windows, self._ledger))

    def _recorded(self, scope: Scope, asked: datetime, cursor: str) -> Iterator[Batch]:
        before = datetime.fromisoformat(cursor) if cursor else asked
        group: list[RunRecord] = []
        for record in self._ledger.records(config=scope.config.id, before=before):
            if len(group) >= BATCH and record.started != group[-1].started:
                yield self._recorded_batch(scope, group)
                group = []
            group.append(record)
        if group:
            yield self._recorded_batch(scope, group)

    def _recorded_batch(self, scope: Scope, group: Sequence[RunRecord]) -> Batch:
        past = {r.run.subjects[0]: past_run(r) for r in group if not r.run.adopted}
        runs = {r.run.subjects[0]: r.run for r in group if not r.run.adopted}
        known = {subject: one for subject, one in past.items() if one is not None}
        return self._chosen(scope, group[-1].started.isoformat(), list(runs.values()), known)

    # --- choosing ---------------------------------------------------------------------------

    def _batch(self, scope: Scope, cursor: str, runs: Sequence[Run]) -> Batch:
        past = self._ledger.history.latest(scope.config.id, [run.subjects[0] for run in runs])
        return self._chosen(scope, cursor, runs, past)

    def _chosen(
        self, scope: Scope, cursor: str, runs: Sequence[Run], past: dict[str, PastRun]
    ) -> Batch:
        if scope.only == "missing":
            scope = replace(scope, lost=self._lost(past))
        release = self._manifest.release(scope.config)
        chosen = []
        repeated = 0
        for run in runs:
            latest = past.get(run.subjects[0])
            if is_within(scope, span_of(latest, run)) and is_wanted(scope, latest, run, release):
                chosen.append(run)
                repeated += latest is not None and latest.state in SETTLED
        return Batch(cursor, chosen, repeated)

    def _lost(self, past: dict[str, PastRun]) -> frozenset[str]:
        """The runs that succeeded, and of which a product is not in the output folder."""
        settled = [one.key for one in past.values() if one.state in SETTLED]
        keys = self._ledger.history.product_keys(settled)
        return frozenset(
            run
            for run, products in keys.items()
            if not all(os.path.lexists(self._output / key) for key in products)
        )


def _datastreams(config: Config) -> tuple[str, ...]:
    return config.tsdat.datastreams if config.tsdat else ()
