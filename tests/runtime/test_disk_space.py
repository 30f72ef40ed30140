"""A full disk: runs wait for room, however often they were tried."""

from datetime import timedelta

import pytest
from runtime_doubles import Bench

from tidegate.runtime import disk_space
from tidegate.runtime.disk_space import explain_full_disk, is_full_disk
from tidegate.runtime.runs import Failure
from tidegate.runtime.task import Outcome

VAGUE = Failure("bad-input", "RuntimeError: NetCDF: HDF error")


def test_the_libraries_errors_are_explained_by_the_free_space(tmp_path, monkeypatch):
    assert explain_full_disk(VAGUE, tmp_path) == VAGUE
    monkeypatch.setattr(disk_space, "_SPACE", 1 << 62)
    found = explain_full_disk(VAGUE, tmp_path)
    assert (found.kind, is_full_disk(found)) == ("transient", True)
    assert found.next
    denied = Failure(
        "bad-input", f"PermissionError: [Errno 13] Permission denied: '{tmp_path}/a.nc'"
    )
    assert is_full_disk(explain_full_disk(denied, tmp_path))
    elsewhere = Failure("bad-input", "PermissionError: [Errno 13] Permission denied: '/etc/shadow'")
    assert explain_full_disk(elsewhere, tmp_path) == elsewhere
    other = Failure("bad-input", "ValueError: the header is wrong")
    assert explain_full_disk(other, tmp_path) == other


@pytest.mark.parametrize(
    "message",
    ["OSError: [Errno 28] No space left on device", "cannot copy a.csv: no space left on device"],
)
def test_a_clear_message_needs_no_look_at_the_disk(tmp_path, message):
    failure = Failure("bad-input", message)
    assert is_full_disk(explain_full_disk(failure, tmp_path))


def test_a_run_is_tried_until_there_is_room(bench: Bench):
    full = Failure("transient", "OSError: [Errno 28] No space left on device")
    bench.perform = lambda task: Outcome(failure=full)
    bench.arrive()
    for _ in range(10):
        bench.now += timedelta(seconds=11)
        (record,) = bench.handle()
        assert record.state == "retrying"
    bench.perform = bench.writes("out.nc")
    bench.now += timedelta(seconds=11)
    (record,) = bench.handle()
    assert record.state == "succeeded"
