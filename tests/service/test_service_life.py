"""The service starts, stops, is killed, waits for what is in the way, and is the only one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import pytest
from service_workspace import (
    COMMAND,
    VAP,
    command_line,
    config,
    csv,
    eventually,
    fill,
    ingest,
    make,
    product,
)

from tidegate.workspace.folder import Workspace

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_it_finishes_what_runs_and_can_start_again_at_once(place, number):
    place.put("tiny/one/first.csv", csv())
    place.age()
    with place.up() as service:
        place.ended("tiny/one/first.csv")  # the worker is warm: what runs can end within the grace
        first = "tiny/one/slow.csv"
        place.put(first, csv("2022-04-02T00:00:00", ask="slow 2"))
        eventually(lambda: place.record(first))
        place.put("tiny/one/next.csv", csv("2022-04-03T00:00:00"))
        eventually(lambda: place.queued() == 2)
        workers = service.workers()
        assert service.stop(number) == 0
        assert "stopping" in service.said
        assert "Traceback" not in service.said
        assert place.record(first).state == "succeeded"
        assert place.queued() == 1  # nothing new was begun
        assert not any(command_line(pid) for pid in workers)
    place.once()
    assert [record.state for record in place.records()] == ["succeeded"] * 3
    place.assert_whole()


def test_what_goes_on_for_too_long_is_handed_back(place):
    place.put("tiny/one/slow.csv", csv(ask="hang 600"))
    place.age()
    with place.up() as service:
        eventually(lambda: any(r.state == "running" for r in place.records()))
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 20
    assert place.queued() == 1
    place.put("tiny/one/slow.csv", csv())
    place.age()
    place.once()
    assert place.record("tiny/one/slow.csv").state == "succeeded"
    place.assert_whole()


def test_one_service_a_workspace_and_no_stale_lock(place):
    first = place.start("--web", "--port", "0", workers=1)
    try:
        first.ready()
        (address,) = re.findall(r"the dashboard is at (http://127\.0\.0\.1:\d+/)", first.said)
        with urllib.request.urlopen(f"{address}healthz", timeout=60) as answer:
            assert answer.status == 200
        refused = place.tidegate("up", code=4)
        assert "a service is already running in" in refused.err
        assert f"process {first.process.pid}" in refused.err
        workers = first.workers()
    finally:
        first.kill()
    with place.up() as service:  # and it can be stopped from the moment that it says that it runs
        assert service.stop() == 0
    eventually(lambda: not any(command_line(pid) for pid in workers))


def test_once_says_by_its_exit_code_how_it_went(place):
    place.once()
    place.put("tiny/one/bad.csv", csv(ask="raise no"))
    place.put("tiny/one/good.csv", csv())
    place.age()
    done = place.once(code=1)
    assert "RuntimeError: no" in done.out
    assert place.record("tiny/one/good.csv").state == "succeeded"
    place.once()  # nothing new is due, so nothing goes wrong


def test_a_window_that_fails_is_not_tried_for_ever(place):
    place.configure(config(ingest("one"), rest=VAP))
    # Its second value is the next day's; but Tsdat goes by names, and finds nothing for that day.
    place.put("tiny/one/midnight.csv", csv("2022-04-01T23:59:00", [1, 2]))
    place.age()
    place.once(code=1)
    windows = [(r.run.title, r.state, r.attempt) for r in place.records("tiny_vap/one")]
    assert sorted(windows) == [
        ("2022-04-01 to 2022-04-02", "succeeded", 1),
        ("2022-04-02 to 2022-04-03", "failed", 1),
    ]


def test_a_config_that_is_added_later_runs_over_what_is_there(place):
    place.put("tiny/one/x.csv", csv())
    place.age()
    place.once()
    place.configure(config(ingest("one"), ingest("two", "tiny/")))
    place.once()
    assert place.record("tiny/one/x.csv", "tiny/two").state == "succeeded"
    assert len(place.records("tiny/one")) == 1
    # And a config that is taken away leaves its record, and its queue does not stand in the way.
    place.configure(config(ingest("two", "tiny/")))
    place.once()
    assert len(place.records("tiny/one")) == 1
    place.assert_whole()


def test_passing_failures_are_tried_again_after_a_pause_and_then_no_more(place, tmp_path):
    place.configure(config(ingest("one", retries=1), defaults="settle: 0"))
    place.put("tiny/one/flaky.csv", csv(ask=f"once {tmp_path / 'mark'}"))
    place.put("tiny/one/offline.csv", csv("2022-04-02T00:00:00", ask="offline"))
    place.age()
    done = place.once(code=1)
    flaky, offline = place.record("tiny/one/flaky.csv"), place.record("tiny/one/offline.csv")
    assert (flaky.state, flaky.attempt) == ("succeeded", 2)
    assert (offline.state, offline.attempt, offline.failure.kind) == ("failed", 2, "transient")
    assert "ConnectionError: the network is down" in offline.failure.message
    assert "flaky.csv  retrying" in done.out
    assert "offline.csv  failed" in done.out


def test_a_worker_that_is_killed_fails_its_run_alone_and_is_replaced(place):
    place.configure(config(ingest("one"), defaults="settle: 0"))
    with place.up(workers=2) as service:
        place.put("tiny/one/victim.csv", csv(ask="slow 3"))
        eventually(lambda: place.record("tiny/one/victim.csv"))
        place.put("tiny/one/other.csv", csv("2022-04-02T00:00:00"))
        place.ended("tiny/one/other.csv")
        assert len(service.workers()) == 2
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        record = place.ended("tiny/one/victim.csv")
        assert (record.state, record.attempt) == ("succeeded", 2)
        assert "was ended by SIGKILL" in service.said
    place.assert_whole()


QUICK = config(ingest("one", retries=1), defaults="settle: 0")


def test_a_full_disk_under_the_products(place, mount):
    place.configure(QUICK)
    place.output.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place.output))
    ballast = place.output / "storage/ballast"
    ballast.parent.mkdir()
    with place.up() as service:
        place.put("tiny/one/fits.csv", csv())
        place.ended("tiny/one/fits.csv", "succeeded")
        fill(ballast)
        place.put("tiny/one/a.csv", csv("2022-04-02T00:00:00"))
        place.put("tiny/one/b.csv", csv("2022-04-03T00:00:00"))
        service.says("b.csv  retrying")
        assert len(place.outputs()) == 3  # of what did not fit there is nothing
        waits = eventually(lambda: _in_state(place, "tiny/one/b.csv", "retrying"))
        assert waits.failure.kind == "transient"
        assert "no space left on device" in waits.failure.message
        ballast.unlink()
        place.put("tiny/one/c.csv", csv("2022-04-04T00:00:00"))
        for name in "abc":  # by themselves: a full disk is tried again until there is room
            place.ended(f"tiny/one/{name}.csv", "succeeded")
    place.assert_whole()


def _in_state(place, key, state):
    """The latest run over a file, if it is in that state now."""
    record = place.record(key)
    return record if record is not None and record.state == state else None


def test_a_full_disk_under_everything_is_waited_for(tmp_path, mount):
    (tmp_path / "disk").mkdir()
    mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path / "disk"))
    place = make(tmp_path / "disk" / "workspace", QUICK)
    for n in range(1, 9):
        place.put(f"tiny/one/{n}.csv", csv(f"2022-04-0{n}T00:00:00", ask="slow 0.5"))
    place.age()
    ballast = tmp_path / "disk" / "ballast"
    with place.up() as service:
        eventually(lambda: any(record.state == "succeeded" for record in place.records()))
        fill(ballast)
        eventually(
            lambda: "disk is full" in service.said or "no space left" in service.said.lower(),
            lambda: service.said,
        )
        assert service.code is None
        ballast.unlink()
        eventually(lambda: not place.queued())
        time.sleep(0.5)
        assert service.stop() == 0
    if any(record.state == "failed" for record in place.records()):
        place.tidegate("retry", "--failed")
    assert {record.state for record in place.records()} == {"succeeded"}
    assert len(place.outputs()) == 16
    place.assert_whole()


def test_an_output_folder_that_cannot_be_written_to(place, mount):
    place.configure(QUICK)
    place.output.mkdir()
    mount("--bind", str(place.output), str(place.output))
    mount("-o", "remount,ro,bind", str(place.output))
    place.put("tiny/one/x.csv", csv())
    place.age()
    done = place.once(code=1)
    assert "read-only file system" in done.out
    record = place.record("tiny/one/x.csv")
    assert (record.state, record.failure.kind) == ("failed", "transient")
    assert "mount it for writing" in record.failure.next
    assert place.outputs() == {}
    mount("-o", "remount,rw,bind", str(place.output))
    place.tidegate("retry", "--failed")
    assert product("one", "2022-04-01") in place.outputs()
    place.assert_whole()


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """A workspace with one run on record, for tests to copy."""
    place = make(tmp_path_factory.mktemp("processed") / "workspace")
    place.put("tiny/one/x.csv", csv())
    place.age()
    place.once()
    return place


def put_away(ledger, place):
    """Move a ledger away as its error message says, so that a new one is begun."""
    shutil.move(ledger, place.root / "damaged.db")
    for leftover in ("-wal", "-shm"):
        ledger.with_name(ledger.name + leftover).unlink(missing_ok=True)


@pytest.mark.parametrize("where", ["head", "middle", "empty"])
def test_a_damaged_ledger_is_told_of_and_nothing_is_moved(processed, tmp_path, where):
    place = replace(processed, root=tmp_path / "workspace")
    shutil.copytree(processed.root, place.root)
    ledger = Workspace(place.root).ledger
    good = ledger.read_bytes()
    damaged = {
        "head": b"\x99" * 4096 + good[4096:],
        "middle": good[:4096] + b"\x99" * (len(good) - 4096),
        "empty": b"",
    }[where]
    ledger.write_bytes(damaged)
    place.put("tiny/one/y.csv", csv("2022-04-02T00:00:00"))
    place.age()
    before = place.outputs()
    done = place.tidegate("up", "--once", code=5)
    assert "ledger" in done.err
    assert "next:" in done.err
    assert "Traceback" not in done.err
    assert place.run("runs").code == 5
    assert place.outputs() == before
    assert ledger.read_bytes() == damaged
    assert sorted(p.name for p in (place.input / "tiny/one").iterdir()) == ["x.csv", "y.csv"]
    if where == "head":
        put_away(ledger, place)
        place.once()
        assert len(place.records()) == 2
        place.assert_whole()


def test_output_that_nobody_reads_stops_nothing(place):
    for n in range(1, 6):
        place.put(f"tiny/one/{n}.csv", csv(f"2022-04-0{n}T00:00:00"))
    place.age()
    read, write = os.pipe()
    os.close(read)  # as when `| head -1` has seen enough
    command = [*COMMAND, "up", "--once", "--workers", "1", "--python", sys.executable]
    done = subprocess.run(
        command,
        cwd=place.root,
        env=place.variables(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert len([r for r in place.records() if r.state == "succeeded"]) == 5
    place.assert_whole()
