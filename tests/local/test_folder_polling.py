"""What polling finds, and which folders it lists for that."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate.targets.local.folder_polling import FolderPolling
from tidegate.targets.local.inotify import Change, Kind

LONG = 60.0
OLD = 1_600_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "input"
    folder.mkdir()
    return folder


def put(path: Path, content: str = "x", mtime: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (mtime, mtime))
    return path


@contextmanager
def polling(root: Path, done: Callable[[list[str]], set[str]] = lambda keys: set()) -> Iterator:
    source = FolderPolling(root, [root], every=0.05, done=done)
    try:
        yield source
    finally:
        source.close()


def wait_for(source: FolderPolling, *wanted: Change) -> set[Change]:
    """All changes until those have been seen."""
    seen: set[Change] = set()
    deadline = time.monotonic() + LONG
    while not seen.issuperset(wanted):
        assert time.monotonic() < deadline, seen
        seen.update(source.read(0.1))
    return seen


def test_at_first_it_reports_all_files_that_are_not_done(root: Path) -> None:
    put(root / "a")
    put(root / "sub/b")
    with polling(root, lambda keys: {key for key in keys if key == "a"}) as source:
        assert wait_for(source, Change(Kind.FOUND, "sub/b")) == {Change(Kind.FOUND, "sub/b")}


@pytest.mark.parametrize("how", ["new", "renamed over it", "in a new folder", "written to"])
def test_then_it_reports_what_is_new_or_was_changed(root: Path, how: str) -> None:
    put(root / "sub/before", mtime=time.time())
    with polling(root) as source:
        wait_for(source, Change(Kind.FOUND, "sub/before"))
        if how == "new":
            put(root / "sub/later")
            wait_for(source, Change(Kind.CHANGED, "sub/later"))
        elif how == "in a new folder":
            put(root / "more/deep/later")
            wait_for(source, Change(Kind.FOUND, "more/deep/later"))
        elif how == "written to":
            put(root / "sub/before", "longer", time.time())
            wait_for(source, Change(Kind.CHANGED, "sub/before"))
        else:
            os.replace(put(root / ".part"), root / "sub/before")
            wait_for(source, Change(Kind.CHANGED, "sub/before"))


def test_a_folder_without_a_true_time_is_listed_anyway(root: Path) -> None:
    put(root / "sub/a")
    os.utime(root / "sub", (OLD, OLD))
    with polling(root) as source:
        wait_for(source, Change(Kind.FOUND, "sub/a"))
        put(root / "sub/b")
        os.utime(root / "sub", (OLD, OLD))
        wait_for(source, Change(Kind.CHANGED, "sub/b"))


def test_a_folder_that_does_not_change_is_listed_seldom(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.targets.local.folder_polling._SHARE", 1e-9)
    put(root / "old/a")
    put(root / "b")
    os.utime(root / "old", (OLD, OLD))
    listed: list[str] = []
    scandir = os.scandir

    def counting(path: Path) -> object:
        listed.append(os.path.relpath(path, root))
        return scandir(path)

    with polling(root) as source:
        wait_for(source, Change(Kind.FOUND, "old/a"), Change(Kind.FOUND, "b"))
        monkeypatch.setattr(os, "scandir", counting)
        put(root / "c")
        wait_for(source, Change(Kind.CHANGED, "c"))
        put(root / "d")
        wait_for(source, Change(Kind.CHANGED, "d"))
    monkeypatch.undo()
    assert listed.count("old") <= 1
    assert listed.count(".") >= 2
