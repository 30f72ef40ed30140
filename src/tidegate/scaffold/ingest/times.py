"""Where the times of a sample are, and how they are written: found, or asked about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest import clocks, epochs
from tidegate.scaffold.ingest.numbers import to_numbers
from tidegate.scaffold.ingest.records import Column, Guess, Sample, Time
from tidegate.scaffold.ingest.split_times import find_split
from tidegate.scaffold.questions import Answers, Question

_TIME_NAMES = re.compile(
    r"time|date|datetime|timestamp|tmstamp|zeit|datum|epoch|unix|posix|gps|utc|ts|t|sec|secs|seconds|datenum",
    re.I,
)
_UTC = re.compile(r"(?<![a-z])(utc|gmt|zulu|epoch|unix|posix)(?![a-z])", re.I)
_OFFSET = re.compile(r"(?:UTC|GMT)\s*([+-])(\d{2}):?(\d{2})", re.I)
_ZONE_END = re.compile(r"(Z|UTC|GMT|%z)$")


def find_time(sample: Sample, answers: Answers) -> Time:
    """Find the times of a sample.

    Raises:
        UsageError: there are none, or an answer does not fit them.
        Unanswered: they are ambiguous, and nobody answers.
    """
    named = answers.get("time_column")
    columns = _named(sample, named) if named else sample.columns
    if not named:
        split = find_split(sample, answers)
        if split is not None:
            return _in_utc(sample, split, answers)
    written = answers.get("time_format")
    candidates = [(column, _formats(column, written)) for column in _by_name(columns)]
    texts = [(column, formats) for column, formats in candidates if formats]
    if texts:
        column, notes = _choose([column for column, _ in texts], answers)
        time = _text_time(column, dict(_keyed(texts))[column.source], answers)
        return _in_utc(sample, replace(time, guesses=(*notes, *time.guesses)), answers)
    if written:
        raise UsageError(
            f"no column fits the time format {written!r}",
            why=f"the columns are {', '.join(c.source for c in sample.columns)}",
            next="correct --time-format: it is that of Python's strptime",
        )
    return _number_time(sample, columns if named else _by_name(columns), answers)


def _named(sample: Sample, named: str) -> tuple[Column, ...]:
    found = tuple(column for column in sample.columns if named in (column.source, column.title))
    if not found:
        raise UsageError(
            f"there is no column {named!r}",
            why=f"the columns are {', '.join(column.source for column in sample.columns)}",
            next="correct --time-column",
        )
    return found


def _keyed(texts: Sequence[tuple[Column, list[str]]]) -> list[tuple[str, list[str]]]:
    return [(column.source, formats) for column, formats in texts]


def _by_name(columns: Sequence[Column]) -> list[Column]:
    """Columns with a time's name first; the others in the file's order."""
    return sorted(columns, key=lambda column: not _TIME_NAMES.search(column.title))


def _formats(column: Column, written: str | None) -> list[str]:
    values = _texts(column.values)
    if not values:
        return []
    if written:
        return [written] if clocks.parse(values, written).notna().all() else []
    return clocks.timestamp_formats(values) or clocks.date_formats(values)


def _texts(values: Any) -> list[str]:
    """The texts of a column; none where it holds times already or has gaps."""
    if str(values.dtype).startswith(("datetime", "float", "int")):
        return []
    return [str(value) for value in values if isinstance(value, str) and value.strip()]


def _choose(found: Sequence[Column], answers: Answers) -> tuple[Column, list[Guess]]:
    """One of several columns with times."""
    named = [column for column in found if _TIME_NAMES.search(column.title)]
    candidates = named or list(found)
    # A table of extremes holds the time of each as well: only the record's own time increases.
    rising = [column for column in candidates if len(set(column.values)) == len(column.values)]
    candidates = rising or candidates
    if len(candidates) == 1:
        return candidates[0], []
    names = tuple(column.source for column in candidates)
    question = Question(
        "time_column",
        f"several columns hold times ({', '.join(names)}): which is the time of the record?",
        f"--time-column {names[0]!r}",
        names,
        names[0],
    )
    answer = answers.to(question)
    chosen = next(column for column in candidates if column.source == answer)
    return chosen, [
        Guess(
            "time.name",
            answer,
            f"one of several; {answers.reason(question)}",
            answers.decided(question),
        )
    ]


def _text_time(column: Column, formats: Sequence[str], answers: Answers) -> Time:
    values = [str(value) for value in column.values]
    chosen, reason = choose_format(column.title, values, formats, answers)
    guesses = (Guess("time.format", chosen, reason),) if reason else ()
    digits = bool(values) and values[0].isdigit()
    times = clocks.parse(values, chosen)
    keywords = {"utc": True} if "%z" in chosen else {}
    return Time(
        (column.source,),
        times,
        format=chosen,
        keywords=keywords,
        texts=digits or chosen == clocks.ISO,
        guesses=guesses,
    )


def choose_format(
    title: str, values: Sequence[str], formats: Sequence[str], answers: Answers
) -> tuple[str, str]:
    """One of several formats that all texts fit, and the reason where it was no clear case.

    Raises:
        Unanswered: day and month may be exchanged, and nobody says which is which.
    """
    if len(formats) == 1:
        return formats[0], ""
    given = answers.get("date_order")
    if given is None:
        regular = [pattern for pattern in formats if _is_regular(clocks.parse(values, pattern))]
        if len(regular) == 1:
            return regular[0], "only so do the times follow each other at a regular interval"
    orders = {_order(pattern): pattern for pattern in formats}
    question = Question(
        "date_order",
        f"dates in {title!r} such as {values[0]!r} can be read in several ways: which comes first?",
        " or ".join(_ORDER_OPTIONS[order] for order in orders),
        tuple(orders),
    )
    answer = answers.to(question)
    return orders[answer], f"dates such as {values[0]} are ambiguous; {answers.reason(question)}"


_ORDER_OPTIONS = {
    "day": "--dayfirst",
    "month": "--monthfirst",
    "year": "--time-format '%y/%m/%d %H:%M:%S'",
}


def _order(pattern: str) -> str:
    return {"d": "day", "m": "month"}.get(pattern.lstrip()[1:2], "year")


def _is_regular(times: Any) -> bool:
    """Whether times increase, with the same step nearly always, over more than one date."""
    steps = pd.Series(times).diff().dropna()
    if len(steps) < 2 or len({time.date() for time in times}) < 2:
        return False
    usual = steps.mode()[0]
    return bool((steps > pd.Timedelta(0)).all() and (steps == usual).mean() > 0.8)


def _number_time(sample: Sample, columns: Sequence[Column], answers: Answers) -> Time:
    """Times that are numbers, or that the format itself has as times."""
    for column in columns:
        if str(column.values.dtype).startswith("datetime"):
            times = pd.DatetimeIndex(column.values)
            aware = times.tz is not None
            times = times.tz_convert("UTC").tz_localize(None) if aware else times
            counted = _since(str(sample.attrs.get("time_units", "")))
            time = Time((column.source,), times, keywords=counted)
            known = aware or bool(sample.coordinates) or sample.format == "netCDF"
            return time if known else _in_utc(sample, time, answers)
    kind = answers.get("time_kind")
    for column in columns:
        if not (_TIME_NAMES.search(column.title) or kind or len(columns) == 1):
            continue
        numbers = to_numbers(column.values, sample.decimal)
        if numbers.isna().any() or not numbers.is_monotonic_increasing or not len(numbers):
            continue
        found = epochs.plausible(numbers)
        if found or kind:
            return _count_time(sample, column, numbers, found, answers)
    names = ", ".join(column.source for column in sample.columns)
    raise UsageError(
        "no column with times was recognized",
        why=f"the columns are {names}",
        next="say which it is and how it is written: --time-column NAME with --time-format FORMAT"
        " (as of strptime) or --time-kind KIND",
    )


_SINCE = re.compile(r"(second|minute|hour|day|millisecond|microsecond)s? since (.+)", re.I)
_PANDAS_UNITS = {
    "second": "s",
    "minute": "m",
    "hour": "h",
    "day": "D",
    "millisecond": "ms",
    "microsecond": "us",
}


def _since(units: str) -> dict[str, str]:
    """CF's ``seconds since 2022-06-01`` for pandas; empty where the file has units itself."""
    match = _SINCE.fullmatch(units.strip())
    if match is None:
        return {}
    return {"unit": _PANDAS_UNITS[match[1].lower()], "origin": match[2].strip()}


