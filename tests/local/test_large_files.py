"""Large raw files: hashed beside the others, staged without their blocks, and with their holes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from intake_bench import AN_HOUR_AGO, LONG, Arrivals, ingest, make, runs

from tidegate.runtime.runs import Input
from tidegate.targets.local.inputs import LARGE, FolderInputs, RawFile
from tidegate.targets.local.large_files import HUGE, LargeFileQueue, LargeFiles
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.watch import Watcher

DATA = b"data" * 1024


def sparse(path: Path, size: int, *places: int) -> Path:
    """A file of holes, with some data at these places."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
        for place in places:
            file.seek(place)
            file.write(DATA)
    os.utime(path, (AN_HOUR_AGO, AN_HOUR_AGO))
    return path


@pytest.fixture
def arrivals(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Arrivals]:
    made = make(tmp_path, replace(ingest(), **getattr(request, "param", {})))
    yield made
    made.intake.close()
    made.ledger.close()


# Hashing.


def test_small_files_are_queued_while_huge_ones_are_hashed(arrivals: Arrivals) -> None:
    queued = threading.Event()
    for name in ("one/a", "one/b"):
        sparse(arrivals.inputs.root / name, 64 << 30)  # a minute or more each
    arrivals.put("one/c", AN_HOUR_AGO + 60)
    medium = sparse(arrivals.inputs.root / "one/d", LARGE)
    with Watcher(arrivals.inputs.root, arrived=arrivals.intake.arrived) as watcher:
        arrivals.intake.start(watcher, lambda: queued.set() if len(runs(arrivals)) == 3 else None)
        arrivals.put("one/e")
        assert queued.wait(LONG)
    assert sorted(arrivals.queued()) == ["one/c", "one/d", "one/e"]
    assert medium.stat().st_blocks == 0
    assert arrivals.intake.busy()
    arrivals.intake.close()  # it does not wait until they are hashed
    assert not arrivals.intake.failure


def test_of_two_threads_one_is_left_to_smaller_files() -> None:
    begun, free, taken = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)
    order: list[str] = []

    def take(large: LargeFiles) -> None:
        order.append(large.files[0].key)
        begun.release()
        if large.size >= HUGE:
            assert free.wait(LONG)

    queue = LargeFileQueue(take, lambda large: taken.release())
    file = RawFile("huge", HUGE, 0, 0, 1)
    queue.put([file], (), 0)
    assert begun.acquire(timeout=LONG)
    for key, size in (("huge 2", HUGE), ("large", LARGE), ("huge", HUGE)):
        queue.put([file._replace(key=key, size=size)], (), 0)
    assert begun.acquire(timeout=LONG)
    assert order == ["huge", "large"]
    free.set()
    for _ in range(3):
        assert taken.acquire(timeout=LONG)
    assert order == ["huge", "large", "huge 2"]
    assert not queue.busy()
    queue.close(LONG)


def test_without_a_watcher_they_are_waited_for(arrivals: Arrivals) -> None:
    left = [lambda path: path.chmod(path.stat().st_mode ^ 0o040)] * 2
    arrivals.inputs.meanwhile = lambda path: left.pop()(path) if left else None
    sparse(arrivals.inputs.root / "one/a", LARGE)
    arrivals.put("one/b", AN_HOUR_AGO + 60)
    arrivals.intake.take_all()
    assert sorted(arrivals.queued()) == ["one/a", "one/b"]
    before = arrivals.inputs.times
    arrivals.intake.take_all()
    assert arrivals.inputs.times == before  # they are not hashed again


@pytest.mark.parametrize("arrivals", [{"group_by": "folder"}], indirect=True)
def test_large_members_of_a_group_are_run_together(arrivals: Arrivals) -> None:
    sparse(arrivals.inputs.root / "one/x/1", LARGE)
    arrivals.put("one/x/2")
    sparse(arrivals.inputs.root / "one/x/3", LARGE + 1)
    arrivals.intake.take_all()
    assert runs(arrivals) == [(["x/1", "x/2", "x/3"], [])]


