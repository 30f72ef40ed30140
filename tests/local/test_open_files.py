"""Files that are open for writing."""

import sys
from pathlib import Path

import pytest

from tidegate.targets.local.open_files import OpenFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def test_those_that_are_open_for_writing_below_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "input"
    (root / "sub").mkdir(parents=True)
    for name in ("written", "sub/appended", "changed", "read", "closed"):
        (root / name).write_bytes(b"x")
    with (
        open(root / "written", "wb"),
        open(root / "sub" / "appended", "ab"),
        open(root / "changed", "r+b"),
        open(root / "read", "rb"),
        open(tmp_path / "outside", "wb"),
    ):
        assert OpenFiles(root).current() == {"written", "sub/appended", "changed"}
    assert OpenFiles(root).current() == frozenset()


def test_where_processes_are_not_listed_there_are_none(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb"):
        assert OpenFiles(tmp_path, tmp_path / "none").current() == frozenset()
