"""Old records and logs are deleted; what is needed stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tidegate.runtime.runs import Input, Run, RunRecord, State
from tidegate.targets.local.housekeeping import Housekeeping, Retention
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.places import Places

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
DAY = timedelta(days=1)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    state = tmp_path / ".tidegate"
    places = Places(
        tmp_path / "input", tmp_path / "output", state / "ledger.db", state / "logs", state / "work"
    )
    places.prepare()
    return places


@pytest.fixture
def ledger(places: Places) -> Iterator[SqliteLedger]:
    with SqliteLedger(places.ledger) as ledger:
        yield ledger


@pytest.fixture
def housekeeping(places: Places, ledger: SqliteLedger) -> Housekeeping:
    return Housekeeping(places, ledger, Retention(), lambda text: pytest.fail(text))


def ran(
    places: Places, ledger: SqliteLedger, name: str, version: str, state: State, days: float
) -> tuple[RunRecord, Path]:
    """A run that ended so many days ago, and its log."""
    run, at = Run("lidar/one", inputs=(Input(name, version, 1),)), NOW - days * DAY
    claim = ledger.claim(run, owner="me", lease=DAY, now=at, release="")
    assert claim.record is not None
    record = replace(claim.record, state=state, finished=at)
    ledger.finish(record)
    log = places.logs / f"lidar/one/{at:%Y%m}" / f"{record.key[:16]}-1.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("{}\n")
    os.utime(log, (at.timestamp(), at.timestamp()))
    return record, log


def test_logs_of_successes_go_after_a_month_and_all_after_a_year(
    places: Places, ledger: SqliteLedger, housekeeping: Housekeeping
) -> None:
    kept = [
        ran(places, ledger, "a", "1", "succeeded", 29)[1],
        ran(places, ledger, "b", "1", "failed", 300)[1],
    ]
    deleted = [
        ran(places, ledger, "c", "1", "succeeded", 31)[1],
        ran(places, ledger, "d", "1", "empty", 90)[1],
        ran(places, ledger, "e", "1", "failed", 366)[1],
    ]
    housekeeping.run_if_due(NOW)
    assert [path.exists() for path in kept + deleted] == [True, True, False, False, False]
    assert not deleted[-1].parent.exists(), "the month's folder is empty"


def test_runs_go_after_a_year_once_a_later_one_has_taken_their_place(
    places: Places, ledger: SqliteLedger, housekeeping: Housekeeping
) -> None:
    replaced, _ = ran(places, ledger, "a", "1", "failed", 400)
    latest, _ = ran(places, ledger, "a", "2", "succeeded", 390)
    recent, _ = ran(places, ledger, "b", "1", "failed", 300)
    ran(places, ledger, "b", "2", "succeeded", 299)
    housekeeping.run_if_due(NOW)
    known = ledger.states([replaced.key, latest.key, recent.key])
    assert set(known) == {latest.key, recent.key}


def test_it_works_once_a_day(
    places: Places, ledger: SqliteLedger, housekeeping: Housekeeping
) -> None:
    housekeeping.run_if_due(NOW)
    _, log = ran(places, ledger, "a", "1", "succeeded", 40)
    housekeeping.start_if_due(NOW + DAY / 2)
    assert log.exists()
    housekeeping.run_if_due(NOW + DAY)
    assert not log.exists()


def test_hashes_of_files_that_are_gone_are_forgotten_after_a_year(
    places: Places, ledger: SqliteLedger, housekeeping: Housekeeping
) -> None:
    def seen(key: str, days: int) -> SeenFile:
        at = int((NOW - days * DAY).timestamp() * 1e9)
        return SeenFile(key, 1, at, at, 1, "00" * 32)

    (places.input / "there").write_text("x")
    ledger.seen_files.add([seen("there", 400), seen("gone", 400), seen("away", 300)])
    housekeeping.run_if_due(NOW)
    assert [file.key for file in ledger.seen_files.below()] == ["away", "there"]
