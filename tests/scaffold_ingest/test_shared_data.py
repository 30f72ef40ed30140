"""Real files of two buoys, as their instruments wrote them, against older products of them."""

from __future__ import annotations

import lzma
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from tidegate.scaffold.ingest.create import Wanted, create, plan_ingest
from tidegate.scaffold.questions import Answers

DATA = Path(__file__).parents[3] / "shared" / "data"
WAVES = DATA / "waves" / "buoy.z06.00.20201201.000000.waves.csv"
LIDAR = DATA / "lidar" / "lidar.z06.00.20201201.000000.sta.7z"
LIDAR_PRODUCT = DATA / "lidar" / "morro.buoy_z06-lidar-10m.a1.20201201.001000.nc"
WAVES_PRODUCT = DATA / "waves" / "morro.buoy_z06-waves.a1.20201201.000000.nc"

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(not WAVES.exists(), reason="there is no ../shared/data beside this clone"),
]


def product(name, raw, workspace, worker):
    wanted = Wanted(name, [raw], location="morro")
    plan = plan_ingest(workspace, wanted, Answers({"timezone": "UTC"}))
    created = create(plan, worker, approve=None)
    assert not created.trial.record.plots_failed
    [file] = created.trial.data
    return read(file)


def read(file):
    with netCDF4.Dataset(file) as dataset:
        dataset.set_auto_mask(False)  # it would mask what is outside the valid range
        time = dataset["time"]
        dates = netCDF4.num2date(time[:], time.units, only_use_cftime_datetimes=False)
        values = {
            name: np.where(variable[:] == -9999, np.nan, variable[:].astype(float))
            for name, variable in dataset.variables.items()
            if variable.dtype is not str and variable.dtype.kind in "fiu"
        }
    return list(dates), values


def test_waves(workspace, worker):
    times, values = product("waves", WAVES, workspace, worker)
    known_times, known = read(WAVES_PRODUCT)
    assert times == known_times
    for ours, theirs in (("havg", "mean_wave_height"), ("mean_period", "mean_wave_period")):
        np.testing.assert_allclose(values[ours], known[theirs], rtol=1e-5)


@pytest.fixture
def three_heights(tmp_path):
    """The lidar's file without nine of its twelve heights, which would take half a minute."""
    lines = lzma.decompress(LIDAR.read_bytes()).decode("cp1252").split("\n")
    table = next(n for n, line in enumerate(lines) if line.startswith("Timestamp"))
    lines[table:] = ["\t".join(line.split("\t")[: 7 + 3 * 12]) for line in lines[table:]]
    file = tmp_path / LIDAR.name
    file.write_bytes(lzma.compress("\n".join(lines).encode("cp1252")))
    return file


def test_a_lidar(workspace, worker, three_heights):
    times, values = product("sta", three_heights, workspace, worker)
    known_times, known = read(LIDAR_PRODUCT)
    assert times == known_times
    for index, height in enumerate(known["height"][:3]):
        np.testing.assert_allclose(
            values[f"wind_speed_{height:g}m"], known["wind_speed"][:, index], rtol=1e-5
        )


def test_a_product_of_another_pipeline(workspace, worker):
    times, values = product("again", LIDAR_PRODUCT, workspace, worker)
    known_times, known = read(LIDAR_PRODUCT)
    assert times == known_times
    assert values["wind_speed"].shape == known["wind_speed"].shape
    np.testing.assert_allclose(values["wind_speed"], known["wind_speed"], rtol=1e-6)
