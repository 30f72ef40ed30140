"""The worker's part in adoption: what is in a file."""

import subprocess
import sys
from datetime import datetime, timezone

import pytest
from service_workspace import SHARED

from tidegate.runtime.process import WorkerProcess

pytestmark = pytest.mark.slow
WRITE = """
import sys, numpy as np, pandas as pd, xarray as xr
time = pd.date_range("2022-04-05", periods=3, freq="h")
x = xr.DataArray(np.arange(3.0), coords={"time": time})
qc = xr.DataArray(np.array([0, 1, 0], "int32"), coords={"time": time},
                  attrs={"flag_masks": [1], "flag_assessments": "Bad"})
attrs = {"datastream": "one.tiny.a1", "inputs": sys.argv[2:] if len(sys.argv) > 3 else sys.argv[2]}
xr.Dataset({"x": x, "qc_x": qc}, attrs=attrs).to_netcdf(sys.argv[1])
"""


@pytest.fixture(scope="module")
def worker():
    worker = WorkerProcess([sys.executable], SHARED[0])
    yield worker
    worker.close()


@pytest.mark.parametrize("inputs", [["/raw/a b.csv"], ["/raw/a.csv", "/raw/b.csv"]])
def test_a_file_says_what_is_in_it(worker, tmp_path, inputs):
    file = tmp_path / "x.nc"
    subprocess.run([sys.executable, "-c", WRITE, str(file), *inputs], check=True)
    summary = worker.summarize(file)
    assert (summary.datastream, summary.inputs) == ("one.tiny.a1", tuple(inputs))
    assert summary.begin == datetime(2022, 4, 5, tzinfo=timezone.utc)
    assert summary.end == datetime(2022, 4, 5, 2, tzinfo=timezone.utc)
    assert [(q.variable, q.samples, q.bad) for q in summary.quality] == [("x", 3, 1)]


def test_what_cannot_be_read_says_nothing(worker, tmp_path):
    (tmp_path / "x.nc").write_bytes(b"no netCDF")
    (tmp_path / "x.csv").write_text("time,x\n")
    assert worker.summarize(tmp_path / "x.nc") is None
    assert worker.summarize(tmp_path / "x.csv") is None
    assert worker.summarize(tmp_path / "missing.nc") is None


def test_the_storage_templates_are_told(worker):
    told = worker.describe("pipelines/tiny/config/pipeline_one.yaml")
    assert told.data_filename.startswith("{datastream}.")
    assert told.plot_path == "ancillary/{location_id}/{datastream}"
    assert "{title}" in told.plot_filename
