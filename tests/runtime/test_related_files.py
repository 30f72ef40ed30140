"""Files that belong together: companions that a reader opens, and groups that one run must see."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from runtime_doubles import INGEST, NOON, Bench

from tidegate.runtime.companion_hint import with_companion_hint
from tidegate.runtime.events import FileArrived
from tidegate.runtime.manifest import Config
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.related_files import (
    companions_of,
    group_of,
    is_companion,
    related_prefix,
    related_runs,
)
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.runtime.testing import MemoryInputs

SPOTTER = replace(
    INGEST, companions={"*_SST.CSV": ("*_FLT.CSV", "*_LOC.CSV")}, max_wait=3600
)  # fmt: skip
SST, FLT, LOC = (f"lidar/humboldt/0026_{kind}.CSV" for kind in ("SST", "FLT", "LOC"))


def file(key, version="1", modified=NOON, size=1):
    """A raw file."""
    return Input(key, version, size, modified)


def grouped(by):
    """The ingest with groups."""
    return replace(INGEST, group_by=by)


# --- names ---------------------------------------------------------------------------------------


def test_companions_have_the_same_text_for_each_star():
    assert companions_of(SPOTTER, SST) == (FLT, LOC)
    assert companions_of(SPOTTER, FLT) == ()
    two = replace(INGEST, companions={"a*.*": ("*-*.h[1]", "b")})
    assert companions_of(two, "x/a1.dat") == ("x/1-dat.h[1]", "x/b")


def test_what_is_only_a_companion():
    assert [is_companion(SPOTTER, key) for key in (SST, FLT, LOC, "x")] == [
        False,
        True,
        True,
        False,
    ]
    both = replace(INGEST, companions={"*.a": ("*.b",), "*.b": ("*.a",)})
    assert not is_companion(both, "x/1.a")


@pytest.mark.parametrize(
    ("by", "key", "name"),
    [
        ("folder", "lidar/humboldt/x/a", "lidar/humboldt/x"),
        ("day", "lidar/humboldt/a.20220401.233000.csv", "lidar/humboldt 2022-04-01"),
        ("hour", "lidar/humboldt/a_20220401_233000.csv", "lidar/humboldt 2022-04-01 23"),
        ("day", "lidar/humboldt/a", "lidar/humboldt 2022-04-05"),
        (r"st(\d+)_(\d{8})", "lidar/humboldt/st7_20220401_3.csv", "7\x0020220401"),
        (r"st\d+", "lidar/humboldt/st7_3.csv", "st7"),
        (r"^humboldt", "lidar/humboldt/other", "lidar/humboldt/other"),
    ],
)
def test_groups(by, key, name):
    assert group_of(grouped(by), file(key)) == name
    assert key.startswith(related_prefix(grouped(by), key))


# --- runs ----------------------------------------------------------------------------------------


def test_a_file_waits_for_its_companions_and_is_run_again_when_one_comes_late():
    arrived, late = file(SST), file(LOC)
    before, after = NOON + timedelta(minutes=59), NOON + timedelta(minutes=61)
    there = [arrived, file(FLT)]
    assert related_runs(SPOTTER, [arrived], there, NOON, now=before) == []
    (first,) = related_runs(SPOTTER, [arrived], there, NOON, now=after)
    assert (first.inputs, first.companions) == ((arrived,), (file(FLT),))
    (second,) = related_runs(SPOTTER, [late], [*there, late], NOON, now=before)
    assert [f.key for f in second.companions] == [FLT, LOC]
    assert (second.subjects, second.key != first.key) == (first.subjects, True)
    assert loads(Run, dumps(second)) == second


def test_a_companion_alone_starts_no_run():
    assert related_runs(SPOTTER, [file(FLT)], [file(FLT)], NOON) == []


def test_a_new_member_runs_its_group_and_no_other():
    config = grouped("day")
    names = [f"lidar/humboldt/{day}_{n}.csv" for day in ("20220401", "20220402") for n in (1, 2)]
    files = [file(name) for name in names]
    (run,) = related_runs(config, [files[3]], files, NOON)
    assert [i.key for i in run.inputs] == names[2:]


def test_the_run_of_a_group_replaces_that_of_fewer_files(tmp_path):
    bench = Bench(tmp_path, grouped("folder"))

    def arrive(name):
        new = bench.inputs.put(f"lidar/humboldt/{name}", name.encode())
        return bench.handle(FileArrived(new, bench.now, files=tuple(bench.inputs.list(""))))

    arrive("a")
    (record,) = arrive("b")
    assert len(record.run.inputs) == 2
    assert [r.state for r in bench.ledger.records()].count("superseded") == 1
    (product,) = bench.ledger.products()
    assert (product.run, record.warnings) == (record.key, ())


def test_a_companion_is_staged_beside_the_input(tmp_path):
    bench = Bench(tmp_path, SPOTTER)
    bench.inputs.put(FLT, b"flt")
    seen = []

    def perform(task):
        (argument,) = task.arguments
        seen.append(Path(argument).with_name("0026_FLT.CSV").read_bytes())
        return bench.writes("out.nc")(task)

    bench.perform = perform
    bench.now += timedelta(hours=2)
    new = replace(bench.inputs.put(SST, b"sst"), modified=NOON)
    bench.handle(FileArrived(new, bench.now, files=tuple(bench.inputs.list(""))))
    assert seen == [b"flt"]


def test_a_scheduled_ingest_runs_a_file_again_when_its_companion_changes(tmp_path):
    cron = replace(
        SPOTTER, trigger="Cron", schedule="0 * * * *", companions={"*_SST.CSV": ("*_FLT.CSV",)}
    )
    bench = Bench(tmp_path, cron)
    bench.inputs.put(SST, b"")
    bench.inputs.put(FLT, b"1")
    (first,) = bench.due(cron, files=tuple(bench.inputs.list("")))
    assert ([i.key for i in first.run.inputs], len(first.run.companions)) == ([SST], 1)
    assert bench.due(cron, files=tuple(bench.inputs.list(""))) == []
    bench.inputs.put(FLT, b"2")
    (second,) = bench.due(cron, files=tuple(bench.inputs.list("")))
    assert (second.run.inputs, second.state) == (first.run.inputs, "succeeded")


def test_a_scheduled_ingest_runs_each_group_by_itself(tmp_path):
    cron = replace(grouped("folder"), trigger="Cron", schedule="0 * * * *")
    bench = Bench(tmp_path, cron)
    for key in ("x/1", "x/2", "y/1"):
        bench.inputs.put(f"lidar/humboldt/{key}", key.encode())
    assert sorted(
        len(r.run.inputs) for r in bench.due(cron, files=tuple(bench.inputs.list("")))
    ) == [1, 2]
    bench.inputs.put("lidar/humboldt/x/3", b"")
    (record,) = bench.due(cron, files=tuple(bench.inputs.list("")))
    assert len(record.run.inputs) == 3


# --- the hint ------------------------------------------------------------------------------------


def test_a_failure_that_names_a_file_beside_the_input_says_what_to_write():
    inputs = MemoryInputs()
    run = Run(INGEST.id, inputs=(inputs.put(SST, b""),))
    inputs.put(FLT, b"")
    message = f"FileNotFoundError: [Errno 2] No such file or directory: '/work/1/in/{FLT}'"
    failure = with_companion_hint(Failure("bad-input", message), run, inputs)
    assert '`companions: {"*_SST.CSV": ["*_FLT.CSV"]}`' in failure.next
    for other in (f"'/work/1/in/{LOC}' is not there", f"'/work/1/in/{SST}' is empty", ""):
        unchanged = Failure("bad-input", other)
        assert with_companion_hint(unchanged, run, inputs) == unchanged


def test_runs_without_companions_keep_their_keys():
    plain = Config("lidar", "humboldt", "Ingest", "S3", "p.yaml")
    # The key of this run before there were companions.
    key = "dd1ec0f1fd57fd715aeb8413201bc2ab8427fd813e634118ea289f550edaf26d"
    assert Run(plain.id, (file("a"),)).key == key
