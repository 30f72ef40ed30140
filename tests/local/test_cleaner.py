"""Work folders are out of the way at once, and gone in the end."""

from __future__ import annotations

from pathlib import Path

from tidegate.targets.local.cleaner import Cleaner


def _folder(path: Path) -> Path:
    (path / "in/lidar").mkdir(parents=True)
    (path / "in/lidar/raw").write_text("raw")
    return path


def test_the_name_is_free_at_once_and_the_rest_follows(tmp_path: Path) -> None:
    cleaner = Cleaner()  # not started yet: nothing is removed
    cleaner.discard(_folder(tmp_path / "run"))
    cleaner.discard(_folder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert len(list(tmp_path.iterdir())) == 2
    cleaner.start()
    cleaner.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    cleaner = Cleaner()
    cleaner.start()
    cleaner.discard(tmp_path / "never was")
    cleaner.close()


def test_one_that_never_started_ends(tmp_path: Path) -> None:
    Cleaner().close()
