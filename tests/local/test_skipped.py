"""Files that are not taken, with their reasons."""

import os
import time
from pathlib import Path

from tidegate.runtime.manifest import Config
from tidegate.targets.local import skipped as module
from tidegate.targets.local.skipped import find_skipped


def config(name: str, path: str, ignore: tuple[str, ...] = ()) -> Config:
    return Config("p", name, "Ingest", "S3", "x.yaml", input_path=path, ignore=ignore)


CONFIGS = (config("one", "one/", ("*.log",)), config("all_logs", "one/logs/"))


def put(root: Path, *keys: str) -> None:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"x")


def test_each_file_that_is_not_taken_has_a_reason(tmp_path: Path) -> None:
    put(tmp_path, "one/a.csv", "one/logs/x.log", "one/deep/b.csv")  # these are taken
    put(tmp_path, "one/x.log", "one/a.part", "one/.hidden/a", "one/.hidden/b", "two/a", "b")
    put(tmp_path, "one/late.csv")
    os.utime(tmp_path / "one/late.csv", (time.time() + 3600,) * 2)
    (tmp_path / "one" / "link.csv").symlink_to("a.csv")
    (tmp_path / "one" / "folder").symlink_to(tmp_path / "two")
    os.mkfifo(tmp_path / "one" / "pipe")
    found = {
        skipped.reason: (skipped.count, skipped.examples)
        for skipped in find_skipped(tmp_path, CONFIGS)
    }
    assert found == {
        module.LINK: (2, ("one/folder", "one/link.csv")),
        module.SPECIAL: (1, ("one/pipe",)),
        module.TEMPORARY: (2, ("one/.hidden", "one/a.part")),
        module.IGNORED: (1, ("one/x.log",)),
        module.NO_CONFIG: (2, ("b", "two/a")),
        module.FUTURE: (1, ("one/late.csv",)),
    }


def test_only_the_first_ones_are_named(tmp_path: Path) -> None:
    put(tmp_path, *(f"two/{n}" for n in range(5)))
    (skipped,) = find_skipped(tmp_path, CONFIGS)
    assert (skipped.count, skipped.examples) == (5, ("two/0", "two/1", "two/2"))
    assert str(skipped).startswith("in no config's folder: 5 files (two/0, two/1, two/2, …); ")


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert find_skipped(tmp_path / "none", CONFIGS) == []