def _count_time(
    sample: Sample, column: Column, numbers: Any, found: list[epochs.Epoch], answers: Answers
) -> Time:
    """Seconds or days since some moment; which one is asked where the name does not say."""
    keys = tuple(epoch.key for epoch in found)
    title = column.title.lower()
    by_name = [key for key in keys if key.split("-")[0] in title.replace("posix", "unix")]
    guesses: tuple[Guess, ...] = ()
    if answers.get("time_kind") is None and len(by_name) == 1:
        key, reason = by_name[0], "its title says so, and it makes plausible dates"
    elif answers.get("time_kind") is None and len(keys) == 1:
        key, reason = keys[0], "of the usual ways of counting only this makes plausible dates"
    else:
        sample_value = f"{numbers.iloc[0]:.10g}"
        meanings = "; ".join(f"{epoch.key}: {epoch.meaning}" for epoch in found)
        question = Question(
            "time_kind",
            f"numbers in {column.title!r} such as {sample_value} can count several things"
            f" ({meanings}): which?",
            " or ".join(f"--time-kind {key}" for key in keys),
            keys or tuple(epoch.key for epoch in epochs.EPOCHS),
        )
        key = answers.to(question)
        reason = answers.reason(question)
    epoch = next(epoch for epoch in epochs.EPOCHS if epoch.key == key)
    guesses = (Guess("time.kind", epoch.meaning, reason),)
    if key == "gps":
        ahead = epochs.gps_ahead(numbers)
        why = f"GPS time was {ahead} s ahead of UTC; correct this after the next leap second"
        guesses += (Guess("time.origin", f"{ahead} s earlier", why),)
    keywords = epochs.converter_keywords(epoch, numbers)
    times = epochs.convert(numbers, epoch)
    if keywords:
        return Time((column.source,), times, keywords=keywords, guesses=guesses)
    time = Time((column.source,), times, code=epochs.code(epoch, column.source), guesses=guesses)
    return _in_utc(sample, time, answers)


