"""Which runs are queued for the files in a real folder, and when."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from intake_bench import AN_HOUR_AGO, LONG, Arrivals, ingest, make, runs

from tidegate.runtime.dispatch import Dispatcher
from tidegate.runtime.events import Event
from tidegate.targets.local.watch import Watcher

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@pytest.fixture
def arrivals(tmp_path: Path) -> Iterator[Arrivals]:
    made = make(tmp_path, ingest())
    yield made
    made.intake.close()
    made.ledger.close()


def change_twice(how: Callable[[Path], object]) -> Callable[[Path], None]:
    left = [how, how]

    def meanwhile(path: Path) -> None:
        if left:
            left.pop()(path)

    return meanwhile


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(lambda path: path.chmod(path.stat().st_mode ^ 0o040), id="mode"),
        pytest.param(lambda path: os.link(path, f"{path}.{time.time_ns()}~"), id="link"),
        pytest.param(lambda path: os.utime(path, (1, time.time_ns() % 10**9)), id="time"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_looked_at_again(
    arrivals: Arrivals, how: Callable[[Path], object]
) -> None:
    queued = threading.Event()
    arrivals.inputs.meanwhile = change_twice(how)
    with Watcher(arrivals.inputs.root, arrived=arrivals.intake.arrived) as watcher:
        arrivals.put("one/a")
        arrivals.intake.start(watcher, lambda: queued.set() if arrivals.queued() else None)
        assert queued.wait(LONG)
    assert arrivals.queued() == ["one/a"]
    assert arrivals.inputs.times >= 3


def test_without_a_watcher_it_is_waited_for(arrivals: Arrivals) -> None:
    arrivals.inputs.meanwhile = change_twice(lambda path: path.chmod(path.stat().st_mode ^ 0o040))
    arrivals.put("one/a")
    arrivals.intake.take_all()
    assert arrivals.queued() == ["one/a"]


def test_one_that_is_gone_before_it_was_read_is_not_waited_for(arrivals: Arrivals) -> None:
    arrivals.inputs.meanwhile = os.unlink
    arrivals.put("one/a")
    arrivals.intake.take_all()
    assert arrivals.queued() == []


def test_a_long_settle_is_waited_for_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.targets.local.intake._LONG", 1.0)
    monkeypatch.setattr("tidegate.targets.local.intake._WAIT_FOR_WRITERS", LONG)
    made = make(tmp_path, ingest(settle=1.5))
    made.put("one/a", time.time())
    made.intake.take_all()
    assert made.queued() == ["one/a"]
    assert "one/a" in made.said[0]
    made.ledger.close()


def test_what_never_settles_is_named_when_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.targets.local.intake._WAIT_FOR_WRITERS", -30.0)
    made = make(tmp_path, ingest(settle=30.0))
    made.put("one/a", time.time())
    made.put("one/b")
    made.intake.take_all()
    assert made.queued() == ["one/b"]
    assert "left" in made.said[-1]
    assert "one/a" in made.said[-1]
    made.ledger.close()


def test_what_was_there_is_queued_by_file_time_then_name_after_new_arrivals(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.targets.local.intake.BATCH", 2)
    for key, age in (("a", 1), ("b", 3), ("c", 2), ("e", 4), ("d", 4)):
        arrivals.put(f"one/{key}", AN_HOUR_AGO - age)
    arrivals.intake.take_all()
    arrivals.put("one/new")
    arrivals.intake.take(["one/new"])
    order = []
    while queued := arrivals.queue.take(datetime.now(UTC)):
        order.append(queued.run.title[4:])
    assert order == ["new", "d", "e", "b", "c", "a"]


def test_runs_know_when_their_file_was_written(arrivals: Arrivals) -> None:
    arrivals.put("one/a", 1_600_000_000)
    arrivals.intake.take_all()
    (entry,) = arrivals.queue.pending()
    assert entry.run.inputs[0].modified == datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)


@linux
def test_a_file_that_is_open_for_writing_has_not_arrived(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.targets.local.intake._WAIT_FOR_WRITERS", 0.0)
    arrivals.put("one/b")
    with open(arrivals.put("one/a"), "ab"):
        arrivals.intake.take_all()
        assert arrivals.queued() == ["one/b"]
        assert "one/a" in arrivals.said[-1]


@linux
def test_one_that_stays_open_and_grows_is_run_after_max_wait(arrivals: Arrivals) -> None:
    queued, enough = threading.Event(), threading.Event()
    path = arrivals.put("one/a")

    def write() -> None:
        with open(path, "ab", buffering=0) as file:
            while not enough.wait(0.01):
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        intake = arrivals.intake
        with Watcher(
            arrivals.inputs.root,
            arrived=intake.arrived,
            settle=lambda key: LONG,
            max_wait=lambda key: 0.5,
        ) as watcher:
            intake.start(watcher, lambda: queued.set() if arrivals.queued() else None)
            assert queued.wait(LONG)
        entry = next(arrivals.queue.pending())
        (input,) = entry.run.inputs
        arrivals.inputs.fetch(input, path.parent.parent / "copy")  # it has grown since
        assert (path.parent.parent / "copy").stat().st_size == input.size
        assert not arrivals.inputs.replaced(input)
    finally:
        enough.set()
        writer.join()
    path.write_bytes(b"y" * (input.size + 1))
    assert arrivals.inputs.replaced(input)


# Files that belong together.


@pytest.fixture
def related(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Arrivals]:
    made = make(tmp_path, replace(ingest(), **request.param))
    yield made
    made.intake.close()
    made.ledger.close()


COMPANIONS = {"companions": {"*.dat": ("*.hdr",)}, "max_wait": 7200}


@pytest.mark.parametrize("related", [COMPANIONS], indirect=True)
def test_a_file_waits_for_its_companion(related: Arrivals) -> None:
    related.put("one/a.dat")
    related.intake.take_all()
    assert runs(related) == []
    assert any("one/a.dat" in text and "companions" in text for text in related.said)
    related.put("one/a.hdr")
    related.intake.take(["one/a.hdr"])
    assert runs(related) == [(["a.dat"], ["a.hdr"])]
    related.intake.take_all()
    assert len(runs(related)) == 1


@pytest.mark.parametrize("related", [{**COMPANIONS, "max_wait": 600}], indirect=True)
def test_a_file_whose_companion_does_not_come_is_run_without_it(related: Arrivals) -> None:
    related.put("one/a.dat")
    related.intake.take_all()
    assert runs(related) == [(["a.dat"], [])]


@pytest.mark.parametrize("related", [COMPANIONS], indirect=True)
def test_a_file_that_waits_is_looked_at_when_its_time_is_over(related: Arrivals) -> None:
    queued = threading.Event()
    with Watcher(related.inputs.root, arrived=related.intake.arrived) as watcher:
        related.put("one/a.dat", mtime=time.time() - 7199)
        related.intake.start(watcher, lambda: queued.set() if related.queued() else None)
        assert queued.wait(LONG)
    assert runs(related) == [(["a.dat"], [])]


@pytest.mark.parametrize("related", [{"group_by": "folder"}], indirect=True)
def test_a_late_member_queues_its_group_again(related: Arrivals) -> None:
    for key in ("one/x/1", "one/x/2", "one/y/1"):
        related.put(key)
    related.intake.take_all()
    assert sorted(runs(related)) == [(["x/1", "x/2"], []), (["y/1"], [])]
    related.put("one/x/3")
    related.intake.take(["one/x/3"])
    assert (["x/1", "x/2", "x/3"], []) in runs(related)
    assert related.inputs.times == 4  # each file is read once


@pytest.mark.parametrize("related", [{"group_by": "folder"}, COMPANIONS], indirect=True)
def test_files_that_belong_together_are_looked_at_together(
    related: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one event for each file, the cost would grow with the square of a group's size."""
    events: list[Event] = []
    monkeypatch.setattr(Dispatcher, "submit", lambda self, *given, **settings: events.extend(given))
    for name in ("a", "b"):
        related.put(f"one/{name}.hdr")
        related.put(f"one/{name}.dat")
    related.intake.take_all()
    (config,) = related.intake._configs
    assert len(events) == (1 if config.group_by else 2)
