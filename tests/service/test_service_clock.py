"""The service in this process, with a clock and limits that a test sets."""

import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from service_workspace import HERE, VAP, config, csv, eventually, ingest, make

from tidegate.executors import ExecutorOptions, ProcessExecutor
from tidegate.runtime.process import WorkerProcess
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.service import Service
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace

pytestmark = pytest.mark.slow

T0 = datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def executor(opened, pids=(), **settings):
    """One worker; the id of its process is kept in ``pids`` after each run."""

    class Noted(WorkerProcess):
        def perform(self, *args):
            try:
                return super().perform(*args)
            finally:
                pids.append(self.pid)

    options = ExecutorOptions(opened.python, opened.repository, workers=1, **settings)
    return ProcessExecutor(options, Noted if isinstance(pids, list) else WorkerProcess)


class Running:
    """A service on a thread, and what it has told."""

    def __init__(self, place, **settings):
        self.now = T0
        self.records, self.messages, self.workers = [], [], []
        opened = loading.load_workspace(Workspace.at(place.root), python=sys.executable)
        listener = Listener(record=self.records.append, message=self.messages.append)
        self.service = Service(
            opened.workspace.places,
            opened.manifest,
            executor(opened, self.workers, **settings),
            listener,
            now=lambda: self.now,
        )
        self.thread = threading.Thread(target=self.service.up)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.service.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture(autouse=True)
def _fast_imports(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE / "hooks"))


def test_a_clock_that_jumps_holds_nothing_up_and_repeats_nothing(tmp_path):
    hourly = VAP.replace('"* * * * *"', "Hourly")
    place = make(tmp_path / "workspace", config(ingest("one"), rest=hourly, defaults="settle: 0"))
    mark = tmp_path / "mark"
    with Running(place) as running:

        def deliver(day, ask=""):
            place.put(f"tiny/one/{day}.csv", csv(f"2022-03-{day:02}T12:00:00", ask=ask))
            return place.ended(f"tiny/one/{day}.csv", "succeeded")

        deliver(1)
        eventually(lambda: len(place.records("tiny_vap/one")) == 1)
        running.now = T0 - 400 * DAY  # back by more than a year
        assert deliver(2).started == running.now
        running.now += timedelta(hours=1)
        eventually(lambda: len(place.records("tiny_vap/one")) == 2)
        assert any("the clock was set back" in text for text in running.messages)

        running.now = T0
        place.put("tiny/one/3.csv", csv("2022-03-03T12:00:00", ask=f"once {mark}"))
        eventually(lambda: any(record.state == "retrying" for record in running.records))
        running.now = T0 - 30 * DAY  # while a run waits for its next try
        record = place.ended("tiny/one/3.csv", "succeeded")
        assert record.attempt == 2

        running.now = T0 + 900 * DAY  # and far ahead
        deliver(4)
        running.now += timedelta(hours=1)  # the schedule may have been due before the file was in
        eventually(lambda: len(place.records("tiny_vap/one")) == 4)
        running.now = T0
        deliver(5)
    assert {(r.state, r.attempt) for r in place.records("tiny_vap/one")} == {("succeeded", 1)}
    assert {r.state for r in place.records("tiny/one")} == {"succeeded"}
    place.assert_whole()


def test_workers_are_replaced_after_some_runs(place):
    place.configure(config(ingest("one"), defaults="settle: 0"))
    for day in range(1, 6):
        place.put(f"tiny/one/{day}.csv", csv(f"2022-03-{day:02}T00:00:00"))
    with Running(place, runs_per_worker=2) as running:
        eventually(lambda: len(running.records) == 5)
    first, second, third, fourth, fifth = running.workers
    assert first == second != third == fourth != fifth
    assert {record.state for record in running.records} == {"succeeded"}


def test_a_ledger_that_cannot_be_written_for_a_while_costs_nothing(place, monkeypatch):
    from tidegate.errors import StorageError
    from tidegate.targets.local import run_loops
    from tidegate.targets.local.ledger import SqliteLedger

    monkeypatch.setattr(run_loops, "_LEDGER_PAUSE", 0.05)
    original, left = SqliteLedger.finish, [3]

    def finish(self, record):
        left[0] -= 1
        if left[0] >= 0:
            raise StorageError("the ledger cannot be written", why="disk full")
        original(self, record)

    monkeypatch.setattr(SqliteLedger, "finish", finish)
    place.put("tiny/one/x.csv", csv())
    place.age()
    with Running(place) as running:
        record = place.ended("tiny/one/x.csv", "succeeded")
    assert record.attempt == 4
    said = [text for text in running.messages if "disk full" in text]
    assert len(said) == 1
    place.assert_whole()


def test_a_fault_of_our_own_ends_the_service_in_words(place, monkeypatch):
    from tidegate.errors import TidegateError
    from tidegate.runtime import dispatch

    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(dispatch, "execute", broken)
    place.put("tiny/one/x.csv", csv())
    place.age()
    opened = loading.load_workspace(Workspace.at(place.root), python=sys.executable)
    with pytest.raises(TidegateError, match="ZeroDivisionError") as raised:
        Service(opened.workspace.places, opened.manifest, executor(opened)).once()
    assert raised.value.next.startswith("start it again")
    assert place.queued() == 1
