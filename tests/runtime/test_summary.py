"""What is in a dataset, told from a file."""

from dataclasses import replace

import pytest

from tidegate.runtime.runs import QualitySummary
from tidegate.runtime.summary import Summary, summarize, summarize_file

# Harmless, and NumPy's own advice is to ignore it: netCDF4 built for another NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning")
np = pytest.importorskip("numpy")
xr = pytest.importorskip("xarray")


def flags(values, dtype, **attributes):
    """A dataset with one variable's flags: bit 1 is Bad, bits 2 and 128 are Indeterminate."""
    standard = {
        "flag_masks": [1, 2, 128],
        "flag_assessments": ["Bad", "Indeterminate", "Indeterminate"],
    }
    return xr.Dataset({"qc_x": ("time", np.array(values, dtype), {**standard, **attributes})})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
def test_flags_of_any_size(dtype):
    summary = summarize(flags([0, 1, 2, 3, 4], dtype))
    assert summary.quality == (QualitySummary("x", 5, 2, 1),)


def test_flags_that_have_a_fill_value_in_the_file(tmp_path):
    """Decoded as usual they would come back as floating-point numbers, and not be counted."""
    path = tmp_path / "a.nc"
    flags([0, 1, 2], "int32").to_netcdf(path, encoding={"qc_x": {"_FillValue": -9999}})
    assert summarize_file(path).quality == (QualitySummary("x", 3, 1, 1),)


def test_one_flag_comes_back_as_a_scalar(tmp_path):
    path = tmp_path / "a.nc"
    flags([0, 1], "int32", flag_masks=[1], flag_assessments=["Bad"]).to_netcdf(path)
    assert summarize_file(path).quality == (QualitySummary("x", 2, 1, 0),)


def test_flags_without_an_assessment_are_bad():
    dataset = xr.Dataset({"qc_x": ("time", [0, 4, 0])})
    assert summarize(dataset).quality == (QualitySummary("x", 3, 1, 0),)


def test_attributes_that_make_no_sense_are_left_out(capsys):
    assert summarize(flags([1], "int32", flag_masks="1b, x")).quality == ()
    assert "cannot summarize" in capsys.readouterr().out


def test_times_without_order_and_with_gaps():
    times = np.array(["2022-04-06", "NaT", "2022-04-05T01:02:03.000004"], "datetime64[ns]")
    summary = summarize(xr.Dataset({"x": ("time", [1, 2, 3])}, {"time": times}))
    assert summary.begin.isoformat() == "2022-04-05T01:02:03.000004+00:00"
    assert summary.end.isoformat() == "2022-04-06T00:00:00+00:00"


@pytest.mark.parametrize("times", [[], ["NaT"]])
def test_no_times(times):
    dataset = xr.Dataset(coords={"time": np.array(times, "datetime64[ns]")})
    assert (summarize(dataset).begin, summarize(dataset).end) == (None, None)
    assert replace(summarize(xr.Dataset()), content="") == Summary()


def test_files_that_are_no_netcdf(tmp_path, capsys):
    assert summarize_file(tmp_path / "a.png") is None
    (tmp_path / "a.nc").write_bytes(b"not netCDF")
    assert summarize_file(tmp_path / "a.nc") is None
    assert "cannot summarize a.nc" in capsys.readouterr().out
