"""``reprocess --only missing`` over many files: what is done is asked for in batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input, Run, RunRecord, State
from tidegate.runtime.scope import Scope
from tidegate.runtime.testing import MemoryLedger
from tidegate.workspace.rerun import to_reprocess

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
CONFIG = Config("buoy", "morro", "Ingest", "S3", "a.yaml", input_path="buoy/morro/")


class Counted(MemoryLedger):
    """Counts requests; the records of some runs can expire."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.expired: set[Input] = set()

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        self.requests += 1
        return super().states(keys)

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        self.requests += 1
        return super().about(config, subject, but=but)

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        self.requests += 1
        return [i for i in super().untaken(config, inputs) if i not in self.expired]

    def end(self, run: Run, state: State) -> None:
        claim = self.claim(run, owner="me", lease=timedelta(hours=1), now=NOW, release="1")
        assert claim.record is not None
        self.finish(replace(claim.record, state=state))


def file(number: int, version: str = "1") -> Input:
    return Input(f"buoy/morro/{number:04}.csv", version, 10)


def test_what_is_done_takes_few_requests() -> None:
    ledger = Counted()
    files = [file(n) for n in range(2500)]
    for one in files[:-20]:
        ledger.end(Run(CONFIG.id, (one,)), "succeeded")
    ledger.end(Run(CONFIG.id, (files[-1],)), "failed")
    found = to_reprocess(Scope(CONFIG, only="missing"), ledger, "1", lambda: files, NOW)
    assert [run.inputs for run in found] == [(one,) for one in files[-20:]]
    assert ledger.requests <= 6 + 20


def test_a_run_of_several_files_that_failed_and_records_that_expired() -> None:
    ledger = Counted()
    together, old, changed = (file(1), file(2)), file(3), file(4)
    ledger.end(Run(CONFIG.id, together), "failed")
    ledger.end(Run(CONFIG.id, (changed,)), "succeeded")
    ledger.expired = {old}
    files = [*together, old, file(4, "2")]
    found = to_reprocess(Scope(CONFIG, only="missing"), ledger, "1", lambda: files, NOW)
    assert [run.inputs[0] for run in found] == list(together)


def test_to_run_all_files_nothing_is_asked_for() -> None:
    ledger = Counted()
    files = [file(n) for n in range(30)]
    for one in files[:10]:
        ledger.end(Run(CONFIG.id, (one,)), "succeeded")
    found = to_reprocess(Scope(CONFIG), ledger, "1", lambda: files, NOW)
    assert [run.inputs for run in found] == [(one,) for one in files]
    assert ledger.requests == 0
