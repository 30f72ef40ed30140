"""Files that a person named and that are not in ``input/``: they get their companions too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.runtime.manifest import Config
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.outside_inputs import OutsideInputs
from tidegate.workspace.rerun import file_runs

CONFIG = Config(
    "p",
    "one",
    "Ingest",
    "S3",
    "x.yaml",
    input_path="one/",
    companions={"*.dat": ("*.hdr", "*.log", "*.cal")},
    ignore=("*.log",),
)


@pytest.mark.parametrize("clump", [False, True])
def test_companions_that_lie_beside_a_file_are_staged(tmp_path: Path, clump: bool) -> None:
    (tmp_path / "input").mkdir()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("real.dat", "a.hdr", "a.log", "b.hdr"):
        (folder / name).write_text(name)
    (folder / "a.dat").symlink_to("real.dat")  # a person may name a link
    outside = {"x/a.dat": folder / "a.dat"}
    inputs = OutsideInputs(FolderInputs(tmp_path / "input"), outside)
    file = inputs.input("x/a.dat")
    (run,) = file_runs(
        [(file, [CONFIG])],
        clump=clump,
        now=datetime.now(UTC),
        present=lambda config: inputs.companions(config, [file]),
    )
    assert [file.key for file in run.files] == ["x/a.dat", "x/a.hdr"]
    assert set(outside) == {"x/a.dat", "x/a.hdr"}
    wanted = [(file, tmp_path / Path(file.key).name) for file in run.files]
    inputs.fetch_all(wanted)
    assert [place.read_text() for _, place in wanted] == ["real.dat", "a.hdr"]


def test_of_files_in_the_input_folder_too(tmp_path: Path) -> None:
    for name in ("one/a.dat", "one/a.hdr", "one/b.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inputs = OutsideInputs(FolderInputs(tmp_path), {})
    files = [inputs.input(key) for key in ("one/a.dat", "one/b.dat")]
    assert [file.key for file in inputs.companions(CONFIG, files)] == ["one/a.hdr"]
