"""A run holds a worker's place until its outcome is there, and not while it is published."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Run
from tidegate.runtime.task import Limits, Outcome, Task
from tidegate.targets.local.worker_places import WorkerPlaces

TASK = Task(Run("a/b"), Config("a", "b", "Ingest", "S3", "a.yaml"), (), "")


class Instant:
    """An executor with one worker that takes no time."""

    slots = capacity = 1

    def __init__(self):
        self.seen = []

    def perform(self, task, limits):
        self.seen.append(task)
        return Outcome()


def test_the_place_is_free_once_the_outcome_is_there():
    changed = threading.Condition()
    places = WorkerPlaces(Instant(), changed)

    def is_one_free():
        with changed:
            return places.is_one_free()

    with ThreadPoolExecutor(1) as other:
        assert other.submit(is_one_free).result()
        with changed:
            places.hold()
        assert is_one_free()  # its own
        assert not other.submit(is_one_free).result()
        places.perform(TASK, Limits(1.0, 1))
        assert other.submit(is_one_free).result()


def test_a_run_that_is_repeated_waits_for_a_place():
    """On a fresh worker, say: its place is another's by then."""
    changed, executor = threading.Condition(), Instant()
    places = WorkerPlaces(executor, changed)
    with changed:
        places.hold()
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(places.perform, TASK, Limits(1.0, 1))
        assert not executor.seen
        places.leave()
        assert waiting.result() == Outcome()
