"""Make plausible raw files of a WindCube profiling lidar, for trying and testing the pipelines.

    python make_raw.py --out raw --day 20201201 --days 3 --seed 7

writes `raw/lidar/humboldt/lidar.z05.00.20201201.000000.sta.7z` and so on: ten-minute statistics in
the instrument's own format (text in cp1252, packed as an "LZMA alone" stream). The same seed, day
and site give the same bytes. A day holds what real days hold: a diurnal cycle, shear and veer with
height, noise, and faults (rows that are missing, ten-minute periods without a signal, periods with
too few pulses, values that cannot be true). `--no-faults` leaves those out.
"""

from __future__ import annotations

import argparse
import lzma
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INTERVAL = timedelta(minutes=10)
ROWS_PER_DAY = 144
HEIGHTS = np.array([40, 60, 80, 90, 100, 120, 140, 160, 180, 200, 220, 240])
"""Heights of the measurements (m)."""

BAD_SPEED = 99.9
"""A wind speed that no lidar can measure (m/s), planted as a fault."""
BAD_DIRECTION = 999.9
"""A wind direction that does not exist (degrees), planted as a fault."""

# Quick, with the instrument's dictionary size.
PACKING = [{"id": lzma.FILTER_LZMA1, "preset": 1, "dict_size": 8 * 2**20}]

SCALARS = (
    "Int Temp (°C)",
    "Ext Temp (°C)",
    "Pressure (hPa)",
    "Rel Humidity (%)",
    "Wiper count",
    "Vbatt (V)",
)
"""Titles of the columns that have no height."""

# Title of each column of a height, and the format of its values, in the instrument's order.
COLUMNS = {
    "Wind Speed (m/s)": "%.2f",
    "Wind Speed Dispersion (m/s)": "%.2f",
    "Wind Speed min (m/s)": "%.2f",
    "Wind Speed max (m/s)": "%.2f",
    "Wind Direction (°)": "%.1f",
    "Z-wind (m/s)": "%.2f",
    "Z-wind Dispersion (m/s)": "%.2f",
    "CNR (dB)": "%.1f",
    "CNR min (dB)": "%.1f",
    "Dopp Spect Broad (m/s)": "%.2f",
    "Data Availability (%)": "%.0f",
}
SPEED, SPEED_MAX, DIRECTION, CNR, AVAILABILITY = 0, 3, 4, 7, 10

HEADER = """\
HeaderSize=40
Version=2.1.9
ID System={system}
ID Client=Tidegate example
Location={location}
GPS Location=hidden
Comments=simulated, seed {seed}
FCR Option=OFF
timezone=UTC+0
********************
Windcube Parameters (internal use only)
********************
Sampling Frequency (Hz)=250000000.000
Ref Frequency (Hz)=68000000.000
Pulses / Line of Sight=20000
Samples / Pulse=1024
Reflected Pulse Start=100
Reflected Pulse End=174
Ref pulse samples nb=1
Nb High Pass Filter Points=5
FFT Window Width=50
Laser Diode  Current (mA)=1420
LOS=
Init Drive Position (°)={offset:.0f}
Pulse Repetition Rate (Hz)=30000.000
Pulse Duration (s)=0.000000175
Trigger Delay Time=0.000000004
Wavelength (nm)=1543.000
ScanAngle (°)=28.000
DirectionOffset (°)=0.000
Declination (°)=NaN
PitchAngle (°)=NaN
RollAngle (°)=NaN
CNRThreshold=-23.000
VrThreshold (m/s)=NaN
SigmaFreqThreshold (m/s)=NaN
WiperCNRThreshold=-19.000
WiperAltitude (m)=100
WiperDuration (ms)=5000
Altitudes (m)={heights}
********************
"""


@dataclass(frozen=True)
class Site:
    """A buoy with a lidar."""

    name: str
    """The folder its files arrive in."""
    buoy: str
    """The buoy's number, as file names have it."""
    system: str
    """The lidar's serial number."""
    offset: float
    """What must be added to the lidar's directions to have them from true north (degrees)."""
    mean_speed: float
    """Mean wind speed at 100 m (m/s)."""
    mean_direction: float
    """Mean direction that the wind comes from, from true north (degrees)."""

    @property
    def number(self) -> int:
        """The buoy's number as an integer: part of the random seed."""
        return int(self.buoy.lstrip("z"))


SITES = {
    "humboldt": Site("humboldt", "z05", "WLS866-905", 90.0, 9.0, 350.0),
    "morro": Site("morro", "z06", "WLS866-906", 180.0, 7.5, 320.0),
}


