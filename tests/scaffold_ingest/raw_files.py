"""Raw files as instruments write them, with known numbers: one function a format.

All hold the same measurements: every ten minutes from 2022-06-01 00:00 UTC, a temperature, a
pressure, a wind speed and a wind direction, made by formulas that ``KNOWN`` repeats.
"""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

ROWS = 24
BEGIN = datetime.fromisoformat("2022-06-01")
STEP = timedelta(minutes=10)
TIMES = [BEGIN + i * STEP for i in range(ROWS)]
TEMPERATURE = [round(12.5 + 0.25 * i, 2) for i in range(ROWS)]
PRESSURE = [round(1013.2 - 0.1 * i, 1) for i in range(ROWS)]
SPEED = [round(3.0 + 0.2 * (i % 7), 1) for i in range(ROWS)]
DIRECTION = [(200 + 3 * i) % 360 for i in range(ROWS)]
VALUES = list(zip(TEMPERATURE, PRESSURE, SPEED, DIRECTION))


def toa5(path: Path) -> None:
    """Campbell Scientific: four header lines, quoted times, NAN, one time with a fraction."""
    head = [
        '"TOA5","Station7","CR1000X","12345","CR1000X.Std.05.02","CPU:met.CR1X","4242","TenMin"',
        '"TIMESTAMP","RECORD","AirTC_Avg","BP_mbar_Avg","WS_ms_Avg","WindDir_D1_WVT"',
        '"TS","RN","Deg C","mbar","meters/second","Deg"',
        '"","","Avg","Avg","Avg","WVc"',
    ]
    rows = []
    for i, (at, (t, p, s, d)) in enumerate(zip(TIMES, VALUES)):
        shown = '"NAN"' if i == 5 else t
        rows.append(f'"{at:%Y-%m-%d %H:%M:%S}",{i},{shown},{p},{s},{d}')
    path.write_text("\r\n".join([*head, *rows]) + "\r\n")


