"""The queue: order, crashes, what goes on at the same time, clocks."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tidegate.runtime.runs import Input, ProductRef, Run, RunRecord, State, Window
from tidegate.targets.local import queue as module
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.queue import SqliteQueue

T0 = datetime(2022, 4, 5, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CONFIG = "lidar/humboldt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger(path) as ledger:
        yield ledger


@pytest.fixture
def queue(ledger: SqliteLedger) -> SqliteQueue:
    return SqliteQueue(ledger)


def ingest(name: str, version: str = "1", config: str = CONFIG, again: bool = False) -> Run:
    return Run(config, inputs=(Input(name, version, 1),), again=again)


def claim(ledger: SqliteLedger, run: Run, now: datetime = T0) -> RunRecord:
    answer = ledger.claim(run, owner="me", lease=HOUR, now=now, release="")
    assert answer.record is not None
    return answer.record


def finish(ledger: SqliteLedger, run: Run, state: State = "succeeded", now: datetime = T0) -> None:
    ledger.finish(replace(claim(ledger, run, now), state=state, finished=now))


def take(queue: SqliteQueue, now: datetime = T0, **only: Any) -> Run | None:
    """The run that the queue hands out."""
    queued = queue.take(now, **only)
    return queued.run if queued is not None else None


def take_all(queue: SqliteQueue, now: datetime = T0) -> list[str]:
    names = []
    while run := take(queue, now):
        names.append(run.subjects[0])
    return names


def test_first_in_first_out_over_a_restart(path: Path) -> None:
    runs = [ingest(f"{n}", config=f"p/{n % 3}") for n in range(30)]
    with SqliteLedger(path) as ledger:
        queue = SqliteQueue(ledger)
        assert queue.put(runs[:20], T0) == 20
        assert queue.put(runs, T0) == 10
        assert [take(queue, T0) for _ in range(5)] == runs[:5]
    with SqliteLedger(path) as ledger:
        queue = SqliteQueue(ledger)
        assert (queue.count(), queue.count("p/0")) == (30, 10)
        assert [entry.run for entry in queue.pending()] == runs
        assert [entry.taken for entry in queue.pending("p/0")] == [True] * 2 + [False] * 8
        assert queue.requeue_taken() == 5
        assert take_all(queue) == [f"{n}" for n in range(30)]


def test_by_priority_then_by_when_it_is_due(queue: SqliteQueue) -> None:
    queue.put([ingest("a")], T0 + 3 * MINUTE)
    queue.put([ingest("b", config="x/y")], T0 + MINUTE)
    queue.put([ingest("c")], T0 + 2 * MINUTE)
    queue.put([ingest("d", config="x/y")], T0 + 4 * MINUTE, priority=1)
    queue.put([ingest("e")], T0 + MINUTE, priority=-1)
    assert take_all(queue, T0 + HOUR) == ["d", "b", "c", "a", "e"]


def test_configs_take_turns(queue: SqliteQueue) -> None:
    queue.put([ingest(f"a{n}") for n in range(4)], T0)
    queue.put([ingest(f"b{n}", config="x/y") for n in range(2)], T0 + MINUTE)
    queue.put([ingest("c", config="x/z")], T0 + MINUTE, priority=1)
    assert take_all(queue, T0 + HOUR) == ["c", "a0", "b0", "a1", "b1", "a2", "a3"]


def test_nothing_is_taken_before_it_is_due(queue: SqliteQueue) -> None:
    run = ingest("a")
    queue.put([run], T0)
    assert take(queue, T0) == run
    queue.postpone(run, T0 + 5 * MINUTE, T0)
    assert take(queue, T0 + 4 * MINUTE) is None
    assert take(queue, T0 + 5 * MINUTE) == run
    queue.drop(run)
    assert queue.count() == 0


def test_configs_can_be_left_out(queue: SqliteQueue) -> None:
    queue.put([ingest("a"), ingest("b", config="x/y")], T0)
    other = take(queue, T0, exclude_configs={CONFIG})
    assert other is not None
    assert other.config == "x/y"
    assert take(queue, T0, exclude_configs=[CONFIG]) is None


def test_two_versions_of_one_file_follow_each_other(
    queue: SqliteQueue, ledger: SqliteLedger
) -> None:
    old, new = ingest("a", "1"), ingest("a", "2")
    queue.put([old, new, ingest("a", "1", config="x/y"), ingest("b")], T0)
    assert take(queue, T0) == old
    assert take_all(queue) == ["a", "b"]
    finish(ledger, old)
    assert take(queue, T0) == new


def test_the_newer_waits_for_an_older_one_that_is_tried_again(queue: SqliteQueue) -> None:
    old, new = ingest("a", "1"), ingest("a", "2")
    queue.put([old], T0)
    queue.put([new], T0, priority=1)
    assert take(queue, T0) == old
    queue.postpone(old, T0 + MINUTE, T0)
    assert take(queue, T0) is None
    assert take(queue, T0 + MINUTE) == old


def test_runs_that_share_a_file_or_a_window_follow_each_other(queue: SqliteQueue) -> None:
    both = Run(CONFIG, inputs=(Input("a", "1", 1), Input("b", "1", 1)))
    queue.put([ingest("b"), both, ingest("a")], T0)
    assert take_all(queue) == ["b"]
    window = Window(T0, T0 + HOUR)
    first = Run("v/x", window=window)
    second = Run("v/x", window=window, products=(ProductRef("p", "2"),))
    queue.put([first, second], T0)
    assert take(queue, T0) == first
    assert take(queue, T0) is None
    queue.drop(first)
    assert take(queue, T0) == second


def test_the_end_of_a_run_takes_it_out_of_the_queue(
    queue: SqliteQueue, ledger: SqliteLedger
) -> None:
    states: tuple[State, ...] = ("succeeded", "empty", "failed", "superseded")
    for state in states:
        run = ingest(state)
        queue.put([run], T0)
        assert take(queue, T0) == run
        finish(ledger, run, state)
        assert queue.count() == 0
    run = ingest("retrying")
    queue.put([run], T0)
    take(queue, T0)
    finish(ledger, run, "retrying")
    assert queue.count() == 1
    assert [entry.taken for entry in queue.pending()] == [True]


def test_what_is_done_is_queued_only_when_asked(queue: SqliteQueue, ledger: SqliteLedger) -> None:
    states: tuple[State, ...] = ("succeeded", "empty", "failed", "superseded", "retrying")
    runs = [ingest(state) for state in states]
    for run, state in zip(runs, states):
        finish(ledger, run, state)
    busy = ingest("running")
    claim(ledger, busy)
    runs.append(busy)
    assert queue.put(runs, T0) == 2
    assert [entry.run for entry in queue.pending()] == runs[3:5]
    again = [replace(run, again=True) for run in runs]
    assert queue.put(again, T0) == len(again)
    assert queue.put(again, T0) == 0
    assert all(entry.run.again for entry in queue.pending())


def test_a_run_in_nobodys_hands_is_queued(queue: SqliteQueue, ledger: SqliteLedger) -> None:
    run = ingest("a")
    claim(ledger, run)
    assert queue.put([run], T0) == 0
    assert queue.put([run], T0 + HOUR) == 1


def test_asking_again_while_it_runs(queue: SqliteQueue, ledger: SqliteLedger) -> None:
    run = ingest("a")
    again = replace(run, again=True, arrived=T0 + MINUTE)
    queue.put([run], T0)
    assert take(queue, T0) == run
    record = claim(ledger, run)
    assert queue.put([run], T0) == 0
    assert queue.put([again], T0) == 1
    assert queue.put([again], T0) == 0
    assert take(queue, T0) is None, "not both at once"
    ledger.finish(replace(record, state="succeeded"))
    assert take(queue, T0) == again
    finish(ledger, again)
    assert queue.count() == 0


@pytest.mark.parametrize("back", ["postpone", "requeue_taken"])
def test_a_run_that_was_asked_for_again_goes_back_once(queue: SqliteQueue, back: str) -> None:
    run = ingest("a")
    again = replace(run, again=True)
    queue.put([run], T0)
    take(queue, T0)
    queue.put([again], T0)
    if back == "postpone":
        queue.postpone(run, T0, T0)
    else:
        assert queue.requeue_taken() == 1
    assert queue.count() == 1
    assert take(queue, T0) == again


def test_asking_again_for_one_that_waits_for_its_retry(queue: SqliteQueue) -> None:
    run = ingest("a")
    again = replace(run, again=True)
    queue.put([run], T0)
    take(queue, T0)
    queue.postpone(run, T0 + HOUR, T0)
    assert queue.put([again], T0 + MINUTE, priority=3) == 1
    assert [entry.priority for entry in queue.pending()] == [3]
    assert take(queue, T0 + MINUTE) == again


def test_cursors_and_files_move_with_the_queue(queue: SqliteQueue, ledger: SqliteLedger) -> None:
    row = SeenFile("a", 1, 2, 3, 4, "f" * 64)
    queue.put([ingest("a")], T0, seen=[row], state=[("cursor", "1")])
    assert ledger.state("cursor") == "1"
    assert list(ledger.seen_files.below()) == [row]
    with pytest.raises(ValueError, match="hexadecimal"):
        queue.put([ingest("b")], T0, state=[("cursor", "2")], seen=[row._replace(sha256="x")])
    assert ledger.state("cursor") == "1"
    assert queue.count() == 1


def test_recover_queues_what_nobody_will_end(queue: SqliteQueue, ledger: SqliteLedger) -> None:
    finish(ledger, ingest("retrying"), "retrying")
    claim(ledger, ingest("died"))
    finish(ledger, ingest("done"))
    queue.put([ingest("queued")], T0)
    assert queue.recover(T0) == 1
    ledger.abandon()
    assert queue.recover(T0) == 1
    assert queue.recover(T0) == 0
    subjects = [entry.run.subjects[0] for entry in queue.pending()]
    assert subjects == ["queued", "retrying", "died"]


def test_a_clock_that_is_set_back_holds_nothing_up(queue: SqliteQueue) -> None:
    queue.put([ingest("a"), ingest("b")], T0)
    run = take(queue, T0)
    assert run is not None
    queue.postpone(run, T0 + 5 * MINUTE, T0)
    earlier = T0 - 24 * HOUR
    assert len(take_all(queue, earlier)) == 2


def test_threads_take_each_run_once(queue: SqliteQueue) -> None:
    count = 200
    queue.put([ingest(f"{n}", config=f"p/{n % 7}") for n in range(count)], T0)
    barrier = threading.Barrier(6)

    def work(_: int) -> list[str]:
        barrier.wait()
        return take_all(queue)

    with ThreadPoolExecutor(6) as pool:
        taken = [name for names in pool.map(work, range(6)) for name in names]
    assert sorted(taken, key=int) == [f"{n}" for n in range(count)]


def test_names_that_are_not_unicode(queue: SqliteQueue) -> None:
    run = ingest("a\udcff\n.dat")
    queue.put([run, replace(run, inputs=(Input("a\udcff\n.dat", "2", 1),))], T0)
    assert take(queue, T0) == run
    assert take(queue, T0) is None


def test_the_next_run_is_found_by_index(ledger: SqliteLedger) -> None:
    with ledger.database.reading() as db:
        given = {"now": 0, "excluded": "[]"}
        rows = db.execute(f"EXPLAIN QUERY PLAN {module.NEXT}", given).fetchall()
        rows += db.execute(f"EXPLAIN QUERY PLAN {module.AHEAD}", (0,)).fetchall()
    steps = "\n".join(row[3] for row in rows)
    assert "queue_by_turn (taken=? AND config=? AND priority=? AND not_before<?)" in steps
    assert "queue_by_turn (taken=? AND config=? AND priority>?)" in steps
    assert "queue_by_turn (taken=? AND config>?)" in steps
    assert "queue_by_asked (asked>?)" in steps
    scanned = {step.split()[1] for step in steps.splitlines() if step.startswith("SCAN")}
    assert scanned == {"CONSTANT", "lanes", "json_each"}
    assert "TEMP B-TREE" not in steps


class QueueMachine(RuleBasedStateMachine):
    """The queue against the rules, in the plainest words."""

    names = st.sampled_from("abc")
    versions = st.sampled_from("12")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = SqliteLedger(Path(self.folder.name) / "ledger.db")
        self.queue = SqliteQueue(self.ledger)
        self.now = T0
        self.runs: list[Run] = []  # in the order in which they were queued
        self.due: dict[str, datetime] = {}
        self.taken: list[Run] = []

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @rule(name=names, version=versions)
    def enqueue(self, name: str, version: str) -> None:
        run = ingest(name, version)
        new = self.queue.put([run], self.now)
        assert bool(new) == (run not in self.runs)
        if new:
            self.runs.append(run)
            self.due[run.key] = self.now

    @rule()
    def take(self) -> None:
        run = take(self.queue, self.now)
        free = []
        for n, waiting in enumerate(self.runs):
            ahead = [other for other in self.runs[:n] if other.subjects == waiting.subjects]
            if waiting not in self.taken and not ahead and self.due[waiting.key] <= self.now:
                free.append((self.due[waiting.key], n))
        assert run == (self.runs[min(free)[1]] if free else None)
        if run is not None:
            self.taken.append(run)

    @rule(done=st.booleans(), which=st.integers(0, 3))
    def end(self, done: bool, which: int) -> None:
        if not self.taken:
            return
        ended = self.taken.pop(which % len(self.taken))
        if done:
            self.queue.drop(ended)
            self.runs = [run for run in self.runs if run != ended]
            return
        self.due[ended.key] = self.now + 5 * MINUTE
        self.queue.postpone(ended, self.due[ended.key], self.now)

    @rule(minutes=st.integers(1, 6))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule()
    def restart(self) -> None:
        assert self.queue.requeue_taken() == len(self.taken)
        self.taken = []

    @invariant()
    def all_is_there(self) -> None:
        expected = [(run, self.due[run.key], run in self.taken) for run in self.runs]
        assert [(e.run, e.not_before, e.taken) for e in self.queue.pending()] == expected


def test_the_queue_keeps_its_rules() -> None:
    run_state_machine_as_test(
        QueueMachine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )


def test_a_run_that_was_done_outside_of_the_queue_leaves_it(
    queue: SqliteQueue, ledger: SqliteLedger
) -> None:
    first, again = ingest("a"), ingest("b", again=True)
    queue.put([first, again], T0)
    finish(ledger, first)
    finish(ledger, replace(again, again=False))
    assert [entry.run for entry in queue.pending()] == [again], "that one was asked for"
