"""Killed at any moment, again and again: at the end all is as if nothing had happened."""

import itertools
import os
import random
import signal
import time

import pytest
from service_workspace import command_line, config, contents, csv, eventually, ingest, make

from tidegate.targets.local.look import read_look

FILES = 120
CONFIG = config(ingest("one"), defaults="settle: 0, retries: 9")
TRAPS = (
    "tidegate.targets.local.outputs:FolderOutputs.publish:3",  # noted, and nothing is in place
    "tidegate.targets.local.outputs:FolderOutputs._move:5",  # the data is in place, the rest is not
    "tidegate.targets.local.outputs:FolderOutputs._move:6",
    "tidegate.targets.local.ledger:SqliteLedger.finish:4",  # all is in place, and not on record
)


def deliver(place, numbers):
    for n in numbers:
        begin = f"2022-04-{1 + n // 24:02}T{n % 24:02}:00:00"
        place.put(f"tiny/one/{n:03}.csv", csv(begin, (n, n + 1, n + 2)))


class Torment:
    """Starts services and kills them, and their workers."""

    def __init__(self, place, seed):
        self.place = place
        self.random = random.Random(seed)
        self.workers = set()

    def one_life(self, trap):
        """Start a service, kill one of its workers, then the service itself."""
        extra = {"TIDEGATE_TEST_DIE": trap} if trap else {}
        service = self.place.start(workers=2, **extra)
        try:
            service.ready()
            self.kill_worker(service, self.random.uniform(0, 3))
            if trap:
                eventually(lambda: service.code is not None, lambda: service.said)
                assert service.code == -signal.SIGKILL, service.said
            else:
                time.sleep(self.random.uniform(0, 2))
                service.process.kill()
                service.process.wait()
        finally:
            service.close()

    def kill_worker(self, service, after):
        time.sleep(after)
        workers = eventually(lambda: service.workers() or service.code is not None)
        if workers is not True:
            self.workers.update(workers)
            os.kill(self.random.choice(workers), signal.SIGKILL)


@pytest.mark.slow
def test_crashes_lose_nothing_and_double_nothing(tmp_path):
    calm, stormy = make(tmp_path / "calm", CONFIG), make(tmp_path / "stormy", CONFIG)
    deliver(calm, range(FILES))
    calm.once("--workers", "2")

    torment = Torment(stormy, seed=20220405)
    traps = (None, TRAPS[0], None, TRAPS[1], TRAPS[2], None, TRAPS[3], None)
    numbers = iter(range(FILES))
    for trap in traps:
        deliver(stormy, itertools.islice(numbers, 12))
        torment.one_life(trap)
    deliver(stormy, numbers)
    stormy.once("--workers", "2")

    assert contents(stormy) == contents(calm)
    assert len(stormy.outputs()) == 2 * FILES
    stormy.assert_whole()
    records = stormy.records()
    assert len(records) == FILES
    assert {record.state for record in records} == {"succeeded"}
    eventually(lambda: not any(b"tidegate.runtime" in command_line(p) for p in torment.workers))
    assert any(record.attempt > 1 for record in records)


@pytest.mark.slow
def test_killed_while_it_looks_for_files_the_next_start_takes_them_all(place):
    for number in (1, 2):
        place.put(f"tiny/one/{number}.csv", csv(f"2022-04-0{number}T00:00:00"))
    place.age()
    trap = "tidegate.targets.local.look:LookProgress.end:0"
    service = place.start(workers=1, TIDEGATE_TEST_DIE=trap)
    try:
        eventually(lambda: service.code is not None, lambda: service.said)
    finally:
        service.close()
    assert service.code == -signal.SIGKILL
    assert place.queued() == 0
    with place.ledger() as ledger:
        assert read_look(ledger).ended is None
    place.once()
    assert [record.state for record in place.records()] == ["succeeded"] * 2
    place.assert_whole()
