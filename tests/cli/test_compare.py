"""The command ``compare``: files and folders, what it prints, and its exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from web_history import make_workspace

from tidegate.cli import main

pytestmark = pytest.mark.functional


def write(path: Path, step: float) -> None:
    time = np.datetime64("2022-04-05", "ns") + np.arange(4) * np.timedelta64(1, "h")
    values = np.arange(4.0)
    values[2] += step
    path.parent.mkdir(parents=True, exist_ok=True)
    xr.Dataset({"speed": ("time", values)}, {"time": time}).to_netcdf(path)


def test_files_and_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_workspace(tmp_path / "station")
    before, after = tmp_path / "before", root / "output"
    for folder, step in ((before, 0.0), (after, 0.5)):
        write(folder / "s.a1" / "a.nc", 0.0)
        write(folder / "s.a1" / "b.nc", step)
    write(after / "s.a1" / "new.nc", 0.0)
    (after / "s.a1" / "broken.nc").write_text("nothing")
    (before / "s.a1" / "broken.nc").write_text("no data")
    shutil.copy(before / "s.a1" / "a.nc", before / "s.a1" / "gone.nc")

    def run(*arguments: object) -> tuple[int, str, str]:
        options = ["-w", str(root), "--python", sys.executable]
        code = main(["compare", *map(str, arguments), *options])
        return code, *capsys.readouterr()

    code, text, _ = run(before, after, "--json")
    found = json.loads(text)
    what = {one["file"].split("/")[1]: one["what"] for one in found["differences"]}
    assert code == 2  # a file cannot be read
    assert what == {
        "b.nc": "changed",
        "broken.nc": "unreadable",
        "gone.nc": "only in the first",
        "new.nc": "only in the second",
    }
    assert (found["files"], found["equal_files"]) == (5, 1)
    monkeypatch.chdir(tmp_path)  # a worker has another working directory
    pair = Path("before/s.a1/b.nc"), Path("station/output/s.a1/b.nc")
    code, text, _ = run(*pair)
    assert code == 1
    assert "speed\t1 of 4\t0.5" in text
    assert run(pair[0], after)[0] == 2
    code, _, error = run(pair[0], "no-such-key")
    assert code == 2
    assert "no-such-key" in error
