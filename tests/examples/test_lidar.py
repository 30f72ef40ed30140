"""The lidar ingest: a raw file in, a product with quality flags and a plot out."""

import lzma
import re
from pathlib import Path

import numpy as np
import pytest

# Harmless, and NumPy's own advice is to ignore it: netCDF4 built for another NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning")
xr = pytest.importorskip("xarray")

REPOSITORY = Path(__file__).parents[2]
PIPELINES = REPOSITORY / "examples" / "pipelines"
CONFIG = "pipelines/lidar/config/pipeline_{}.yaml"
BUOYS = {"humboldt": "z05", "morro": "z06"}


def open_product(root, site):
    """Load the one product of a site under a storage root."""
    (path,) = (root / "data" / site / f"{site}.buoy_{BUOYS[site]}-lidar-10m.a1").glob("*.nc")
    with xr.open_dataset(path) as dataset:
        return path, dataset.load()


def repack(path, change):
    """Change the text of a raw file."""
    text = lzma.decompress(path.read_bytes()).decode("cp1252")
    path.write_bytes(lzma.compress(change(text).encode("cp1252"), format=lzma.FORMAT_ALONE))


@pytest.fixture(scope="module")
def ingested(run_tsdat, raw_day, tmp_path_factory):
    """Storage root with the products of a generated day at both sites."""
    root = tmp_path_factory.mktemp("ingested")
    for site, paths in raw_day.items():
        result = run_tsdat(CONFIG.format(site), [paths[0]], root)
        assert result["ok"], result
    return root


def test_pipelines_config_names_files_that_are_there():
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((REPOSITORY / "examples" / "pipelines_config.yml").read_text())
    for pipeline in config["pipelines"]:
        for entry in pipeline["configs"].values():
            assert (PIPELINES / entry["config_file_path"]).is_file()


@pytest.mark.parametrize("site", BUOYS)
def test_triggers_tell_the_sites_apart(site):
    yaml = pytest.importorskip("yaml")
    (trigger,) = yaml.safe_load((PIPELINES / CONFIG.format(site)).read_text())["triggers"]
    matched = [
        name
        for name, buoy in BUOYS.items()
        for prefix in ("", "/data/", "s3://bucket/")
        if re.match(trigger, f"{prefix}lidar/{name}/lidar.{buoy}.00.20201201.000000.sta.7z")
    ]
    assert matched == [site] * 3


@pytest.mark.parametrize("site", BUOYS)
def test_product(ingested, make_raw, seed, site):
    day = make_raw.simulate_day(make_raw.SITES[site], make_raw.parse_day("20201201"), seed)
    path, product = open_product(ingested, site)
    assert re.fullmatch(r".*\.20201201\.00\d000\.nc", path.name)
    assert dict(product.sizes) == {"time": day.present.sum(), "height": 12}
    assert list(product["height"].values) == list(make_raw.HEIGHTS)
    expected_times = np.array([t.replace(tzinfo=None) for t in day.times], dtype="datetime64[ns]")
    np.testing.assert_array_equal(product["time"].values, expected_times[day.present])

    # Values are those of the file: speeds to 0.01 m/s, directions turned to north.
    raw = day.profiles[day.present]
    np.testing.assert_allclose(product["wind_speed"], raw[..., make_raw.SPEED], atol=0.0051)
    direction = raw[..., make_raw.DIRECTION]
    turned = np.where(direction > 360, direction, (direction + day.site.offset) % 360)
    apart = np.abs(product["wind_direction"].values - turned)
    np.testing.assert_array_less(np.minimum(apart, 360 - apart)[np.isfinite(turned)], 0.0501)
    assert product.attrs["instrument_serial_number"] == day.site.system
    assert product["wind_speed"].attrs["standard_name"] == "wind_speed"
    assert product["wind_speed"].attrs["units"] == "m/s"


