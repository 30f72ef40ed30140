"""Times that are spread over several columns: date and time of day, day of year, parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tidegate.scaffold.ingest import clocks
from tidegate.scaffold.ingest.numbers import to_numbers
from tidegate.scaffold.ingest.records import Column, Guess, Sample, Time
from tidegate.scaffold.questions import Answers, Question

_ROLES = {
    "year": r"yr|yy|yyyy|year|jahr",
    "month": r"mo|mm|mon|month|monat",
    "day": r"dd|day|dom|dayofmonth|tag",
    "doy": r"doy|jday|jd|julian|julianday|dayofyear|yearday|yday|day|jul|jultime",
    "hour": r"hh|hr|hour|hours|stunde",
    "minute": r"mm|mn|min|minute|minutes",
    "second": r"ss|sec|second|seconds",
    "hhmm": r"hhmm|hrmn|hrmin|hourminute|time|hourmin",
    "gps_week": r"gpsweek|week|weekno|gpswk",
    "gps_second": r"gpssecond|gpsseconds|sow|tow|secondsofweek|gpssow|gpssec",
}
_LIMITS = {
    "year": (1980, 2100),
    "month": (1, 12),
    "day": (1, 31),
    "doy": (1, 367),
    "hour": (0, 24),
    "minute": (0, 59),
    "second": (0, 61),
    "hhmm": (0, 2400),
    "gps_week": (700, 3500),
    "gps_second": (0, 604800),
}


@dataclass(frozen=True)
class _Found:
    column: Column
    numbers: Any

    @property
    def whole(self) -> bool:
        return bool((self.numbers % 1 == 0).all())

    @property
    def code(self) -> str:
        return f"frame[{self.column.source!r}]"


def find_split(sample: Sample, answers: Answers) -> Time | None:
    """Times in several columns; None where there are none."""
    roles = _roles(sample)
    if "gps_week" in roles and "gps_second" in roles:
        return _gps_week(roles)
    if "doy" in roles and ("year" in roles or not _has_timestamp(sample)):
        return _day_of_year(roles, answers)
    if all(role in roles for role in ("year", "month", "day")):
        return _parts(roles)
    return _date_and_clock(sample, answers)


def _has_timestamp(sample: Sample) -> bool:
    return any(
        clocks.timestamp_formats([str(value) for value in column.values[:50]])
        for column in sample.columns
        if column.values.dtype == object or str(column.values.dtype) in ("string", "str")
    )


def _roles(sample: Sample) -> dict[str, _Found]:
    """Columns by what they are of a time: by name, where their numbers are within its limits."""
    found: dict[str, _Found] = {}
    years = any(
        _plain(column.title) in ("year", "yr", "yy", "yyyy", "jahr") for column in sample.columns
    )
    for column in sample.columns:
        for role, names in _ROLES.items():
            if role in found or not re.fullmatch(names, _plain(column.title)):
                continue
            numbers = to_numbers(column.values, sample.decimal)
            low, high = _LIMITS[role]
            if numbers.isna().any() or numbers.min() < low or numbers.max() > high:
                continue
            if any(other.column is column for other in found.values()):
                continue
            found[role] = _Found(column, numbers)
    if not years and "doy" in found and _plain(found["doy"].column.title) == "day":
        del found["doy"]
    if "month" not in found and "day" in found and "doy" not in found and "year" in found:
        found["doy"] = found.pop("day")
    return found


def _plain(title: str) -> str:
    return re.sub(r"[^a-z]", "", title.lower())


def _day_of_year(roles: Mapping[str, _Found], answers: Answers) -> Time:
    doy = roles["doy"]
    columns = [doy.column.source]
    guesses: list[Guess] = []
    if "year" in roles:
        year = roles["year"]
        columns.insert(0, year.column.source)
        first, first_code = year.numbers.astype(int).astype(str), f"{year.code}.astype(int)"
    else:
        question = Question(
            "year", "the file has days of the year and no year: which year is it?", "--year YEAR"
        )
        answer = answers.to(question)
        guesses.append(
            Guess(
                "time.year",
                answer,
                f"not in the file; {answers.reason(question)}",
                answers.decided(question),
            )
        )
        first = pd.Series([str(int(answer))] * len(doy.numbers), index=doy.numbers.index)
        first_code = f"pd.Series({int(answer)}, index=frame.index)"
    times = pd.to_datetime(first, format="%Y") + pd.to_timedelta(doy.numbers - 1, unit="D")
    code = [
        f'start = pd.to_datetime({first_code}.astype(str), format="%Y")',
        f'frame["time"] = start + pd.to_timedelta({doy.code} - 1, unit="D")',
    ]
    if doy.whole:
        more, more_code, used = _clock_of_day(roles)
        times, code, columns = times + more, code + more_code, columns + used
    else:
        digits = doy.column.values.astype("string").str.extract(r"\.(\d+)")[0].str.len().max()
        step = "s" if (digits or 0) >= 5 else "min"
        times = times.dt.round(step)
        code.append(f'frame["time"] = frame["time"].dt.round("{step}")')
        why = f"the day's fraction has {digits} digits, which is no more exact"
        guesses.append(Guess("time.rounding", f"to 1 {step}", why))
    return Time(tuple(columns), pd.DatetimeIndex(times), code=tuple(code), guesses=tuple(guesses))


def _clock_of_day(roles: Mapping[str, _Found]) -> tuple[Any, list[str], list[str]]:
    """The time of day as a duration: from HHMM, or from hours, minutes and seconds."""
    if "hhmm" in roles and "hour" not in roles:
        hhmm = roles["hhmm"]
        hours, minutes = hhmm.numbers // 100, hhmm.numbers % 100
        added = pd.to_timedelta(hours, unit="h") + pd.to_timedelta(minutes, unit="min")
        code = [
            f'frame["time"] += pd.to_timedelta({hhmm.code} // 100, unit="h")',
            f'frame["time"] += pd.to_timedelta({hhmm.code} % 100, unit="min")',
        ]
        return added, code, [hhmm.column.source]
    added, code, used = pd.Timedelta(0), [], []
    for role, unit in (("hour", "h"), ("minute", "min"), ("second", "s")):
        if role in roles:
            part = roles[role]
            added = added + pd.to_timedelta(part.numbers, unit=unit)
            code.append(f'frame["time"] += pd.to_timedelta({part.code}, unit="{unit}")')
            used.append(part.column.source)
    return added, code, used


def _parts(roles: Mapping[str, _Found]) -> Time:
    """Year, month and day, and what there is of hour, minute and second."""
    dates = [roles[role] for role in ("year", "month", "day")]
    names = ("year", "month", "day")
    times = pd.to_datetime(dict(zip(names, (found.numbers for found in dates))))
    given = ", ".join(f'"{name}": {found.code}' for name, found in zip(names, dates))
    more, more_code, used = _clock_of_day(roles)
    columns = (*(found.column.source for found in dates), *used)
    code = (f'frame["time"] = pd.to_datetime({{{given}}})', *more_code)
    return Time(columns, pd.DatetimeIndex(times + more), code=code)


def _gps_week(roles: Mapping[str, _Found]) -> Time:
    from tidegate.scaffold.ingest.epochs import gps_ahead

    week, second = roles["gps_week"], roles["gps_second"]
    seconds = week.numbers * 604800 + second.numbers
    ahead = gps_ahead(seconds)
    origin = pd.Timestamp("1980-01-06") - pd.Timedelta(ahead, unit="s")
    times = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", origin=origin)).round("ms")
    code = (
        f"seconds = {week.code} * 604800 + {second.code}",
        f'utc = pd.to_datetime(seconds, unit="s", origin="{origin:%Y-%m-%d %H:%M:%S}")',
        'frame["time"] = utc.dt.round("ms")',
    )
    why = f"GPS time was {ahead} s ahead of UTC; correct this after the next leap second"
    guesses = (
        Guess("time.kind", "GPS week and second of the week", "their titles say so"),
        Guess("time.origin", f"{ahead} s earlier", why),
        Guess("time.timezone", "UTC", "GPS time is counted from UTC"),
    )
    return Time((week.column.source, second.column.source), times, code=code, guesses=guesses)


def _date_and_clock(sample: Sample, answers: Answers) -> Time | None:
    """A column of dates and a column of times of day, both texts."""
    from tidegate.scaffold.ingest.times import choose_format

    date = clock = None
    for column in sample.columns:
        if pd.api.types.is_numeric_dtype(column.values) or str(column.values.dtype).startswith(
            "datetime"
        ):
            continue
        values = [str(value).strip() for value in column.values]
        if clock is None and (found := clocks.clock_formats(values)):
            clock = (column, found)
        elif date is None and re.search(r"date|datum|day|ymd|tag", column.title, re.I):
            formats = clocks.date_formats(values)
            date = (column, formats) if formats else None
    if date is None or clock is None:
        return None
    dates = [str(value).strip() for value in date[0].values]
    both = [f"{d} {str(c).strip()}" for d, c in zip(dates, clock[0].values)]
    formats = [f"{pattern} {clock[1][0]}" for pattern in date[1]]
    chosen, reason = choose_format(date[0].title, both, formats, answers)
    first, second = (f"frame[{column.source!r}]" for column in (date[0], clock[0]))
    code = (
        f'written = {first}.str.strip() + " " + {second}.str.strip()',
        f'frame["time"] = pd.to_datetime(written, format="{chosen}")',
    )
    guesses = (Guess("time.format", chosen, reason),) if reason else ()
    columns = (date[0].source, clock[0].source)
    return Time(columns, clocks.parse(both, chosen), code=code, texts=True, guesses=guesses)