COMPANIONS = {"companions": {"*.dat": ("*.hdr",)}, "max_wait": 7200}


@pytest.mark.parametrize("arrivals", [COMPANIONS], indirect=True)
@pytest.mark.parametrize(("dat", "hdr"), [(1, LARGE), (LARGE, 1), (LARGE, LARGE)])
def test_a_file_waits_until_its_large_companion_is_hashed(
    arrivals: Arrivals, dat: int, hdr: int
) -> None:
    queued = threading.Event()
    with Watcher(arrivals.inputs.root, arrived=arrivals.intake.arrived) as watcher:
        sparse(arrivals.inputs.root / "one/a.dat", dat)
        sparse(arrivals.inputs.root / "one/a.hdr", hdr)
        arrivals.intake.start(watcher, lambda: queued.set() if arrivals.queued() else None)
        assert queued.wait(LONG)
    assert runs(arrivals) == [(["a.dat"], ["a.hdr"])]


# Staging.


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Callable[[Path, bool], tuple[Path, Input]]]:
    """Stages a file, as the service does; ``known``: the ledger has its hash."""
    with SqliteLedger(tmp_path / "ledger.db") as ledger:

        def stage(path: Path, known: bool) -> tuple[Path, Input]:
            inputs = FolderInputs(path.parent, seen=ledger.seen_files)
            found = inputs.find(path.name)
            assert found is not None
            row = inputs.hash_file(found)
            if known:
                ledger.seen_files.add([row])
            copy = path.parent / "copy"
            inputs.fetch(row.to_input(), copy)
            assert not inputs.replaced(row.to_input())
            return copy, row.to_input()

        yield stage


def is_exact(copy: Path, input: Input) -> bool:
    return hashlib.sha256(copy.read_bytes()).hexdigest() == input.version


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("places", [(), (0,), (5 << 20, LARGE), (LARGE + 7,)])
def test_a_staged_file_has_the_same_holes(
    tmp_path: Path,
    staged: Callable[[Path, bool], tuple[Path, Input]],
    known: bool,
    places: tuple[int, ...],
) -> None:
    path = sparse(tmp_path / "a", LARGE + 8 + len(DATA), *places)
    if path.stat().st_blocks * 512 >= LARGE:
        pytest.skip("the file system of the temporary folder has no holes")
    copy, input = staged(path, known)
    assert is_exact(copy, input)
    assert copy.stat().st_blocks * 512 <= (len(places) + 1) * (64 << 10)


def test_a_large_file_that_is_known_is_not_read_again(
    tmp_path: Path,
    staged: Callable[[Path, bool], tuple[Path, Input]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = sparse(tmp_path / "a", LARGE, 0)
    if not hasattr(os, "copy_file_range"):
        pytest.skip("os.copy_file_range is Linux's")
    monkeypatch.delattr(os, "pread")
    copy, input = staged(path, True)
    assert is_exact(copy, input)


def test_where_the_file_system_shares_blocks_nothing_is_copied(
    sharing_disk: Path,
    staged: Callable[[Path, bool], tuple[Path, Input]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = sparse(sharing_disk / "a", LARGE)
    path.write_bytes(os.urandom(1 << 20) * 32)
    os.utime(path, (AN_HOUR_AGO, AN_HOUR_AGO))
    monkeypatch.delattr(os, "pread")
    monkeypatch.delattr(os, "copy_file_range")
    copy, input = staged(path, True)
    assert is_exact(copy, input)
    copy.write_bytes(b"user code may write to its input")
    assert is_exact(path, input)


def test_one_that_changed_after_it_was_hashed_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sparse(tmp_path / "a", LARGE, 0)
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        inputs = FolderInputs(tmp_path, seen=ledger.seen_files)
        found = inputs.find("a")
        assert found is not None
        row = inputs.hash_file(found)
        ledger.seen_files.add([row])
        with path.open("ab") as file:
            file.write(b"more")
        inputs.fetch(row.to_input(), tmp_path / "copy")
    assert is_exact(tmp_path / "copy", row.to_input())
