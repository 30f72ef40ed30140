"""``expect_every`` goes by when data arrive, not by when something runs."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.testing import MemoryLedger
from tidegate.targets.local.staleness import Staleness

NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
CONFIG = Config(
    "lidar", "one", "Ingest", "S3", "pipeline.yaml", input_path="lidar/one/", expect_every=3600
)


def ran(ledger, name, at, **fields):
    """A file's run, carried out ``at`` that time."""
    run = Run(CONFIG.id, inputs=(Input(name, "1", 1),), **fields)
    claim = ledger.claim(run, owner="me", lease=HOUR, now=at, release="")
    ledger.finish(replace(claim.record, state="succeeded", finished=at))


def test_a_run_that_was_asked_for_is_no_new_data():
    ledger = MemoryLedger()
    staleness = Staleness([CONFIG], ledger, NOON)
    ran(ledger, "lidar/one/a", NOON, arrived=NOON)
    assert staleness.changes(NOON + HOUR) == []
    later = NOON + HOUR + timedelta(minutes=1)
    ran(ledger, "lidar/one/old", later, arrived=later, again=True)
    (problem,) = staleness.changes(later)
    assert (problem.kind, problem.config, problem.over) == ("silence", CONFIG.id, False)
    assert "lidar/one/" in problem.text  # where to look
    assert staleness.changes(later) == []
    ran(ledger, "lidar/one/b", later, arrived=later)
    (problem,) = staleness.changes(later)
    assert problem.over


def test_a_late_run_of_an_old_arrival_is_no_new_data():
    ledger = MemoryLedger()
    staleness = Staleness([CONFIG], ledger, NOON)
    ran(ledger, "lidar/one/a", NOON + 2 * HOUR, arrived=NOON)
    (problem,) = staleness.changes(NOON + 2 * HOUR)
    assert not problem.over


def test_without_any_data_it_counts_from_the_start():
    staleness = Staleness([CONFIG], MemoryLedger(), NOON)
    assert staleness.changes(NOON + HOUR) == []
    assert len(staleness.changes(NOON + HOUR * 2)) == 1
