"""The raw files that examples/make_raw.py makes."""

import lzma
import time
from datetime import date

import numpy as np
import pytest

DAY = date(2020, 12, 1)


def text_of(path):
    """Unpack a raw file the way the data's description says."""
    with lzma.open(path) as stream:
        return stream.read().decode("cp1252")


@pytest.mark.parametrize("name", ["humboldt", "morro"])
def test_same_seed_gives_same_bytes(make_raw, tmp_path, name):
    site = make_raw.SITES[name]
    (first,) = make_raw.make_files(tmp_path / "a", site, DAY, seed=3)
    (again,) = make_raw.make_files(tmp_path / "b", site, DAY, seed=3)
    (other,) = make_raw.make_files(tmp_path / "c", site, DAY, seed=4)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_format_is_the_instruments(make_raw, real_data, tmp_path):
    (made,) = make_raw.make_files(tmp_path, make_raw.SITES["humboldt"], DAY)
    real = real_data / made.name
    made_lines, real_lines = text_of(made).split("\n"), text_of(real).split("\n")

    def keys(lines):
        return [line.partition("=")[0] for line in lines[:41]]

    assert keys(made_lines) == keys(real_lines)
    assert made_lines[39] == real_lines[39]  # the heights
    assert made_lines[41] == real_lines[41]  # the titles
    made_row, real_row = made_lines[42].split("\t"), real_lines[42].split("\t")
    assert len(made_row) == len(real_row)
    # The real instrument had no sensors for some columns ("NaN"); ours have values in them.
    both = [pair for pair in zip(made_row, real_row, strict=True) if pair[1] != "NaN"]
    assert len(both) > 40
    for ours, instruments in both:
        assert len(ours.partition(".")[2]) == len(instruments.partition(".")[2])
    assert made.read_bytes()[:5] == real.read_bytes()[:5]  # LZMA's settings


def test_names_and_folders(make_raw, tmp_path, capsys):
    make_raw.main(["--out", str(tmp_path), "--day", "20201231", "--days", "2", "--seed", "1"])
    expected = [
        f"lidar/{site}/lidar.{buoy}.00.{day}.000000.sta.7z"
        for day in ("20201231", "20210101")
        for site, buoy in (("humboldt", "z05"), ("morro", "z06"))
    ]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in expected]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        tmp_path / name for name in expected
    )


def test_short_files_are_pieces_of_the_day(make_raw, tmp_path):
    site = make_raw.SITES["morro"]
    (whole,) = make_raw.make_files(tmp_path / "day", site, DAY, seed=5)
    pieces = list(make_raw.make_files(tmp_path / "pieces", site, DAY, seed=5, minutes_per_file=10))
    rows = [row for piece in pieces for row in text_of(piece).split("\n")[42:-1]]
    assert rows == text_of(whole).split("\n")[42:-1]
    assert pieces[0].name == "lidar.z06.00.20201201.000000.sta.7z"
    assert rows[0].startswith("2020/12/01 00:10\t")


def test_faults_are_there_unless_left_out(make_raw):
    site = make_raw.SITES["humboldt"]
    faulty = make_raw.simulate_day(site, DAY, seed=2)
    clean = make_raw.simulate_day(site, DAY, seed=2, faults=False)
    assert clean.present.all()
    assert np.isfinite(clean.profiles).all()
    assert not clean.spikes
    assert 3 <= (~faulty.present).sum() <= 5
    assert np.isnan(faulty.profiles[..., make_raw.SPEED]).any()
    assert (faulty.profiles[..., make_raw.DIRECTION] == make_raw.BAD_DIRECTION).sum() == 1
    for time_index, height_index in faulty.spikes:
        assert faulty.profiles[time_index, height_index, make_raw.SPEED] == make_raw.BAD_SPEED
    same = (faulty.profiles == clean.profiles).mean()
    assert 0.9 < same < 1.0


def test_the_weather_goes_on_across_midnight(make_raw):
    site = make_raw.SITES["humboldt"]
    first = make_raw.simulate_day(site, DAY, faults=False).profiles[-1, 4, make_raw.SPEED]
    then = make_raw.simulate_day(site, date(2020, 12, 2), faults=False).profiles[
        0, 4, make_raw.SPEED
    ]
    assert abs(first - then) < 4.0


@pytest.mark.parametrize("minutes", [0, 7, 50, -10])
def test_odd_lengths_are_refused(make_raw, tmp_path, minutes):
    with pytest.raises(ValueError, match="minutes per file"):
        list(make_raw.make_files(tmp_path, make_raw.SITES["morro"], DAY, minutes_per_file=minutes))


def test_a_day_is_made_quickly(make_raw, tmp_path):
    started = time.perf_counter()
    for seed in range(5):
        list(make_raw.make_files(tmp_path, make_raw.SITES["morro"], DAY, seed=seed))
    assert (time.perf_counter() - started) / 5 < 1.0  # 0.05 s when the machine is idle
