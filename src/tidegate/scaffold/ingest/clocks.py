"""Formats of dates and times in texts: every ``strptime`` format that a column fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

_CLOCK = r"(?P<clock>\d{1,2}:\d{2}(?P<seconds>:\d{2}(?P<fraction>[.,]\d{1,9})?)?)"
_AMPM = r"(?P<blank>\s*)(?P<ampm>[AaPp][Mm])"
_ZONE = r"(?P<gap>\s*)(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})"
_TIME = re.compile(f"{_CLOCK}(?:{_AMPM})?(?:{_ZONE})?")
_WHOLE = re.compile(rf"(?P<date>.*?\d)(?P<between>T|,?\s+|[_;-]){_TIME.pattern}")
_COMPACT = re.compile(r"(?P<date>\d{8})(?P<between>[T _-]?)(?P<hms>\d{6}|\d{4})(?P<zone>Z?)")
_NUMERIC = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})")
_NAMED = (
    (re.compile(r"\d{1,2}([-/. ])[A-Za-z]{3}\1\d{4}"), "%d{0}%b{0}%Y"),
    (re.compile(r"\d{1,2}([-/. ])[A-Za-z]{3}\1\d{2}"), "%d{0}%b{0}%y"),
    (re.compile(r"\d{1,2}( )[A-Za-z]{4,}\1\d{4}"), "%d{0}%B{0}%Y"),
    (re.compile(r"[A-Za-z]{3}( )\d{1,2}, \d{4}"), "%b %d, %Y"),
    (re.compile(r"[A-Za-z]{3}( )\d{1,2} \d{4}"), "%b %d %Y"),
    (re.compile(r"\d{4}([-/ ])\d{3}"), "%Y{0}%j"),
)
ISO = "ISO8601"
"""pandas' name for ISO 8601 with varying precision, such as TOA5 writes."""


def parse(values: Iterable[str], pattern: str) -> Any:
    """The times of texts as a pandas DatetimeIndex in UTC, NaT for those that do not fit."""
    aware = "%z" in pattern
    times = pd.to_datetime(
        pd.Index(list(values), dtype=object), format=pattern, errors="coerce", utc=aware or None
    )
    times = pd.DatetimeIndex(times)
    return times.tz_convert("UTC").tz_localize(None) if times.tz is not None else times


def timestamp_formats(values: Sequence[str]) -> list[str]:
    """The formats that all texts fit as a date and a time of day; the likeliest first."""
    return _fitting(values, _split_whole) or _iso(values)


def date_formats(values: Sequence[str]) -> list[str]:
    """The formats that all texts fit as a date alone."""
    return _valid(values, _dates([value.strip() for value in values]))


def clock_formats(values: Sequence[str]) -> list[str]:
    """The formats that all texts fit as a time of day alone."""
    found: set[str] = set()
    for value in values:
        match = _TIME.fullmatch(value.strip())
        if match is None:
            return []
        found.add(_clock(match))
    return _valid(values, sorted(found)) if len(found) == 1 else []


def _iso(values: Sequence[str]) -> list[str]:
    """ISO 8601 whose texts differ in precision: with and without seconds or fractions."""
    looks = all(re.match(r"\d{4}-\d{2}-\d{2}([T ]\d{2}|$)", value.strip()) for value in values)
    return [ISO] if looks and values and parse(values, ISO).notna().all() else []


def _split_whole(value: str) -> tuple[str, str] | None:
    """The date of a text, and the format of what follows it."""
    match = _WHOLE.fullmatch(value)
    if match is not None:
        return match["date"], _literal(match["between"]) + _clock(match)
    match = _COMPACT.fullmatch(value)
    if match is not None:
        clock = "%H%M%S" if len(match["hms"]) == 6 else "%H%M"
        return match["date"], match["between"] + clock + match["zone"]
    return None


def _fitting(values: Sequence[str], split: Any) -> list[str]:
    parts = [split(value.strip()) for value in values]
    if not parts or any(part is None for part in parts):
        return []
    rests = {rest for _, rest in parts}
    if len(rests) != 1:
        return []
    rest = rests.pop()
    return _valid(values, [date + rest for date in _dates([date for date, _ in parts])])


def _clock(match: re.Match[str]) -> str:
    hour = "%I" if match["ampm"] else "%H"
    text = f"{hour}:%M"
    if match["seconds"]:
        text += ":%S"
    if match["fraction"]:
        text += f"{match['fraction'][0]}%f"
    if match["ampm"]:
        text += f"{match['blank']}%p"
    if match["zone"]:
        zone = match["zone"] if match["zone"].isalpha() else "%z"
        text += f"{match['gap']}{zone}"
    return text


def _dates(dates: Sequence[str]) -> list[str]:
    """The formats of dates that go by the shape of the first one."""
    first = dates[0] if dates else ""
    if re.fullmatch(r"\d{8}", first):
        return ["%Y%m%d", "%d%m%Y", "%m%d%Y"] if not first.startswith(("19", "20")) else ["%Y%m%d"]
    if re.fullmatch(r"\d{7}", first):
        return ["%Y%j"]
    numeric = _NUMERIC.fullmatch(first)
    if numeric is not None:
        sign, begin, end = numeric[2], len(numeric[1]), len(numeric[4])
        if begin == 4:
            orders = [("%Y", "%m", "%d")]
        elif sign == ".":  # countries that write dots put the day first
            orders = [("%d", "%m", "%Y" if end == 4 else "%y")]
        elif end == 4:
            orders = [("%d", "%m", "%Y"), ("%m", "%d", "%Y")]
        else:
            orders = [("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d")]
        return [sign.join(order) for order in orders]
    for pattern, text in _NAMED:
        match = pattern.fullmatch(first)
        if match is not None:
            return [text.format(match[1])]
    return []


def _valid(values: Sequence[str], formats: Iterable[str]) -> list[str]:
    """Those formats that every text fits."""
    texts = [value.strip() for value in values]
    return [pattern for pattern in formats if texts and parse(texts, pattern).notna().all()]


def _literal(text: str) -> str:
    return text.replace("%", "%%")