@dataclass(frozen=True)
class Day:
    """The ten-minute statistics of a day; times are the ends of the intervals, in UTC."""

    site: Site
    seed: int
    times: list[datetime]
    internal_temperature: Floats
    """By time (degrees Celsius)."""
    profiles: Floats
    """By time, height and column, in the order of `COLUMNS` and with its units."""
    present: NDArray[np.bool_]
    """False for the rows that the instrument did not write."""
    spikes: list[tuple[int, int]]
    """Time and height (as indices) of each wind speed that was replaced by `BAD_SPEED`."""


def simulate_day(site: Site, day: date, seed: int = 0, faults: bool = True) -> Day:
    """Simulate a day. The weather goes on across midnight; only the noise is drawn day by day."""
    # One stream for the weather and one for the faults, so that leaving out the faults changes
    # nothing else.
    weather = np.random.default_rng([seed, site.number, day.toordinal(), 1])
    chance = np.random.default_rng([seed, site.number, day.toordinal(), 2])
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    times = [midnight + INTERVAL * (i + 1) for i in range(ROWS_PER_DAY)]
    hours = (np.arange(ROWS_PER_DAY) + 1) / 6.0
    days = day.toordinal() + hours / 24.0

    profiles = _profiles(site, seed, hours, days, weather)
    present = np.ones(ROWS_PER_DAY, dtype=bool)
    spikes: list[tuple[int, int]] = []
    if faults:
        spikes = _plant_faults(profiles, present, chance)
    temperature = 29.0 + 2.0 * np.sin(2 * np.pi * (hours - 15) / 24)
    temperature += weather.normal(0, 0.1, hours.size)
    return Day(site, seed, times, temperature, profiles, present, spikes)


def _profiles(
    site: Site, seed: int, hours: Floats, days: Floats, rng: np.random.Generator
) -> Floats:
    """Simulate winds and signal, by time, height and column; `days` count from year 1."""
    diurnal = np.sin(2 * np.pi * (hours - 16) / 24)[:, None]  # strongest in the (local) afternoon
    synoptic = np.sin(2 * np.pi * days / 5.3 + seed + site.number)[:, None]  # weather systems
    shape = (hours.size, HEIGHTS.size)

    # A power law with height, steeper when the air is stable, and gusts common to all heights.
    exponent = 0.12 - 0.06 * diurnal
    gusts = np.convolve(rng.normal(0, 0.5, hours.size + 5), np.ones(6) / 2, "valid")[:, None]
    at_100m = np.maximum(site.mean_speed + 1.5 * diurnal + 3.0 * synoptic + gusts, 1.0)
    speed = at_100m * (HEIGHTS / 100.0) ** exponent + rng.normal(0, 0.1, shape)
    speed = np.maximum(speed, 0.2)
    dispersion = 0.3 + 0.07 * speed * rng.uniform(0.9, 1.1, shape)

    # The wind veers with height; the file has directions relative to the lidar, not to north.
    veer = 0.03 * (HEIGHTS - 100.0)
    wander = 15.0 * diurnal + 25.0 * synoptic + rng.normal(0, 1.0, shape)
    direction = (site.mean_direction + veer + wander - site.offset) % 360.0

    # The signal is strongest at the focus near 100 m; a weak one makes fewer pulses usable.
    cnr = -5.0 + 2.0 * synoptic - 0.0007 * (HEIGHTS - 100.0) ** 2 + rng.normal(0, 0.7, shape)
    availability = np.clip(100.0 + 8.0 * np.minimum(cnr + 17.0, 0.0), 55.0, 100.0)
    columns = [
        speed,
        dispersion,
        np.maximum(speed - rng.uniform(2.2, 2.8, shape) * dispersion, 0.0),
        speed + rng.uniform(2.2, 2.8, shape) * dispersion,
        direction,
        rng.normal(-0.3, 0.15, shape),
        rng.uniform(0.4, 0.9, shape),
        cnr,
        cnr - rng.uniform(1.5, 4.0, shape),
        rng.uniform(0.65, 1.1, shape),
        availability,
    ]
    return np.stack(columns, axis=-1)


