"""The hourly wind at hub height, which is computed from the ingest's products."""

import itertools
import lzma
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

# Harmless, and NumPy's own advice is to ignore it: netCDF4 built for another NumPy.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning"),
]
xr = pytest.importorskip("xarray")
if tuple(int(part) for part in version("tsdat").split(".")[:2]) < (0, 9):
    pytest.skip("tsdat.transform_v2 came with Tsdat 0.9", allow_module_level=True)

INGEST = "pipelines/lidar/config/pipeline_humboldt.yaml"
VAP = "pipelines/lidar_vap/config/pipeline.yaml"
FOLDER = "data/humboldt/humboldt.buoy_z05-wind-1h.c1"
HEIGHTS = [40, 60, 80, 90, 100, 120, 140, 160, 180, 200, 220, 240]


@pytest.fixture(scope="module")
def ingested(run_tsdat, raw_day, tmp_path_factory):
    """Storage root with the ingested profiles of two days."""
    root = tmp_path_factory.mktemp("profiles")
    for path in raw_day["humboldt"]:
        assert run_tsdat(INGEST, [path], root)["ok"]
    return root


@pytest.fixture(scope="module")
def run_windows(run_tsdat, ingested, tmp_path_factory):
    """Run windows over the ingested profiles and return all they gave, as one dataset."""

    def run(windows, profiles=ingested):
        root = tmp_path_factory.mktemp("hourly")
        shutil.copytree(profiles, root, dirs_exist_ok=True)
        for window in windows:
            result = run_tsdat(VAP, window, root)
            assert result["ok"], (window, result)
        paths = sorted((root / FOLDER).glob("*.nc"))
        assert len(paths) == len(windows)
        datasets = []
        for path in paths:
            with xr.open_dataset(path) as dataset:
                datasets.append(dataset.load())
        # Only this variable-wise join is needed: all have time as their one dimension.
        names = list(datasets[0].data_vars)
        return xr.Dataset(
            {n: ("time", np.concatenate([d[n].values for d in datasets])) for n in names},
            coords={"time": np.concatenate([d["time"].values for d in datasets])},
        )

    return run


@pytest.fixture(scope="module")
def daily(run_windows):
    """Two days, from two windows of a day."""
    return run_windows(
        [("20201201.000000", "20201202.000000"), ("20201202.000000", "20201203.000000")]
    )


def hourly_windows(day):
    """List the 24 windows of a day of December 2020."""
    edges = [f"202012{day + hour // 24:02d}.{hour % 24:02d}0000" for hour in range(25)]
    return list(itertools.pairwise(edges))


