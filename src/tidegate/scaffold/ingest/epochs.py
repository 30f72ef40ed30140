"""Times that are numbers: seconds or days since some moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pandas as pd

_EARLIEST = pd.Timestamp("1995-01-01")
LEAP_SECONDS = (
    ("2017-01-01", 18),
    ("2015-07-01", 17),
    ("2012-07-01", 16),
    ("2009-01-01", 15),
    ("2006-01-01", 14),
    ("1999-01-01", 13),
    ("1997-07-01", 12),
    ("1996-01-01", 11),
    ("1994-07-01", 10),
)
"""From when on GPS time is how many seconds ahead of UTC (IERS Bulletin C)."""


@dataclass(frozen=True)
class Epoch:
    """What a number counts."""

    key: str
    """The answer to --time-kind."""
    meaning: str
    """In words."""
    unit: str
    """pandas' name of the unit."""
    origin: str
    """The moment that it is counted from, UTC."""


EPOCHS = (
    Epoch("unix", "seconds since 1970 (Unix time)", "s", "1970-01-01"),
    Epoch("unix-ms", "milliseconds since 1970 (Unix time)", "ms", "1970-01-01"),
    Epoch("unix-us", "microseconds since 1970 (Unix time)", "us", "1970-01-01"),
    Epoch("gps", "seconds since 1980-01-06 without leap seconds (GPS time)", "s", "1980-01-06"),
    Epoch("labview", "seconds since 1904 (LabVIEW)", "s", "1904-01-01"),
    Epoch("excel", "days since 1899-12-30 (Excel)", "D", "1899-12-30"),
    Epoch("matlab", "days since the year 0 (MATLAB datenum)", "D", "0000-01-00"),
)
"""The ways of counting that instruments use."""
_MATLAB_1970 = 719529


def plausible(numbers: Any) -> list[Epoch]:
    """The ways of counting by which all numbers are times between 1995 and now."""
    least, greatest = float(numbers.min()), float(numbers.max())
    latest = pd.Timestamp(datetime.now(timezone.utc)).tz_localize(None) + pd.Timedelta("2D")
    found = []
    for epoch in EPOCHS:
        try:
            begin, end = (convert(pd.Series([value]), epoch)[0] for value in (least, greatest))
        except (ValueError, OverflowError, pd.errors.OutOfBoundsDatetime):
            continue
        if begin >= _EARLIEST and end <= latest:
            found.append(epoch)
    return found


def convert(numbers: Any, epoch: Epoch) -> Any:
    """Numbers as a pandas DatetimeIndex in UTC."""
    if epoch.key == "matlab":
        days = pd.to_datetime(numbers.astype(float) - _MATLAB_1970, unit="D", origin="unix")
        return pd.DatetimeIndex(days).round("ms")
    origin = pd.Timestamp(epoch.origin)
    if epoch.key == "gps":
        origin -= pd.Timedelta(gps_ahead(numbers), unit="s")
    times = pd.DatetimeIndex(pd.to_datetime(numbers, unit=epoch.unit, origin=origin))
    return times.round("ms") if epoch.unit == "D" else times


def gps_ahead(numbers: Any) -> int:
    """How far GPS time was ahead of UTC, s, when these GPS seconds were counted."""
    when = pd.Timestamp("1980-01-06") + pd.Timedelta(float(numbers.min()), unit="s")
    return next((ahead for date, ahead in LEAP_SECONDS if when >= pd.Timestamp(date)), 0)


def converter_keywords(epoch: Epoch, numbers: Any) -> Mapping[str, Any]:
    """``to_datetime_kwargs`` for Tsdat's StringToDatetime; empty where that cannot convert it."""
    if epoch.unit == "D":  # a fraction of a day as a float needs rounding
        return {}
    if epoch.key == "gps":
        origin = pd.Timestamp(epoch.origin) - pd.Timedelta(gps_ahead(numbers), unit="s")
        return {"unit": "s", "origin": f"{origin:%Y-%m-%d %H:%M:%S}"}
    if epoch.origin == "1970-01-01":
        return {"unit": epoch.unit}
    return {"unit": epoch.unit, "origin": epoch.origin}


def code(epoch: Epoch, column: str) -> tuple[str, ...]:
    """Lines of Python that convert days, which StringToDatetime cannot round."""
    frame = f"frame[{column!r}]"
    if epoch.key == "matlab":
        numbers, origin = f"{frame} - {_MATLAB_1970}", "1970-01-01"
    else:
        numbers, origin = frame, epoch.origin
    return (
        f'days = pd.to_datetime({numbers}, unit="D", origin="{origin}")',
        'frame["time"] = days.dt.round("ms")',
    )