def _plant_faults(
    profiles: Floats, present: NDArray[np.bool_], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Plant a day's faults in place; return where the impossible wind speeds are."""
    # Two single rows and half an hour that the instrument did not write.
    present[rng.choice(ROWS_PER_DAY, size=2, replace=False)] = False
    start = rng.integers(ROWS_PER_DAY - 3)
    present[start : start + 3] = False

    # Forty minutes of fog: no signal above some height, and hardly any just below it.
    start, level = rng.integers(ROWS_PER_DAY - 4), rng.integers(2, HEIGHTS.size - 1)
    fog = slice(start, start + 4)
    profiles[fog, level - 1, AVAILABILITY] = rng.integers(3, 40, size=4)
    profiles[fog, level:, :] = np.nan
    profiles[fog, level:, CNR : CNR + 2] = -29.5
    profiles[fog, level:, AVAILABILITY] = 0

    # Values that cannot be true.
    cells = rng.choice(ROWS_PER_DAY * HEIGHTS.size, size=4, replace=False)
    where = [(int(cell) // HEIGHTS.size, int(cell) % HEIGHTS.size) for cell in cells]
    *spikes, vane = where
    for time, height in spikes:
        profiles[time, height, [SPEED, SPEED_MAX]] = BAD_SPEED
    profiles[(*vane, DIRECTION)] = BAD_DIRECTION
    return spikes


def format_rows(day: Day, rows: Sequence[int]) -> str:
    """Write rows of a day as the instrument does: header, titles, one line an interval."""
    header = HEADER.format(
        system=day.site.system,
        location=day.site.name,
        seed=day.seed,
        offset=day.site.offset,
        heights="".join(f"\t{height}" for height in HEIGHTS),
    )
    titles = ["Timestamp (end of interval)", *SCALARS]
    for height in HEIGHTS:
        # The instrument, too, ends each height with an empty column.
        titles += [*(f"{height}m {title}" for title in COLUMNS), ""]
    # Temperature inside and outside, pressure, humidity, wiper count; the voltage is not measured.
    row_format = "%s\t%.2f\t%.2f\t%.2f\t%.2f\t0\tNaN" + "\t".join(
        ["", *("\t".join([*COLUMNS.values(), ""]) for _ in HEIGHTS)]
    )
    lines = ["\t".join(titles)]
    for row in rows:
        inside = float(day.internal_temperature[row])
        outside = (inside - 8.0, 1013.2 + math.sin(row / 40), 82.0 - math.sin(row / 23))
        values = (f"{day.times[row]:%Y/%m/%d %H:%M}", inside, *outside)
        line = row_format % (*values, *day.profiles[row].ravel().tolist())
        lines.append(line.replace("nan", "NaN"))
    return header + "\n".join(lines) + "\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it appears under its name whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def make_files(
    out: Path,
    site: Site,
    day: date,
    seed: int = 0,
    minutes_per_file: int = 1440,
    faults: bool = True,
) -> Iterator[Path]:
    """Write a day of a site under `out` and yield each file as it is there.

    A file is named by the start of its period. As with the instrument, there is none for a period
    in which no row was written.
    """
    if minutes_per_file <= 0 or minutes_per_file % 10 or 1440 % minutes_per_file:
        raise ValueError(
            f"minutes per file must be a multiple of 10 that divides a day, not {minutes_per_file}"
        )
    simulated = simulate_day(site, day, seed, faults)
    rows_per_file = minutes_per_file // 10
    for first in range(0, ROWS_PER_DAY, rows_per_file):
        rows = [row for row in range(first, first + rows_per_file) if simulated.present[row]]
        if not rows:
            continue
        start = simulated.times[first] - INTERVAL
        name = f"lidar.{site.buoy}.00.{start:%Y%m%d.%H%M%S}.sta.7z"
        text = format_rows(simulated, rows).encode("cp1252")
        path = out / "lidar" / site.name / name
        write_atomically(path, lzma.compress(text, lzma.FORMAT_ALONE, filters=PACKING))
        yield path


def parse_day(text: str) -> date:
    """Read a day written as YYYYMMDD."""
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=timezone.utc).date()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files that the command line asks for, and print their paths."""
    parser = argparse.ArgumentParser(description="Make raw lidar files.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write under")
    parser.add_argument(
        "--site", choices=SITES, action="append", help="a site; may be repeated (default: all)"
    )
    parser.add_argument("--day", type=parse_day, required=True, help="first day, YYYYMMDD")
    parser.add_argument("--days", type=int, default=1, help="how many days (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--minutes-per-file", type=int, default=1440, help="length of a file (default: a day, 1440)"
    )
    parser.add_argument("--no-faults", action="store_true", help="plant no gaps and bad values")
    options = parser.parse_args(arguments)
    for number in range(options.days):
        day = options.day + timedelta(days=number)
        for site in options.site or SITES:
            for path in make_files(
                options.out,
                SITES[site],
                day,
                options.seed,
                options.minutes_per_file,
                not options.no_faults,
            ):
                print(path)


if __name__ == "__main__":
    main()
