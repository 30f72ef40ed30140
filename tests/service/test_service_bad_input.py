"""Files that cannot work: each fails for its own reason, stays there, and holds up no other."""

import lzma
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from service_workspace import config, csv, eventually, ingest, make

from tidegate.workspace.folder import Workspace

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
CONFIG = config(
    ingest("one"),
    ingest("hang", timeout=2),
    ingest("memory", memory=600),
    ingest("crash", retries=1),
    defaults="settle: 0",
)
NOISE = random.Random(1).randbytes(10_000)

# file: (content, kind of failure, what its message must hold)
BAD = {
    "one/empty.csv": ("", "bad-input", "No columns to parse"),
    "one/columns.csv": ("when,what\n1,2\n", "bad-input", "time"),
    "one/noise.csv": (NOISE, "bad-input", "codec can't decode"),
    "one/raise.csv": (csv(ask="raise far too cold"), "bad-input", "RuntimeError: far too cold"),
    "one/exit.csv": (csv(ask="exit"), "bad-input", "asked Python to exit (SystemExit 7)"),
    "crash/segfault.csv": (csv(ask="segfault"), "transient", "was ended by SIGSEGV"),
    "crash/die.csv": (csv(ask="die 3"), "transient", "ended by itself with exit code 3"),
    "hang/hang.csv": (csv(ask="hang 600"), "timeout", "stopped after 2 s"),
    "memory/memory.csv": (csv(ask="memory"), "out-of-memory", "its limit is 600 MB"),
}


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """A workspace whose service got all bad files, with good ones between them."""
    place = make(tmp_path_factory.mktemp("bad") / "workspace", CONFIG)
    for number, (name, (content, *_)) in enumerate(BAD.items(), start=1):
        place.put(f"tiny/{name}", content)
        place.put(f"tiny/one/good{number}.csv", csv(f"2022-04-{number:02}T00:00:00"))
    with place.up(workers=2) as service:
        for name in BAD:
            place.ended(f"tiny/{name}")
        place.put("tiny/one/last.csv", csv("2022-05-01T00:00:00"))
        place.ended("tiny/one/last.csv")
        eventually(lambda: not place.queued())
        place.said = service.said
    return place


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_fails_for_its_reason_and_stays(fed, name):
    content, kind, message = BAD[name]
    record = fed.record(f"tiny/{name}")
    assert record.state == "failed"
    assert record.failure.kind == kind
    assert message in record.failure.message
    assert record.failure.next
    assert record.products == ()
    there = (fed.input / "tiny" / name).read_bytes()
    assert there == (content if isinstance(content, bytes) else content.encode())
    assert record.failure.message.splitlines()[0][:60] in fed.said


def test_only_what_may_pass_is_tried_again(fed):
    tries = {name: fed.record(f"tiny/{name}").attempt for name in BAD}
    assert {name: 2 if name.startswith("crash/") else 1 for name in BAD} == tries


def test_good_files_between_bad_ones_come_through(fed):
    good = [r for r in fed.records("tiny/one") if "/good" in r.run.title or "/last" in r.run.title]
    assert len(good) == len(BAD) + 1
    assert {record.state for record in good} == {"succeeded"}
    fed.assert_whole()


def test_the_log_of_a_failed_run_is_kept_with_what_user_code_said(fed):
    record = fed.record("tiny/one/raise.csv")
    log = (Workspace(fed.root).state / record.log).read_text()
    assert "far too cold" in log
    assert "misbehave" in log  # the traceback
    assert record.failure.where.startswith("pipelines/tiny/readers.py:")


def test_a_skipped_file_is_empty_and_no_success(place):
    place.put("tiny/one/skip.csv", csv(ask="skip"))
    place.age()
    place.once()
    assert place.record("tiny/one/skip.csv").state == "empty"
    assert place.outputs() == {}


def test_a_file_that_vanishes_before_it_is_staged_is_superseded(place):
    place.configure(config(ingest("one", concurrency=1), defaults="settle: 0"))
    with place.up() as service:
        place.put("tiny/one/slow.csv", csv(ask="slow 2"))
        eventually(lambda: place.record("tiny/one/slow.csv"))
        gone = place.put("tiny/one/gone.csv", csv("2022-04-02T00:00:00"))
        place.put("tiny/one/good.csv", csv("2022-04-03T00:00:00"))
        eventually(lambda: place.queued() == 3)
        gone.unlink()
        record = place.ended("tiny/one/gone.csv")
        assert place.ended("tiny/one/good.csv").state == "succeeded"
        assert record.state == "superseded"
        assert "was replaced or removed before it could be read" in record.failure.message
        # It comes back, with the same content: then it is a new arrival.
        place.put("tiny/one/gone.csv", csv("2022-04-02T00:00:00"))
        place.ended("tiny/one/gone.csv", "succeeded")
        service.says("gone.csv  superseded")
    place.assert_whole()


def bomb():
    """Some 7 MB that unpack to 52 GB of zeros.

    Once the coder has settled, each 123 bytes stand for the same 878,850 zeros.
    """
    packer = lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=0)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(16)) + packer.flush()
    assert packed[1000:1123] == packed[1123:1246]
    return packed[:1000] + packed[1000:1123] * 60_000


def test_raw_lidar_files_that_are_cut_off_or_unpack_to_50_GB(tmp_path):
    place = make(tmp_path / "workspace", own=True)
    shutil.rmtree(place.root / "pipelines")
    shutil.copytree(
        REPOSITORY / "examples/pipelines",
        place.root / "pipelines",
        ignore=shutil.ignore_patterns(".venv", "__pycache__", "storage"),
    )
    shutil.copy(REPOSITORY / "examples/pipelines_config.yml", place.root)
    good = REPOSITORY / "examples" / "make_raw.py"
    place_of = "lidar/humboldt/lidar.z05.00.{}.000000.sta.7z"
    made = [str(good), "--out", str(place.input), "--day", "20201201", "--days", "1", "--seed", "1"]
    subprocess.run([sys.executable, *made], check=True, capture_output=True)
    whole = (place.input / place_of.format("20201201")).read_bytes()
    place.put(place_of.format("20201203"), bomb())
    place.put(place_of.format("20201204"), whole[: len(whole) // 2])
    place.put(place_of.format("20201205"), b"")
    place.put(place_of.format("20201206"), NOISE)
    shutil.rmtree(place.input / "lidar/morro")
    place.age()
    place.once("--workers", "1", code=1, PYTHONPATH="")
    reasons = {
        "20201203": "unpacks to more than 67108864 bytes",
        "20201204": "the file is cut off",
        "20201205": "the file is empty",
        "20201206": "not an LZMA stream",
    }
    for day, reason in reasons.items():
        record = place.record(place_of.format(day))
        assert (record.state, record.failure.kind) == ("failed", "bad-input")
        assert reason in record.failure.message
        assert record.peak_memory < 600
    assert place.record(place_of.format("20201201")).state == "succeeded"
    place.assert_whole()
