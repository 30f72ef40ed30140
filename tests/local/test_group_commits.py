"""Changes of several threads in one transaction: each as if it were alone, also in a crash."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tidegate.runtime.runs import Input, Run
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.ledger.group_commits import GroupCommits
from tidegate.targets.local.queue import SqliteQueue

T0 = datetime(2022, 4, 5, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


class Notes:
    """A table of numbers, each noted once, that counts its transactions."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.db.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY)")
        self.commits = GroupCommits(self.transaction)
        self.committed = 0
        self.calls: list[int] = []
        self.interrupt_at = -1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("BEGIN")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")
        self.committed += 1

    def note(self, n: int) -> int:
        def change(db: sqlite3.Connection) -> int:
            self.calls.append(n)
            if n == self.interrupt_at and self.calls.count(n) == 1:
                raise Interrupt
            db.execute("INSERT INTO notes VALUES (?)", (n,))
            return n

        return self.commits.write(change)

    def all(self) -> list[int]:
        return [n for (n,) in self.db.execute("SELECT n FROM notes ORDER BY n").fetchall()]

    def together(self, pool: ThreadPoolExecutor, numbers: list[int]) -> list[Future[int]]:
        """Have these noted by threads that all wait while another transaction goes on."""
        started, release = threading.Event(), threading.Event()

        def hold(db: sqlite3.Connection) -> None:
            started.set()
            release.wait(30)

        holder = pool.submit(self.commits.write, hold)
        assert started.wait(30)
        futures = []
        for n in numbers:  # one after the other, so that their order is known
            futures.append(pool.submit(self.note, n))
            _wait_for(lambda: len(self.commits._waiting) == len(futures))
        release.set()
        holder.result(30)
        return futures


class Interrupt(BaseException):
    """As Ctrl-C."""


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_changes_that_wait_share_a_transaction(pool: ThreadPoolExecutor) -> None:
    notes = Notes()
    assert notes.note(0) == 0
    futures = notes.together(pool, [1, 2, 3, 4])
    assert [future.result(30) for future in futures] == [1, 2, 3, 4]
    assert notes.all() == [0, 1, 2, 3, 4]
    assert notes.calls == [0, 1, 2, 3, 4], "in the order in which they came, each once"
    assert notes.committed == 3


def test_a_change_that_fails_fails_alone(pool: ThreadPoolExecutor) -> None:
    notes = Notes()
    notes.note(2)
    futures = notes.together(pool, [1, 2, 3])
    assert futures[0].result(30) == 1
    with pytest.raises(sqlite3.IntegrityError):
        futures[1].result(30)
    assert futures[2].result(30) == 3
    assert notes.all() == [1, 2, 3]
    assert notes.note(4) == 4


def test_a_thread_that_is_interrupted_leaves_the_others_to_go_on(pool: ThreadPoolExecutor) -> None:
    notes = Notes()
    notes.interrupt_at = 2
    futures = notes.together(pool, [1, 2, 3])  # the first one's thread carries out all of them
    with pytest.raises(Interrupt):
        futures[0].result(30)
    assert [future.result(30) for future in futures[1:]] == [2, 3]
    assert notes.all() == [2, 3]
    assert notes.note(4) == 4


def test_many_threads_write_all_that_they_were_given(pool: ThreadPoolExecutor) -> None:
    notes = Notes()
    numbers = range(400)
    assert list(pool.map(notes.note, numbers)) == list(numbers)
    assert notes.all() == list(numbers)


COUNT = 6

KILLED = """
import os, signal, sys, threading, time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tidegate.runtime.runs import Input, Product, Run
from tidegate.targets.local.ledger import SqliteLedger, claims
from tidegate.targets.local.ledger.group_commits import GroupCommits
from tidegate.targets.local.queue import SqliteQueue

path, where, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime(2022, 4, 5, tzinfo=timezone.utc)
ledger = SqliteLedger(path)
queue = SqliteQueue(ledger)
queue.put([Run("c", inputs=(Input(f"f{n}", "1", 1),)) for n in range(count)], now)
records = []
for n in range(count):
    run = queue.take(now).run
    claim = ledger.claim(run, owner="me", lease=timedelta(hours=1), now=now, release="")
    records.append(claim.record)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def trap(owner, name, calls):
    original, left = getattr(owner, name), [calls]
    def trapped(*args, **kwargs):
        if not left[0]:
            die()
        left[0] -= 1
        return original(*args, **kwargs)
    setattr(owner, name, trapped)

def finish(record):
    product = Product(f"p/{record.run.inputs[0].key}", "data", 1, "f", begin=now, end=now,
                      datastream="s", run=record.key)
    ledger.finish(replace(record, state="succeeded", products=(product,)))
    print("answered", flush=True)

commits, started = ledger.database._commits, threading.Event()

def hold(db):
    started.set()
    while len(commits._waiting) < count:
        time.sleep(0.001)

threads = [threading.Thread(target=commits.write, args=(hold,))]
threads[0].start()
started.wait()
threads += [threading.Thread(target=finish, args=(record,)) for record in records]
if where == "in the middle":
    trap(claims, "finish_run", count // 2)
elif where == "before the commit":
    commits_seen = []
    def watch(statement):
        if statement == "COMMIT":
            commits_seen.append(statement)
            if len(commits_seen) == 2:
                die()
    ledger.database._writer.set_trace_callback(watch)
else:
    trap(GroupCommits, "_pass_on", 1)
for thread in threads[1:]:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.functional
@pytest.mark.parametrize("where", ["in the middle", "before the commit", "after the commit"])
def test_killed_while_several_runs_end_together(tmp_path: Path, where: str) -> None:
    """No run is reported that is not on record; all of a group are on record, or none is."""
    path = tmp_path / "ledger.db"
    command = [sys.executable, "-c", KILLED, str(path), where, str(COUNT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not done.stdout
    ended = where == "after the commit"
    with SqliteLedger(path) as ledger:
        assert ledger.counts() == {"c": {"succeeded" if ended else "running": COUNT}}
        assert sum(1 for _ in ledger.products()) == (COUNT if ended else 0)
        queue = SqliteQueue(ledger)
        assert (ledger.abandon(), queue.requeue_taken()) == ((0, 0) if ended else (COUNT, COUNT))
        for n in range(COUNT):
            run = Run("c", inputs=(Input(f"f{n}", "1", 1),))
            claim: Any = ledger.claim(run, owner="next", lease=HOUR, now=T0, release="")
            assert (claim.granted, claim.reason) == ((False, "done") if ended else (True, "new"))
