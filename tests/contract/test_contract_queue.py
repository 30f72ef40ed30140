"""What every kind of queue must do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from implementations import QueueUnderTest
from samples import ingest

from tidegate.runtime.runs import Input, Run

SOON = timedelta(seconds=2)


def taken(queue: QueueUnderTest) -> list[Run]:
    """All runs that can be taken now."""
    queue.deliver()
    runs = []
    while (queued := queue.queue.take(queue.now())) is not None:
        runs.append(queued.run)
    return runs


def test_what_is_put_is_taken_once(waiting: QueueUnderTest) -> None:
    runs = [ingest(f"lidar/humboldt/{n}") for n in range(12)]
    assert waiting.queue.put(runs, waiting.now()) == 12
    assert waiting.queue.count() == 12
    assert sorted(run.key for run in taken(waiting)) == sorted(run.key for run in runs)
    assert taken(waiting) == []
    assert waiting.queue.count() == 12  # they are at work, and not done


def test_a_run_comes_out_as_it_went_in(waiting: QueueUnderTest) -> None:
    odd = "lidar/humboldt/é\u2603 \n'\"+%20.dat"
    run = ingest(odd, again=True, arrived=waiting.now())
    waiting.queue.put([run], waiting.now())
    assert taken(waiting) == [run]


def test_a_run_over_very_many_files(waiting: QueueUnderTest) -> None:
    inputs = tuple(Input(f"{n}/{'x' * 200}", f"{n:064x}", n) for n in range(1000))
    run = replace(ingest(), inputs=inputs)
    waiting.queue.put([run], waiting.now())
    assert taken(waiting) == [run]


def test_what_is_dropped_is_gone(waiting: QueueUnderTest) -> None:
    one, two = ingest("lidar/humboldt/1"), ingest("lidar/humboldt/2")
    waiting.queue.put([one, two], waiting.now())
    assert len(taken(waiting)) == 2
    waiting.queue.drop(one)
    waiting.end()
    assert waiting.queue.count() == 1
    waiting.queue.drop(one)  # a second time is no error
    waiting.queue.drop(two)
    waiting.end()
    assert waiting.queue.count() == 0


def test_what_is_postponed_comes_back_when_it_is_due(waiting: QueueUnderTest) -> None:
    run = ingest()
    waiting.queue.put([run], waiting.now())
    assert taken(waiting) == [run]
    waiting.queue.postpone(run, waiting.now() + SOON, waiting.now())
    waiting.end()
    assert taken(waiting) == []
    assert waiting.queue.count() == 1
    waiting.sleep(SOON)
    assert taken(waiting) == [run]


def test_what_is_given_up_does_not_stay_for_ever(waiting: QueueUnderTest) -> None:
    run = ingest()
    waiting.queue.put([run], waiting.now())
    for _ in range(3):
        for queued in taken(waiting):
            waiting.queue.drop(queued, given_up=True)
        waiting.end()
    assert waiting.queue.count() == 0


def test_state_is_kept_with_the_runs(waiting: QueueUnderTest) -> None:
    waiting.queue.put([ingest()], waiting.now(), state=[("cursors/a", "1"), ("cursors/b", "2")])
    assert [waiting.ledger.state(f"cursors/{name}") for name in "ab"] == ["1", "2"]
    waiting.queue.put([], waiting.now(), state=[("cursors/a", "3")])
    assert waiting.ledger.state("cursors/a") == "3"


def test_a_queue_without_anything(waiting: QueueUnderTest) -> None:
    assert waiting.queue.count() == 0
    assert taken(waiting) == []
    assert waiting.queue.put([], waiting.now()) == 0