def _in_utc(sample: Sample, time: Time, answers: Answers) -> Time:
    """The same times in UTC: the zone is known from the file, or asked."""
    titles = [column.title for column in sample.columns if column.source in time.columns]
    if _ZONE_END.search(time.format):
        return time
    mentioned = next((title for title in titles if _UTC.search(title)), None)
    if mentioned and answers.get("timezone") is None:
        offset = _OFFSET.search(mentioned)
        said = (
            "UTC"
            if offset is None or offset[2] + offset[3] == "0000"
            else "".join((offset[1], offset[2], ":", offset[3]))
        )
        return _with_zone(time, said, Guess("time.timezone", said, f"{mentioned!r} says so"))
    question = Question(
        "timezone",
        "in which time zone are the times of the file?",
        "--timezone ZONE, such as UTC, -08:00 or Europe/Berlin",
        proposal="UTC",
    )
    zone = answers.to(question)
    guess = Guess(
        "time.timezone",
        zone,
        f"the file does not say; {answers.reason(question)}",
        answers.decided(question),
    )
    return _with_zone(time, zone, guess)


def _with_zone(time: Time, zone: str, guess: Guess) -> Time:
    local = _localize(time.values, zone)
    code = time.code
    if code and zone != "UTC":
        local_code = f'frame["time"].dt.tz_localize({zone!r})'
        code += (f'frame["time"] = {local_code}.dt.tz_convert("UTC").dt.tz_localize(None)',)
    return replace(time, values=local, timezone=zone, code=code, guesses=(*time.guesses, guess))


def _localize(times: Any, zone: str) -> Any:
    if zone == "UTC":
        return times
    try:
        return times.tz_localize(zone).tz_convert("UTC").tz_localize(None)
    except (KeyError, ValueError, LookupError) as error:
        unknown = "unknown" in str(error).lower() or isinstance(error, (KeyError, LookupError))
        raise UsageError(
            f"the times cannot be those of the time zone {zone!r}",
            why="there is no such zone" if unknown else str(error),
            next="name it as UTC, -08:00 or Europe/Berlin; loggers mostly keep one offset all year",
        ) from error
