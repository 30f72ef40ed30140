"""Which failures are open."""

from dataclasses import replace
from datetime import timedelta

import pytest
from runtime_doubles import NOON, Bench

from tidegate.runtime.open_failures import acknowledge, open_failures, open_plots
from tidegate.runtime.runs import Failure
from tidegate.runtime.task import Outcome
from tidegate.workspace.rerun import to_retry

BAD = Outcome(failure=Failure("bad-input", "no"))


@pytest.fixture
def arrive(bench: Bench):
    """A function: a file arrives, a minute after the one before, and its run ends as asked."""

    def deliver(name, content, *, perform=None):
        bench.now += timedelta(minutes=1)
        bench.perform = perform or bench.writes(f"{name}.nc")
        (record,) = bench.arrive(f"lidar/humboldt/{name}", content)
        return record

    return deliver


def fails(task):
    return BAD


def test_a_failure_is_open_until_the_file_was_replaced_and_succeeded(bench, arrive):
    other = arrive("b", b"1", perform=fails)
    record = arrive("a", b"1", perform=fails)
    assert [r.key for r in open_failures(bench.ledger)] == [record.key, other.key]
    arrive("a", b"2")
    assert bench.ledger.record(record.key).state == "failed"
    assert [r.key for r in open_failures(bench.ledger)] == [other.key]
    assert list(open_failures(bench.ledger, "other/config")) == []
    (run,) = to_retry(bench.context.manifest, bench.ledger, [], NOON)
    assert run.key == other.key


def test_a_file_that_failed_twice_is_one_open_failure(bench, arrive):
    arrive("a", b"1", perform=fails)
    second = arrive("a", b"2", perform=fails)
    assert [r.key for r in open_failures(bench.ledger)] == [second.key]


def test_a_later_failure_after_a_success_is_open(bench, arrive):
    arrive("a", b"1")
    record = arrive("a", b"2", perform=fails)
    assert [r.key for r in open_failures(bench.ledger)] == [record.key]


def test_an_acknowledged_failure_is_closed_until_it_fails_again(bench, arrive):
    record = arrive("a", b"1", perform=fails)
    other = arrive("b", b"1", perform=fails)
    acknowledge(bench.ledger, record.key, "Ada", bench.now)
    assert [r.key for r in open_failures(bench.ledger)] == [other.key]
    bench.now += timedelta(minutes=1)
    bench.perform = fails
    bench.execute(replace(record.run, again=True))
    assert {r.key for r in open_failures(bench.ledger)} == {record.key, other.key}


def test_a_retry_that_succeeds_closes_it(bench, arrive):
    record = arrive("a", b"1", perform=fails)
    bench.perform = bench.writes("a.nc")
    (run,) = to_retry(bench.context.manifest, bench.ledger, [], bench.now)
    assert bench.execute(run).key == record.key
    assert list(open_failures(bench.ledger)) == []


def test_failed_plots_can_be_retried(bench, arrive):
    def without_plots(task):
        return replace(bench.writes("a.nc")(task), plots_failed="no display")

    record = arrive("a", b"1", perform=without_plots)
    arrive("b", b"1")
    assert list(open_failures(bench.ledger)) == []
    assert [r.key for r in open_plots(bench.ledger)] == [record.key]
    (run,) = to_retry(bench.context.manifest, bench.ledger, [], bench.now, plots=True)
    assert (run.key, run.again) == (record.key, True)
    bench.perform = bench.writes("a.nc")
    bench.execute(run)
    assert list(open_plots(bench.ledger)) == []