@pytest.mark.parametrize("site", BUOYS)
def test_planted_faults_are_flagged(ingested, make_raw, seed, site):
    day = make_raw.simulate_day(make_raw.SITES[site], make_raw.parse_day("20201201"), seed)
    _, product = open_product(ingested, site)
    raw = day.profiles[day.present]

    def flagged(variable, meaning):
        qc = product[f"qc_{variable}"]
        (number,) = (i for i, m in enumerate(qc.attrs["flag_meanings"]) if meaning in m)
        assert qc.attrs["flag_assessments"][number] == "Bad"
        return (qc.values.astype(int) & int(qc.attrs["flag_masks"][number])) != 0

    speed, direction = raw[..., make_raw.SPEED], raw[..., make_raw.DIRECTION]
    spikes = np.zeros(day.profiles.shape[:2], dtype=bool)
    spikes[tuple(zip(*day.spikes, strict=True))] = True
    np.testing.assert_array_equal(flagged("wind_speed", "fail_range[1]"), spikes[day.present])
    np.testing.assert_array_equal(flagged("wind_speed", "missing"), np.isnan(speed))
    np.testing.assert_array_equal(flagged("wind_direction", "fail_range[1]"), direction > 360)
    few = np.round(raw[..., make_raw.AVAILABILITY]) < 50
    np.testing.assert_array_equal(flagged("wind_speed", "availability"), few)
    assert spikes[day.present].any()
    assert np.isnan(speed).any()
    assert few.any()


