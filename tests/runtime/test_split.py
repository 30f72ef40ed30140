"""A scheduled ingest of several files, some of which are bad; and one of more than fit in a run."""

from dataclasses import replace
from datetime import timedelta

import pytest
from runtime_doubles import INGEST, Bench

from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.open_failures import open_failures
from tidegate.runtime.protocols import QueuedRun
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.runtime.scheduled_files import Room, in_batches, room_on
from tidegate.runtime.task import Outcome

CRON = replace(INGEST, trigger="Cron", schedule="0 * * * *")
PATH = "lidar/humboldt/"


def names(run):
    """The files of a run, without their folder."""
    return "".join(i.key[len(PATH) :] for i in run.inputs)


@pytest.fixture
def bench(tmp_path):
    """A scheduled ingest with the files a to h."""
    bench = Bench(tmp_path, CRON)
    for name in "abcdefgh":
        bench.inputs.put(PATH + name, name.encode())
    return bench


def rejects(bench, *bad, kind="bad-input", limit=99):
    """A stand-in for Tsdat that fails if it is given a bad file, or more files than ``limit``."""
    write = bench.writes("day.nc")

    def perform(task):
        if len(task.run.inputs) > limit or any(name in names(task.run) for name in bad):
            return Outcome(failure=Failure(kind, "no"))
        return write(task)

    return perform


def due(bench, **more):
    """The schedule is due, with the files that are there now."""
    bench.now += timedelta(hours=1)
    return bench.due(CRON, files=tuple(bench.inputs.list("")), **more)


def test_the_good_files_are_run_together_and_each_bad_one_has_a_failed_run_of_its_own(bench):
    bench.perform = rejects(bench, "c", "h")
    states = {(names(r.run), r.state) for r in due(bench)}
    assert {(run, s) for run, s in states if s == "failed"} == {("c", "failed"), ("h", "failed")}
    assert ("abdefg", "succeeded") in states
    assert {names(r.run) for r in open_failures(bench.ledger)} == {"c", "h"}
    (product,) = bench.ledger.products()
    assert names(bench.ledger.record(product.run).run) == "abdefg"
    assert due(bench) == []


def test_files_that_fail_only_together_stay_apart(bench):
    bench.perform = rejects(bench, kind="out-of-memory", limit=3)
    records = due(bench)
    assert [names(r.run) for r in records if r.state == "succeeded"] == ["ab", "cd", "ef", "gh"]
    assert list(open_failures(bench.ledger)) == []


def test_good_files_that_fail_together_are_an_open_failure(bench):
    bench.perform = rejects(bench, "a", limit=2)
    assert names(due(bench)[-1].run) == "bcdefgh"
    assert {names(r.run) for r in open_failures(bench.ledger)} == {"a", "bcdefgh"}
    assert due(bench) == []


@pytest.mark.parametrize("steps", range(1, 7))
def test_a_search_that_was_cut_off_is_taken_up_again(bench, steps):
    bench.perform = rejects(bench, "c")
    taken = []

    def stop(task):
        taken.append(task)
        if len(taken) > steps:
            raise KeyboardInterrupt
        return rejects(bench, "c")(task)

    bench.perform = stop
    with pytest.raises(KeyboardInterrupt):
        due(bench)
    bench.queue.__init__(bench.ledger)  # nothing is left of the queue
    bench.perform = rejects(bench, "c")
    bench.now += timedelta(days=1)  # the lease has ended
    due(bench)
    good = {i.key for r in bench.ledger.records(states=("succeeded",)) for i in r.run.inputs}
    running = {i.key for r in bench.ledger.records(states=("running",)) for i in r.run.inputs}
    assert good | running >= {PATH + name for name in "abdefgh"}


def test_a_request_is_not_split(bench):
    bench.perform = rejects(bench, "c")
    run = Run(CRON.id, inputs=tuple(bench.inputs.list("")), again=True)
    assert bench.execute(run).state == "failed"


def test_a_part_survives_the_queue(bench):
    bench.perform = rejects(bench, "c")
    due(bench)
    for record in bench.ledger.records():
        assert loads(Run, dumps(record.run)) == record.run
        assert loads(Run, dumps(record.run)).search == record.run.search


# --- which files are new -------------------------------------------------------------------------


def test_files_that_wait_in_the_queue_are_not_queued_again(bench):
    assert due(bench, waiting=tuple(bench.inputs.list(""))) == []


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_the_other_files_of_a_failed_run_are_new_when_one_is_gone(bench, change):
    bench.perform = rejects(bench, "c", kind="configuration")
    assert [r.state for r in due(bench)] == ["failed"]
    assert due(bench) == []
    if change == "removed":
        del bench.inputs.files[PATH + "c"]
    else:
        bench.inputs.put(PATH + "c", b"C")
        bench.perform = rejects(bench)
    assert [r.state for r in due(bench)] == ["succeeded"]
    assert due(bench) == []


def test_a_failed_file_that_is_delivered_again_is_run_again(tmp_path):
    bench = Bench(tmp_path, CRON)
    file = replace(bench.inputs.put(PATH + "a", b"1"), modified=bench.now)
    bench.perform = rejects(bench, "a")
    assert [r.state for r in bench.due(CRON, files=(file,))] == ["failed"]
    assert bench.due(CRON, files=(file,)) == []
    file = replace(file, modified=bench.now + timedelta(hours=1))
    bench.perform = rejects(bench)
    assert [r.state for r in bench.due(CRON, files=(file,))] == ["succeeded"]
    assert bench.due(CRON, files=(file,)) == []


# --- a backlog -----------------------------------------------------------------------------------


def test_a_backlog_is_split_by_count_and_size_the_oldest_first(bench):
    hour = timedelta(hours=1)
    files = [Input(name, "1", 10, bench.now - n * hour) for n, name in enumerate("abcdefgh")]
    assert ["".join(f.key for f in batch) for batch in in_batches(CRON, files, Room(files=3))] == [
        "fgh",
        "cde",
        "ab",
    ]
    large = [*files, Input("x", "1", 1000, bench.now + hour)]
    assert [len(batch) for batch in in_batches(CRON, large, Room(bytes=45))] == [4, 4, 1]


def test_a_run_takes_half_of_the_free_disk(tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 10 * 2**30})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert room_on(tmp_path).bytes == 5 * 2**30
    assert room_on(tmp_path, runs_at_once=4).bytes == 5 * 2**28


def test_a_dispatcher_queues_as_many_runs_as_the_room_asks_for(bench):
    dispatcher = Dispatcher(bench.context, bench.queue, room=lambda: Room(files=3))
    event = ScheduleDue(CRON.id, bench.now, files=tuple(bench.inputs.list("")))
    assert dispatcher.submit(event) == 3
    taken = bench.queue.take(bench.now)
    assert isinstance(taken, QueuedRun)
    assert names(taken.run) == "abc"
