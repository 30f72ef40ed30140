"""What a person asks for: run, retry, reprocess; done by the service where one runs."""

import contextlib
import subprocess
import sys

import pytest
from service_workspace import COMMAND, VAP, config, csv, eventually, ingest, make, product

pytestmark = pytest.mark.slow

HOURLY = VAP.replace('"* * * * *"', "Monthly")
TEXT = config(ingest("one"), ingest("two", "tiny/shared/"), ingest("three", "tiny/"), rest=HOURLY)


@pytest.fixture(params=["with a service", "without"])
def asked(request, tmp_path):
    """A workspace of its own repository where some runs succeeded and some failed."""
    place = make(tmp_path / "workspace", config(ingest("one"), rest=HOURLY), own=True)
    for day in (1, 2, 3):
        place.put(f"tiny/one/{day}.csv", csv(f"2022-04-0{day}T00:00:00"))
    for day in (4, 5):
        place.put(f"tiny/one/{day}.csv", csv(f"2022-04-0{day}T00:00:00", ask="raise no"))
    place.age()
    place.once(code=1)
    service = place.up() if request.param == "with a service" else contextlib.nullcontext()
    with service as up:
        place.service = up
        yield place
        eventually(lambda: not place.queued())
    place.assert_whole()


def attempts(place, config="tiny/one"):
    """How often each file was tried, by the day in its name."""
    return {r.run.title[9]: r.attempt for r in place.records(config)}


def test_retry_and_reprocess(asked):
    # All that failed, and they fail once more.
    done = asked.tidegate("retry", "--failed", "--json", code=1)
    assert sorted(run["outcome"] for run in done.json) == ["failed", "failed"]
    assert attempts(asked) == {"1": 1, "2": 1, "3": 1, "4": 2, "5": 2}

    # The code is mended, which makes the products of the others stale.
    readers = asked.root / "pipelines/pipelines/tiny/readers.py"
    readers.write_text(readers.read_text().replace('elif what == "raise":', 'elif what == "?":'))
    if asked.service is not None:
        asked.service.stop()
        asked.service.close()
    with asked.up() if asked.service is not None else contextlib.nullcontext():
        dry = asked.tidegate("reprocess", "tiny/one", "--only", "failed", "--dry-run", "--json")
        assert [run["about"] for run in dry.json] == ["tiny/one/4.csv", "tiny/one/5.csv"]
        key = asked.record("tiny/one/4.csv").key
        asked.tidegate("retry", key[:8])
        assert asked.record("tiny/one/4.csv").state == "succeeded"

        # One that nobody has run is missing, as is one that failed.
        asked.put("tiny/late.csv", csv("2022-04-09T00:00:00"))
        asked.tidegate("reprocess", "tiny/one", "--only", "missing")
        assert attempts(asked) == {"1": 1, "2": 1, "3": 1, "4": 3, "5": 3}

        done = asked.tidegate(
            "reprocess", "tiny/one", "--only", "stale", "--begin", "20220402", "--end", "20220404"
        )
        assert "2 runs, about 0:00:0" in done.err
        assert attempts(asked) == {"1": 1, "2": 2, "3": 2, "4": 3, "5": 3}
        asked.tidegate("reprocess", "tiny/one", "--only", "stale")
        assert attempts(asked) == {"1": 2, "2": 2, "3": 2, "4": 3, "5": 3}
        asked.tidegate("reprocess", "tiny/one")
        assert attempts(asked) == {"1": 3, "2": 3, "3": 3, "4": 4, "5": 4}
        nothing = asked.tidegate("reprocess", "tiny/one", "--only", "failed")
        assert "0 runs" in nothing.err
        assert "no failed runs" in asked.tidegate("retry", "--failed").err