def assert_same(one, other):
    """Compare values, flags and times exactly; NaN equals NaN."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def test_hourly_windows_give_what_daily_ones_give(run_windows, daily):
    windows = hourly_windows(1) + hourly_windows(2)[:2] + hourly_windows(2)[-1:]
    result = run_windows(windows)
    assert_same(result, daily.sel(time=result["time"]))
    assert result.sizes["time"] == len(windows)


def test_one_window_of_two_days_gives_the_same(run_windows, daily):
    assert_same(run_windows([("20201201.000000", "20201203.000000")]), daily)


def test_labels_are_the_starts_of_hours(daily):
    begin = np.datetime64("2020-12-01T00", "ns")
    np.testing.assert_array_equal(daily["time"], begin + np.arange(48) * np.timedelta64(1, "h"))


def test_short_input_files_give_the_same(
    run_tsdat, run_windows, make_raw, seed, daily, tmp_path_factory
):
    root = tmp_path_factory.mktemp("short")
    raw = tmp_path_factory.mktemp("short_raw")
    for day in ("20201201", "20201202"):
        for path in make_raw.make_files(
            raw, make_raw.SITES["humboldt"], make_raw.parse_day(day), seed, minutes_per_file=240
        ):
            assert run_tsdat(INGEST, [path], root)["ok"]
    windows = [hourly_windows(1)[hour] for hour in (0, 3, 4, 23)] + hourly_windows(2)[:1]
    result = run_windows(windows, root)
    assert_same(result, daily.sel(time=result["time"]))


def raw_samples(paths):
    """Read times, speeds, deviations and directions of raw files; bad values become NaN."""
    rows = []
    for path in paths:
        text = lzma.decompress(path.read_bytes()).decode("cp1252")
        rows += [line.split("\t") for line in text.split("\n")[42:-1]]
    times = np.array([row[0].replace("/", "-").replace(" ", "T") for row in rows], "datetime64[m]")
    blocks = np.array([row[7:] for row in rows]).reshape(len(rows), 12, 12)[..., :11].astype(float)
    speed, deviation, direction = blocks[..., 0], blocks[..., 1], blocks[..., 4]
    few = ~(blocks[..., 10] >= 50)
    speed = np.where(few | (speed > 60), np.nan, speed)
    deviation = np.where(few, np.nan, deviation)
    direction = np.where(few | (direction > 360), np.nan, (direction + 90) % 360)
    return times, speed, deviation, direction


def fit_shear(speed):
    """Fit the exponent of one profile from 40 to 180 m."""
    used = np.isfinite(speed[:9])
    if used.sum() < 3:
        return np.nan
    return np.polyfit(np.log(np.array(HEIGHTS[:9])[used]), np.log(speed[:9][used]), 1)[0]


def mean(values):
    """Average what is there."""
    values = values[np.isfinite(values)]
    return values.mean() if len(values) else np.nan


def test_values_agree_with_an_independent_computation(daily, raw_day):
    times, speed, deviation, direction = raw_samples(raw_day["humboldt"])
    low, high = HEIGHTS.index(100), HEIGHTS.index(120)
    exponent = np.log(speed[:, high] / speed[:, low]) / np.log(120 / 100)
    hub = speed[:, low] * (110 / 100) ** exponent
    share = np.log(110 / 100) / np.log(120 / 100)
    hub_deviation = (1 - share) * deviation[:, low] + share * deviation[:, high]
    vector = (1 - share) * np.exp(1j * np.deg2rad(direction[:, low]))
    vector += share * np.exp(1j * np.deg2rad(direction[:, high]))
    vector *= hub / np.abs(vector)
    shear = np.array([fit_shear(profile) for profile in speed])

    for i, hour in enumerate(daily["time"].values):
        used = (times > hour) & (times <= hour + np.timedelta64(1, "h"))
        assert 1 <= used.sum() <= 6
        expected = {
            "wind_speed": mean(hub[used]),
            "wind_shear_exponent": mean(shear[used]),
            "turbulence_intensity": mean((hub_deviation / hub)[used]),
            "wind_power_density": mean(0.5 * 1.225 * hub[used] ** 3),
            "coverage": np.isfinite(hub[used]).sum() / 6,
            "wind_direction": np.rad2deg(np.angle(mean(vector[used]))) % 360,
            "eastward_wind": -mean(vector[used]).imag,
            "northward_wind": -mean(vector[used]).real,
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                daily[name].values[i], value, rtol=2e-5, atol=1e-4, err_msg=f"{name} {hour}"
            )


def test_every_good_sample_counts_once(daily, raw_day):
    _, speed, _, _ = raw_samples(raw_day["humboldt"])
    good = np.isfinite(speed[:, HEIGHTS.index(100)] + speed[:, HEIGHTS.index(120)])
    assert round(float(daily["coverage"].sum()) * 6) == good.sum()
    assert good.sum() < 288  # some are bad or missing, and do not count


def test_days_of_which_the_last_are_without_data(run_windows, daily):
    days = run_windows([("20201201.000000", "20201206.000000")])
    assert days.sizes["time"] == 5 * 24
    assert_same(days.isel(time=slice(0, 48)), daily)
    without_data = days.isel(time=slice(48, None))
    assert np.isnan(without_data["wind_speed"]).all()
    assert np.isnan(without_data["wind_direction"]).all()
    assert (without_data["qc_wind_speed"] != 0).all()
    assert (without_data["coverage"] == 0).all()


@pytest.mark.parametrize(
    "window", [("20201203.010000", "20201203.020000"), ("20190101.000000", "20190102.000000")]
)
def test_window_without_data_makes_no_product_and_is_no_failure(run_tsdat, ingested, window):
    before = sorted(Path(ingested).rglob("*.nc"))
    assert run_tsdat(VAP, window, ingested)["ok"]
    assert sorted(Path(ingested).rglob("*.nc")) == before


def test_labels_at_the_edges_belong_to_one_window_only(run_tsdat, run_windows, ingested):
    # The sample labelled 2020-12-03 00:00, the last there is, was measured before that time.
    before = sorted(Path(ingested).rglob("*.nc"))
    assert run_tsdat(VAP, ("20201203.000000", "20201203.010000"), ingested)["ok"]
    assert sorted(Path(ingested).rglob("*.nc")) == before
    last = run_windows([("20201202.230000", "20201203.000000")])
    assert last.sizes["time"] == 1
    assert last["coverage"].values[0] > 0