def decimal_comma(path: Path) -> None:
    """Tabs and decimal commas, as a German data logger exports them."""
    rows = [
        "Datum/Zeit\tTemperatur [°C]\tLuftdruck [hPa]\tWindgeschwindigkeit [m/s]\tWindrichtung [°]"
    ]
    for at, values in zip(TIMES, VALUES):
        rows.append("\t".join([f"{at:%d.%m.%Y %H:%M:%S}", *(_comma(v) for v in values)]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def two_headers(path: Path) -> None:
    """Names in the first line, units in the second."""
    rows = ["date_time,temp,press,wspd,wdir", "UTC,degC,hPa,m/s,deg"]
    rows += [f"{at:%Y-%m-%dT%H:%M:%SZ},{t},{p},{s},{d}" for at, (t, p, s, d) in _rows()]
    path.write_text("\n".join(rows) + "\n")


def excel_csv(path: Path) -> None:
    """Saved from a European Excel: byte-order mark, semicolons, decimal commas, day first."""
    rows = ["Date;Air temperature (°C);Air pressure (hPa);Wind speed (m/s);Wind direction (°)"]
    for at, values in zip(TIMES, VALUES):
        rows.append(";".join([f"{at:%d/%m/%Y %H:%M}", *(_comma(v) for v in values)]))
    path.write_bytes(("\r\n".join(rows) + "\r\n").encode("utf-8-sig"))


def day_of_year(path: Path) -> None:
    """Campbell's array-based loggers: year, day of the year, HHMM without leading zeros."""
    rows = ["Year,DOY,HHMM,AirTemp_degC,Pressure_hPa,WindSpd_ms,WindDir_deg"]
    for at, (t, p, s, d) in _rows():
        rows.append(
            f"{at.year},{at.timetuple().tm_yday},{at.hour * 100 + at.minute},{t},{p},{s},{d}"
        )
    path.write_text("\n".join(rows) + "\n")


def unix_seconds(path: Path) -> None:
    """Unix seconds with a fraction."""
    rows = ["unix_time,temperature_degC,pressure_hPa,wind_speed_mps,wind_direction_deg"]
    rows += [f"{_unix(at)}.000,{t},{p},{s},{d}" for at, (t, p, s, d) in _rows()]
    path.write_text("\n".join(rows) + "\n")


def gps_seconds(path: Path) -> None:
    """GPS seconds: 18 s ahead of UTC in 2022."""
    rows = ["GPS_time_s,temperature_degC,pressure_hPa,wind_speed_mps,wind_direction_deg"]
    for at, (t, p, s, d) in _rows():
        seconds = int((at - datetime.fromisoformat("1980-01-06")).total_seconds()) + 18
        rows.append(f"{seconds},{t},{p},{s},{d}")
    path.write_text("\n".join(rows) + "\n")


def unnamed_seconds(path: Path) -> None:
    """Seconds of which the title does not say what they count: GPS ones, or Unix ones of 2012."""
    gps_seconds(path)
    path.write_text(path.read_text().replace("GPS_time_s", "Time"))


def am_pm(path: Path) -> None:
    """A HOBO logger: a title line, quoted titles with units and serial numbers, AM and PM."""
    titles = ["#", "Date Time, GMT+00:00", "Temp, °C (LGR S/N: 20101234, SEN S/N: 20101235)"]
    titles += ["Abs Pres, mbar (LGR S/N: 20101234)", "Wind Speed, m/s (LGR S/N: 20101234)"]
    titles += ["Wind Dir, ° (LGR S/N: 20101234)"]
    rows = [
        '"Plot Title: Buoy"',
        ",".join(f'"{title}"' for title in titles),
    ]
    for i, (at, (t, p, s, d)) in enumerate(_rows(), 1):
        rows.append(f"{i},{at:%m/%d/%y %I:%M:%S %p},{t},{p},{s},{d}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def gaps(path: Path) -> None:
    """Lines that are missing, empty fields, -9999 and dashes for missing values."""
    rows = ["timestamp,air_temperature (degC),air_pressure (hPa),wind_speed (m/s),wind_dir (deg)"]
    for i, (at, (t, p, s, d)) in enumerate(_rows()):
        if 8 <= i < 12:
            continue
        fields = [f"{at:%Y-%m-%d %H:%M:%S}", str(t), str(p), str(s), str(d)]
        if i == 3:
            fields[1] = "-9999"
        if i == 4:
            fields[2] = "---"
        if i == 5:
            fields[3] = ""
        rows.append(",".join(fields))
    path.write_text("\n".join(rows) + "\n")


def repeated_header(path: Path) -> None:
    """Each power cycle of the logger writes the titles again."""
    title = "Time (UTC),Temp (C),Press (hPa),Wind Speed (m/s),Wind Direction (deg)"
    rows = []
    for i, (at, (t, p, s, d)) in enumerate(_rows()):
        if i % 10 == 0:
            rows.append(title)
        rows.append(f"{at:%Y/%m/%d %H:%M:%S},{t},{p},{s},{d}")
    path.write_text("\n".join(rows) + "\n")


def trailing_comma(path: Path) -> None:
    """Lines of data end with a comma, the line of titles does not."""
    rows = ["Time,Temp_degC,Pressure_hPa,WS_mps,WD_deg"]
    rows += [f"{at:%Y-%m-%d %H:%M:%S},{t},{p},{s},{d}," for at, (t, p, s, d) in _rows()]
    path.write_text("\n".join(rows) + "\n")


def latin1(path: Path) -> None:
    """Degree signs in Latin-1, and a preamble of station data."""
    rows = ["Station: Pier 7", "Serial: 0042", ""]
    rows += ["Date,Time,Temperature (°C),Pressure (hPa),Wind Speed (m/s),Wind Direction (°)"]
    for at, (t, p, s, d) in _rows():
        rows.append(f"{at:%Y-%m-%d},{at:%H:%M:%S},{t},{p},{s},{d}")
    path.write_bytes(("\n".join(rows) + "\n").encode("latin-1"))


def netcdf(path: Path, units: str = "") -> None:
    """netCDF whose time has no units: seconds since the start of the day."""
    import netCDF4

    with netCDF4.Dataset(path, "w") as dataset:
        dataset.createDimension("time", None)
        dataset.title = "Met mast"
        time = dataset.createVariable("time", "f8", ("time",))
        time[:] = [(at - BEGIN).total_seconds() for at in TIMES]
        if units:
            time.units = units
        for name, unit, values in (
            ("temp", "degC", TEMPERATURE),
            ("press", "hPa", PRESSURE),
            ("wspd", "m/s", SPEED),
            ("wdir", "degree", DIRECTION),
        ):
            variable = dataset.createVariable(name, "f4", ("time",))
            variable.units = unit
            variable[:] = values


def zip_of_csv(path: Path) -> None:
    """Two files of twelve lines each in a zip archive."""
    head = "time_utc,temp_degC,press_hPa,wind_speed_mps,wind_dir_deg"
    rows = [f"{at:%Y-%m-%d %H:%M:%S},{t},{p},{s},{d}" for at, (t, p, s, d) in _rows()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("log/part1.csv", "\n".join([head, *rows[:12]]) + "\n")
        archive.writestr("log/part2.csv", "\n".join([head, *rows[12:]]) + "\n")
        archive.writestr("log/readme.txt", "two halves\n")


def excel(path: Path) -> None:
    """An Excel workbook: a title, titles of columns, units, real dates."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Met station at the pier"])
    sheet.append(["Timestamp UTC", "Air Temp", "Pressure", "Wind Speed", "Wind Direction"])
    sheet.append([None, "°C", "hPa", "m/s", "deg"])
    for at, values in zip(TIMES, VALUES):
        sheet.append([at, *values])
    book.save(path)


def json_lines(path: Path) -> None:
    """A gateway's messages: one JSON object a line, times in ISO 8601 with an offset."""
    rows = []
    for at, (t, p, s, d) in _rows():
        local = at + timedelta(hours=2)
        message = {"ts": f"{local:%Y-%m-%dT%H:%M:%S}+02:00", "temp_degC": t, "press_hPa": p}
        rows.append(json.dumps({**message, "wind_speed_mps": s, "wind_dir_deg": d}))
    path.write_text("\n".join(rows) + "\n")


def spaces(path: Path) -> None:
    """A buoy's standard file: two comment lines, blanks, the time in five columns, 99.0 missing."""
    rows = [
        "#YY  MM DD hh mm WDIR WSPD PRES   ATMP",
        "#yr  mo dy hr mn degT m/s  hPa    degC",
    ]
    for i, (at, (t, p, s, d)) in enumerate(_rows()):
        shown = 99.0 if i == 6 else s
        rows.append(f"{at:%Y %m %d %H %M} {d:4d} {shown:4.1f} {p:6.1f} {t:5.2f}")
    path.write_text("\n".join(rows) + "\n")


def _rows() -> list[tuple[datetime, tuple[float, float, float, int]]]:
    return list(zip(TIMES, VALUES))


def _comma(value: float) -> str:
    return str(value).replace(".", ",")


def _unix(at: datetime) -> int:
    return int((at - datetime.fromisoformat("1970-01-01")).total_seconds())
