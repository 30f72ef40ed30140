"""Claim runs, and write them while they are owned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.runtime.ledger_rules import add_publishing, decide_claim, is_claimed_by
from tidegate.runtime.protocols import Claim, ClaimLost
from tidegate.runtime.runs import Run, RunRecord
from tidegate.targets.aws.clients import ConditionFailed
from tidegate.targets.aws.ledger.keys import subject_partition, taken_key, to_key
from tidegate.targets.aws.ledger.long_values import LongValues, new_token
from tidegate.targets.aws.ledger.recent_reads import RecentReads
from tidegate.targets.aws.ledger.run_items import RunItems, StoredRun, parts_of
from tidegate.targets.aws.ledger.table import ROUNDS, WRITTEN_AT_ONCE, Table, contended, pause
from tidegate.targets.aws.ledger.values import Item

ROOM_OF_A_RUN = 5
"""Writes of a run itself and of the lists that it is on and was on."""


class Claims:
    """Claims of runs, by conditional writes."""

    def __init__(
        self, table: Table, values: LongValues, runs: RunItems, recent: RecentReads
    ) -> None:
        self._table = table
        self._values = values
        self._runs = runs
        self._recent = recent

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        """See ``Ledger.claim``."""
        key = run.key
        new = self._recent.take_absent(key)
        self._recent.forget_products()
        for turn in range(ROUNDS):
            before = None if new and turn == 0 else self._runs.read(key)
            claim = decide_claim(
                run,
                before.record if before else None,
                before.lease if before else None,
                owner=owner,
                now=now,
                release=release,
            )
            if not claim.granted or claim.record is None:
                return claim
            if self._write_claim(claim.record, now + lease, before):
                return claim
            pause(turn)
        raise contended(f"claim the run {key[:12]}")

    def _write_claim(self, record: RunRecord, until: datetime, before: StoredRun | None) -> bool:
        if before is not None:
            run = StoredRun(record, new_token(), until, before.made, before.sure)
            return self.write(run, before, [])
        count = len(record.run.subjects) + len(record.run.files)
        sure = count <= WRITTEN_AT_ONCE - ROOM_OF_A_RUN
        notes = self.notes_of(record.run, sure=sure)
        if not sure:  # they are written first: if the claim then fails, they do no harm
            for n in range(0, len(notes), WRITTEN_AT_ONCE):
                self._table.write_surely(notes[n : n + WRITTEN_AT_ONCE])
            notes = []
        return self.write(StoredRun(record, new_token(), until, (), sure), None, notes)

    def notes_of(self, run: Run, *, sure: bool) -> list[Item]:
        """The writes that note what a run is about, and which inputs it takes.

        ``sure``: they are written in one transaction with the claim.
        """
        key = run.key  # takes its time where there are many inputs
        about = [
            self._table.put(to_key(subject_partition(run.config, subject), key))
            for subject in dict.fromkeys(run.subjects)
        ]
        taken = [
            self._table.update(
                to_key(*taken_key(run.config, input)),
                "ADD runs :run" + (" SET sure = :sure" if sure else ""),
                {":run": {"SS": [key]}, **({":sure": {"BOOL": True}} if sure else {})},
            )
            for input in dict.fromkeys(run.files)
        ]
        return about + taken

    def note_publishing(
        self, key: str, *, owner: str, attempt: int, products: Sequence[str]
    ) -> None:
        """See ``Ledger.intend``."""
        for turn in range(ROUNDS):
            before = self.owned(key, owner, attempt)
            record = add_publishing(before.record, products)
            if self.write(replace(before, record=record, revision=new_token()), before, []):
                return
            pause(turn)
        raise contended(f"note what the run {key[:12]} publishes")

    def owned(self, key: str, owner: str, attempt: int) -> StoredRun:
        """The run, if it is claimed by that attempt of that owner; else raises ClaimLost.

        It is not read when this process wrote it last: nobody else writes a run that has an owner,
        and each write is on condition of that.
        """
        run = self._recent.owned(key)
        for known in (run, None):
            run = known or self._runs.read(key)
            if run is not None and is_claimed_by(run.record, owner, attempt):
                return run
        raise ClaimLost(key)

    def write(self, after: StoredRun, before: StoredRun | None, more: Sequence[Item]) -> bool:
        """Write a run, and ``more`` with it; returns False when it has changed since ``before``."""
        key = after.record.key
        put = self._runs.put(after, before)
        try:
            self._table.transact([put, *self._runs.move_in_lists(after, before), *more])
        except ConditionFailed:
            # A write whose answer was lost is sent again, and then finds its own first write.
            found = self._runs.read(key)
            if found is None or found.revision != after.revision:
                self._recent.keep_owned(key, None)
                return False
        written = replace(after, parts=parts_of(put["Put"]["Item"]))
        self._recent.keep_owned(key, written if after.record.state == "running" else None)
        if before is not None:
            self._values.delete(before.parts)
        return True