def test_run_files_and_windows(tmp_path):
    place = make(tmp_path / "workspace", TEXT)
    inside = place.put("tiny/one/x.csv", csv("2022-04-01T00:00:00"))
    both = place.put("tiny/shared/y.csv", csv("2022-04-02T00:00:00"))
    outside = place.root / "elsewhere one.csv"
    outside.write_text(csv("2022-04-03T00:00:00"))
    place.age()

    # By the folder: two configs have x.csv below theirs.
    done = place.tidegate("run", inside, code=2)
    assert "several configs are for" in done.err
    assert "tiny/one" in done.err
    assert "--multidispatch" in done.err
    place.tidegate("run", inside, "--config", "tiny/one")
    assert product("one", "2022-04-01") in place.outputs()
    done = place.tidegate("run", both, "--multidispatch", "--json")
    assert sorted(run["run"]["config"] for run in done.json) == ["tiny/three", "tiny/two"]

    # From elsewhere: by the pipelines' triggers.
    place.tidegate("run", outside)
    record = place.records("tiny/one")[0]
    assert record.run.inputs[0].key.endswith("elsewhere one.csv")
    assert record.state == "succeeded"
    stray = place.root / "stray.txt"
    stray.write_text(csv())
    done = place.tidegate("run", stray, code=2)
    assert "no config is for" in done.err
    assert "tiny/one, tiny/two, tiny/three" in done.err

    # Several in one run, and a run that was done is done again when it is asked for.
    place.tidegate("run", inside, both, "--clump", "--config", "tiny/three")
    assert len(place.records("tiny/three")[0].run.inputs) == 2
    place.tidegate("run", inside, "--config", "tiny/one")
    assert place.record("tiny/one/x.csv", "tiny/one").attempt == 2

    # A VAP's window; whatever the schedule says of it.
    window = ["--begin", "20220401", "--end", "20220402.000000"]
    place.tidegate("run", "tiny_vap/one", *window)
    assert product("one", "2022-04-01", dataset="tinyvap.c1") in place.outputs()
    with place.up():
        place.tidegate("run", "tiny_vap/one", *window)
        records = {str(r.run.window): r for r in reversed(place.records("tiny_vap/one"))}
        assert records["2022-04-01 to 2022-04-02"].attempt == 2
        done = place.tidegate("run", outside, code=2)
        assert "only takes files from input/" in done.err
        place.tidegate("run", inside, "--config", "tiny/one")
        assert place.record("tiny/one/x.csv", "tiny/one").attempt == 3
    place.assert_whole()


def test_a_look_at_what_would_be_run_keeps_new_files_new(place):
    place.once()  # the first start looks at every file whatever is on record; the next ones do not
    place.put("tiny/one/new.csv", csv())
    place.age()
    dry = place.tidegate("reprocess", "tiny/one", "--dry-run")
    assert "tiny/one/new.csv" in dry.out
    place.once()
    assert place.record("tiny/one/new.csv").state == "succeeded"


def test_a_run_is_not_held_up_by_what_a_dead_service_left_in_the_queue(place):
    place.configure(config(ingest("one"), defaults="settle: 0"))
    place.put("tiny/one/x.csv", csv(ask="hang 600"))
    place.put("tiny/one/y.csv", csv("2022-04-02T00:00:00", ask="hang 600"))
    place.age()
    service = place.start(workers=1)
    try:
        eventually(lambda: place.queued() == 2 and place.records())
    finally:
        service.kill()
    new = place.put("tiny/one/x.csv", csv("2022-04-03T00:00:00"))
    place.tidegate("run", new)
    assert product("one", "2022-04-03") in place.outputs()
    assert place.queued() == 1  # y.csv, which nobody asked for, waits for the next service
    place.put("tiny/one/y.csv", csv("2022-04-04T00:00:00"))
    place.once()
    place.assert_whole()


def test_whoever_waits_for_a_service_is_told_when_it_ends(place):
    place.put("tiny/one/x.csv", csv(ask="slow 1"))
    place.age()
    service = place.start(workers=1)
    try:
        place.ended("tiny/one/x.csv")
        place.put("tiny/one/y.csv", csv("2022-04-02T00:00:00", ask="hang 600"))
        place.ended("tiny/one/x.csv")
        eventually(lambda: place.record("tiny/one/y.csv"))
        command = [*COMMAND, "run", "input/tiny/one/x.csv", "--python", sys.executable]
        waiting = subprocess.Popen(
            command, cwd=place.root, env=place.variables(), stderr=subprocess.PIPE, text=True
        )
        eventually(lambda: place.queued() == 2)
        service.kill()
        _, said = waiting.communicate(timeout=120)
    finally:
        service.close()
    assert waiting.returncode == 1
    assert "the service has ended" in said