@pytest.mark.parametrize("site", BUOYS)
def test_plot(ingested, site):
    folder = ingested / "ancillary" / site
    (plot,) = folder.rglob("*.png")
    assert plot.name.endswith(".wind.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.stat().st_size > 20_000


def test_single_row_file(run_tsdat, make_raw, tmp_path):
    site = make_raw.SITES["morro"]
    day = make_raw.parse_day("20201201")
    path = next(make_raw.make_files(tmp_path, site, day, minutes_per_file=10, faults=False))
    result = run_tsdat(CONFIG.format("morro"), [path], tmp_path / "root")
    assert result["ok"], result
    _, product = open_product(tmp_path / "root", "morro")
    assert dict(product.sizes) == {"time": 1, "height": 12}
    assert list((tmp_path / "root").rglob("*.png"))


def test_unsorted_and_repeated_rows(run_tsdat, raw_day, tmp_path):
    path = tmp_path / raw_day["morro"][0].name
    path.write_bytes(raw_day["morro"][0].read_bytes())
    count = 0

    def shuffle(text):
        nonlocal count
        lines = text.split("\n")
        rows = lines[42:-1]
        count = len(rows)
        return "\n".join([*lines[:42], *rows[20:], *rows[:30], ""])

    repack(path, shuffle)
    result = run_tsdat(CONFIG.format("morro"), [path], tmp_path / "root")
    assert result["ok"], result
    _, product = open_product(tmp_path / "root", "morro")
    assert product.sizes["time"] == count
    assert (np.diff(product["time"].values) > np.timedelta64(0, "ns")).all()


TEXT_FAULTS = {
    "no header": (lambda t: t.partition("\n")[2], "no header: expected HeaderSize"),
    "no heights": (lambda t: t.replace("Altitudes (m)", "Altitude"), "increasing heights"),
    "other heights": (
        lambda t: t.replace("=\t40\t60", "=\t45\t60"),
        "wrong columns: of 137, these are not there: 45m Wind Speed",
    ),
    "other titles": (lambda t: t.replace("Wind Direction", "Dir"), "wrong columns"),
    "header only": (lambda t: "\n".join(t.split("\n")[:30]), "increasing heights"),
    "no titles": (lambda t: "\n".join(t.split("\n")[:41]), "wrong columns"),
    "no rows": (lambda t: "\n".join(t.split("\n")[:42]), "no data rows"),
    "short row": (lambda t: t[:-100], "columns instead of 151"),
    "no number": (lambda t: t.replace("\t0\tNaN\t", "\t0\tNaN\tx", 1), "not a number"),
    "bad time": (lambda t: t.replace("2020/12/01 05:00", "yesterday"), "a time is not like"),
    "no time": (lambda t: t.replace("2020/12/01 05:00", ""), "a time is missing"),
    "other time zone": (lambda t: t.replace("UTC+0", "UTC-8"), "times are in UTC-8"),
}


@pytest.mark.parametrize("fault", TEXT_FAULTS)
def test_faulty_text_is_refused_clearly(run_tsdat, raw_day, tmp_path, fault):
    change, message = TEXT_FAULTS[fault]
    path = tmp_path / "lidar.z05.00.20201201.000000.sta.7z"
    path.write_bytes(raw_day["humboldt"][0].read_bytes())
    repack(path, change)
    assert_refused(run_tsdat, path, message)


def assert_refused(run_tsdat, path, message):
    """Run the ingest; it must fail saying which file and why, and leave nothing behind."""
    root = path.parent / "root"
    result = run_tsdat(CONFIG.format("humboldt"), [path], root)
    assert not result["ok"]
    assert result["error"] == "RawFileError"
    assert result["message"].startswith(f"{path.name}: ")
    assert message in result["message"]
    assert not [p for p in root.rglob("*") if p.is_file()]
    return result


def test_faulty_streams_are_refused_clearly(run_tsdat, raw_day, tmp_path):
    good = raw_day["humboldt"][0].read_bytes()
    noise = np.random.default_rng(1).bytes(5000)
    for name, data, message in (
        ("empty.sta.7z", b"", "the file is empty"),
        ("cut.sta.7z", good[: len(good) // 2], "cut off"),
        ("one_byte.sta.7z", good[:1], "cut off"),
        ("noise.sta.7z", noise, "not an LZMA stream"),
        ("zip.sta.7z", b"7z\xbc\xaf\x27\x1c" + noise, "not an LZMA stream"),
        # Noise behind a good start, and one that asks for a dictionary of 4 GiB.
        ("damaged.sta.7z", good[:3000] + noise, "not an LZMA stream, or a damaged one"),
        ("greedy.sta.7z", b"\x5d\xff\xff\xff\xff" + b"\xff" * 8 + noise, "not an LZMA stream"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert_refused(run_tsdat, path, message)


@pytest.mark.slow
def test_bomb_is_refused_in_bounded_memory(run_tsdat, raw_day, tmp_path):
    run_tsdat(CONFIG.format("humboldt"), [raw_day["humboldt"][0]], tmp_path / "warm")
    path = tmp_path / "bomb.sta.7z"
    packer = lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=0)
    zeros = bytes(2**20)
    with path.open("wb") as stream:
        for _ in range(400):
            stream.write(packer.compress(zeros))
        stream.write(packer.flush())
    assert path.stat().st_size < 200_000
    result = assert_refused(run_tsdat, path, "unpacks to more than 67108864 bytes")
    assert result["peak_growth"] < 200 * 2**20
    assert result["seconds"] < 20


# The names of another pipeline's product, by ours.
REFERENCE_NAMES = {
    "internal_temperature": "internal_temperature",
    "wind_speed": "wind_speed",
    "wind_speed_std": "horizontal_dispersion",
    "wind_speed_min": "min_wind_speed",
    "wind_speed_max": "max_wind_speed",
    "wind_direction": "wind_direction",
    "vertical_wind": "vertical_wind_speed",
    "vertical_wind_std": "vertical_dispersion",
    "cnr": "carrier_noise_ratio",
    "doppler_spectral_broadening": "doppler_spectral_broadening",
    "data_availability": "data_availability",
}


@pytest.mark.parametrize("site", BUOYS)
def test_real_day_agrees_with_the_reference(run_tsdat, real_data, tmp_path, site):
    raw = real_data / f"lidar.{BUOYS[site]}.00.20201201.000000.sta.7z"
    result = run_tsdat(CONFIG.format(site), [raw], tmp_path)
    assert result["ok"], result
    path, product = open_product(tmp_path, site)
    with xr.open_dataset(real_data / path.name) as reference:
        np.testing.assert_array_equal(product["time"], reference["time"])
        np.testing.assert_array_equal(product["height"], reference["height"])
        for ours, theirs in REFERENCE_NAMES.items():
            np.testing.assert_allclose(
                product[ours], reference[theirs], rtol=1e-6, atol=1e-4, err_msg=ours
            )
