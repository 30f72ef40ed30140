"""Quick looks: what can be drawn, what is said about it, and what cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from web_history import PNG

from tidegate.quality.quick_look import draw_quick_look

QC = {
    "flag_masks": np.array([1, 2], "int32"),
    "flag_meanings": "missing too_large",
    "flag_assessments": "Bad Indeterminate",
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a variable of each kind."""
    time = np.arange("2026-11-28", "2026-11-29", dtype="datetime64[10s]").astype("datetime64[ns]")
    count = time.size
    flags = np.zeros(count, "int32")
    flags[:3], flags[10] = 1, 2
    speed = np.sin(np.arange(count) / 500)
    speed[100:200] = np.nan
    grid = np.random.default_rng(1).random((count, 7))
    dataset = xr.Dataset(
        {
            "speed": ("time", speed, {"units": "m/s", "long_name": "Wind speed"}),
            "qc_speed": ("time", flags, QC),
            "profile": (("time", "height"), grid),
            "qc_profile": (("time", "height"), np.zeros((count, 7), "int32"), QC),
            "cube": (("time", "height", "band"), np.ones((count, 7, 2))),
            "count": ("time", np.ones(count, "int32")),
            "empty": ("time", np.full(count, np.nan)),
            "number": ((), 3.0),
            "name": ("height", np.array(["a"] * 7)),
            "none": ("nothing", np.zeros(0)),
        },
        {"time": time, "height": np.arange(7.0)},
    )
    path = tmp_path_factory.mktemp("look") / "product.nc"
    dataset.to_netcdf(path)
    return path


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("speed", "; 3 of 8640 values are bad; 1 are indeterminate"),
        ("profile", "time and height"),
        ("cube", "time and height"),
        ("count", "from 1 to 1"),
        ("empty", "no valid value"),
        ("number", "from 3 to 3"),
    ],
)
def test_numbers_are_drawn_and_described(
    product: Path, tmp_path: Path, variable: str, text: str
) -> None:
    picture = tmp_path / "look.png"
    look = draw_quick_look(str(product), variable, str(picture))
    assert text in look.text
    assert picture.read_bytes().startswith(PNG[:8])


@pytest.mark.parametrize("variable", ["name", "none", "nowhere"])
def test_what_cannot_be_drawn_is_said(product: Path, tmp_path: Path, variable: str) -> None:
    with pytest.raises(ValueError, match=variable):
        draw_quick_look(str(product), variable, str(tmp_path / "look.png"))


def test_a_file_that_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "x.nc").write_text("nothing")
    with pytest.raises((OSError, ValueError)):
        draw_quick_look(str(tmp_path / "x.nc"), "speed", str(tmp_path / "look.png"))
