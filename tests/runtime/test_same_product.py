"""Two inputs that give products of the same name: the later one wins, whatever ran last."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from runtime_doubles import NOON, Bench

from tidegate.runtime.events import FileArrived, Requested
from tidegate.runtime.key_locks import KeyLocks
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import Input, Run

HOUR = timedelta(hours=1)
LONG = 60.0


def deliver(bench, name, modified, content=b"1"):
    """A file with that file time arrives, and is run; returns the record."""
    input = bench.inputs.put(f"lidar/humboldt/{name}", content)
    (record,) = bench.handle(FileArrived(replace(input, modified=modified), bench.now))
    return record


def agrees(bench, winner):
    """Whether ledger and storage both have the product of that run."""
    product = bench.ledger.product("out.nc")
    return product.run == winner.key and bench.published()["out.nc"].endswith(winner.key)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("z.csv", NOON - HOUR), ("a.csv", NOON)),
        (("a.csv", NOON), ("b.csv", NOON)),
    ],
    ids=["by time", "then by name"],
)
@pytest.mark.parametrize("older_first", [True, False])
def test_the_later_file_wins(bench: Bench, older, newer, older_first):
    records = {
        file[0]: deliver(bench, *file)
        for file in ((older, newer) if older_first else (newer, older))
    }
    assert agrees(bench, records[newer[0]])
    last = records[newer[0] if older_first else older[0]]
    assert last.state == "succeeded"
    (warning,) = last.warnings
    assert "out.nc" in warning
    assert older[0] in warning


def test_what_was_left_out_is_not_on_record_and_not_run_again(bench: Bench):
    deliver(bench, "new.csv", NOON)
    record = deliver(bench, "old.csv", NOON - HOUR)
    assert record.products == ()
    assert bench.ledger.made_by(record.key) == []
    old = replace(record.run.inputs[0], modified=NOON - HOUR)
    assert bench.handle(FileArrived(old, bench.now)) == []


def test_only_products_that_both_make_are_left_out(bench: Bench):
    newer = deliver(bench, "new.csv", NOON)
    bench.perform = bench.writes("out.nc", "other.nc")
    older = deliver(bench, "old.csv", NOON - HOUR)
    assert [p.key for p in older.products] == ["other.nc"]
    assert agrees(bench, newer)


def test_it_wins_also_when_someone_asks_for_the_older_one(bench: Bench):
    older = deliver(bench, "old.csv", NOON - HOUR)
    newer = deliver(bench, "new.csv", NOON)
    asked = replace(older.run, again=True, arrived=NOON + HOUR)
    bench.handle(Requested((asked,), NOON))
    assert agrees(bench, newer)


def test_a_version_with_an_older_time_still_replaces_the_one_before(bench: Bench):
    deliver(bench, "a.csv", NOON, b"1")
    assert agrees(bench, deliver(bench, "a.csv", NOON - HOUR, b"2"))


def test_without_file_times_the_last_run_wins(bench: Bench):
    deliver(bench, "new.csv", NOON)
    assert agrees(bench, deliver(bench, "old.csv", None))


def test_file_times_are_kept_and_older_records_are_read():
    input = Input("a", "1", 1, NOON)
    assert loads(Input, dumps(input)).modified == NOON
    old = loads(Input, '{"key": "a", "version": "1", "size": 1}')
    assert (old, old.modified) == (input, None)
    assert Run("x/y", (old,)).key == Run("x/y", (input,)).key


def test_keys_are_held_by_one_thread_at_a_time():
    locks, order = KeyLocks(), []
    started = threading.Event()

    def second():
        started.set()
        with locks.holding({"b", "c"}):
            order.append("second")

    thread = threading.Thread(target=second)
    with locks.holding({"a", "b"}):
        thread.start()
        assert started.wait(LONG)
        with locks.holding({"d"}):  # other keys are free
            order.append("first")
    thread.join(LONG)
    assert order == ["first", "second"]


def test_an_older_file_that_is_published_at_the_same_time_waits_and_loses(bench: Bench):
    """While the newer file's product is published, the older one's run comes to that point."""
    publish, threads, records = bench.outputs.publish, [], {}

    def meanwhile(products):
        if not threads:
            threads.append(threading.Thread(target=run_older))
            threads[0].start()
            assert ran.wait(LONG)
        publish(products)

    def run_older():
        records["older"] = bench.execute(older)

    ran = threading.Event()
    old = bench.inputs.put("lidar/humboldt/old.csv", b"1")
    older = Run("lidar/humboldt", (replace(old, modified=NOON - HOUR),))
    writes = bench.perform

    def perform(task):
        if task.run == older:
            ran.set()
        return writes(task)

    bench.perform = perform
    bench.outputs.publish = meanwhile
    newer = deliver(bench, "new.csv", NOON)
    threads[0].join(LONG)
    assert records["older"].products == ()
    assert agrees(bench, newer)
