"""Jobs: reprocessing of many runs that survives restarts, and that others can pause and cancel."""

import signal
import subprocess
import sys
from collections import Counter
from shutil import copytree

import pytest
from service_workspace import COMMAND, VAP, Place, config, csv, eventually, ingest, make
from test_service_crash import contents

pytestmark = pytest.mark.functional

FILES = 16
TEXT = config(ingest("one"), rest=VAP.replace('"* * * * *"', '"0 0 1 1 *"'), defaults="settle: 0")


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """A file: runs take as long as it is there."""
    return tmp_path_factory.mktemp("gate") / "closed"


@pytest.fixture(scope="module")
def history(tmp_path_factory, gate):
    """A workspace with 16 files of 8 days that were processed."""
    place = make(tmp_path_factory.mktemp("jobs") / "workspace", TEXT)
    for n in range(FILES):
        begin = f"2022-04-{1 + n // 2:02}T{n % 2 * 12:02}:00:00"
        place.put(
            f"tiny/one/one.{begin[:10].replace('-', '')}.{n:02}.csv",
            csv(begin, ask=f"while {gate}"),
        )
    place.age()
    place.once("--workers", "2")
    return place


@pytest.fixture
def place(history, tmp_path):
    """A copy of that workspace."""
    return Place(copytree(history.root, tmp_path / "copy"), history.repository)


def start(place, *arguments):
    """``reprocess`` as a process that the test interrupts."""
    return subprocess.Popen(
        [*COMMAND, "reprocess", *arguments, "--python", sys.executable, "--workers", "1"],
        cwd=place.root,
        env=place.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def the_job(place):
    """The only job, as ``tidegate jobs`` has it."""
    (job,) = place.run("jobs", "--json").json
    return job


def attempts(place):
    """How many files were run how often."""
    return Counter(record.attempt for record in place.records("tiny/one"))


def test_a_job_that_was_killed_goes_on_and_each_run_is_done_once(place):
    before = contents(place)
    old = {record.key for record in place.records("tiny_vap/one")}
    assert len(old) == FILES // 2
    command = start(place, "tiny", "tiny_vap", "--yes")
    try:
        eventually(lambda: attempts(place)[2] >= 5)
    finally:
        command.kill()
        command.communicate()
    job = the_job(place)
    assert (job["state"], job["stages"]) == ("interrupted", [["tiny/one"], ["tiny_vap/one"]])
    assert 0 < job["ended"] < FILES
    assert place.run("jobs", "pause", job["id"][:4]).code == 0
    assert the_job(place)["state"] == "paused"

    done = place.tidegate("jobs", "resume", job["id"], "--json").json
    assert (done["state"], done["ended"]) == ("done", FILES + FILES // 2)
    runs = done["ended"]
    assert done["expected"] == {"tiny/one": FILES, "tiny_vap/one": FILES // 2}
    assert done["counts"] == {"planned": runs, "succeeded": runs, "equal": runs}
    again = attempts(place)
    assert again[2] + again[3] == FILES
    assert again[3] <= 2  # when the command was killed, one was at work and one was published
    # Each window once, and after all its inputs: as runs of their present versions.
    new = [record for record in place.records("tiny_vap/one") if record.key not in old]
    assert len({record.run.window for record in new}) == len(new) == FILES // 2
    last = max(record.finished for record in place.records("tiny/one"))
    assert min(record.started for record in new) > last
    assert contents(place) == before
    place.assert_whole()
    place.once()
    assert len(place.records("tiny_vap/one")) == FILES  # the schedule has nothing more to do


def test_what_arrives_goes_before_a_job_and_others_can_cancel_it(place, gate):
    with place.up():
        command = start(place, "tiny/one", "--limit", "1", "--json")
        try:
            eventually(lambda: attempts(place)[2] >= 2)
            place.put("tiny/one/late.20220501.csv", csv("2022-05-01"))
            late = place.ended("tiny/one/late.20220501.csv")
            gate.touch()  # or else the job may be done before it is cancelled
            again = [r for r in place.records("tiny/one") if r.attempt == 2]
            assert len(again) < FILES
            id = the_job(place)["id"]
            eventually(lambda: place.record(late.run.inputs[0].key) != place.records()[0])
            assert place.run("jobs", "cancel", id).code == 0
            gate.unlink()
            out, said = command.communicate(timeout=60)
        finally:
            gate.unlink(missing_ok=True)
            command.kill()
        assert command.returncode == 1, said
        assert '"state": "cancelled"' in out
        eventually(lambda: not place.queued())
    assert attempts(place)[2] < FILES
    place.assert_whole()


def test_ctrl_c_cancels_where_nobody_can_be_asked(place):
    command = start(place, "tiny/one")
    try:
        eventually(lambda: attempts(place)[2] >= 2)
        command.send_signal(signal.SIGINT)
        out, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 1, said
    assert "cancelled" in out
    job = the_job(place)
    assert (job["state"], job["ended"]) == ("cancelled", attempts(place)[2])
    place.assert_whole()
