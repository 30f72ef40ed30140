"""Which Dask worker gets the next run, without Dask."""

from tidegate.executors.dask.placement import WorkerTable, margin


def table(most=10, **threads):
    made = WorkerTable(most)
    made.update(threads)
    return made


def test_no_worker_gets_more_runs_than_it_has_threads():
    workers = table(a=2, b=1)
    assert sorted(workers.take(0) for _ in range(3)) == ["a", "a", "b"]
    assert workers.take(0) is None
    workers.release("a")
    assert workers.take(0) == "a"


def test_no_more_runs_than_the_most():
    workers = table(most=2, a=8)
    assert [workers.take(0), workers.take(0), workers.take(0)] == ["a", "a", None]
    assert workers.places(0) == 2


def test_workers_that_come_and_go():
    workers = table(a=1)
    assert workers.take(0) == "a"
    assert workers.update({"b": 1}) == (["b"], ["a"])
    workers.release("a")
    assert (workers.take(0), workers.take(0)) == ("b", None)


def test_a_refused_worker_is_tried_again_later():
    workers = table(a=1)
    workers.refuse("a", 100.0)
    assert workers.all_refused(99.0)
    assert (workers.take(99.0), workers.places(99.0)) == (None, 0)
    assert not workers.all_refused(101.0)
    assert workers.take(101.0) == "a"
    assert not table().all_refused(0.0)


def test_only_workers_without_a_run_can_be_ended():
    workers = table(a=2, b=1)
    assert workers.take(0) == "a"
    assert workers.idle(["a", "b", "gone"]) == ["b"]


def test_few_runs_are_staged_ahead():
    assert [margin(places) for places in (0, 1, 10, 100, 1000)] == [0, 1, 1, 10, 20]
