"""Cron's five fields and AWS's six are due at the same times."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import islice

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tidegate.deploy.design.schedules import aws_expressions
from tidegate.errors import ConfigurationError

# AWS's rules, written down on their own.


def _field(text: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        begin, dash, end = part.partition("-")
        if part == "*":
            found |= set(range(least, most + 1))
        else:
            found |= set(range(int(begin), int(end if dash else begin) + 1))
    assert all(least <= value <= most for value in found)
    return found


def _is_day(text: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if text == "L":
        return day.day == last
    if text == "LW":
        working = [d for d in range(1, last + 1) if day.replace(day=d).weekday() < 5]
        return day.day == working[-1]
    return day.day in _field(text, 1, 31)


def _is_weekday(text: str, day: date) -> bool:
    from_sunday = (day.weekday() + 1) % 7 + 1
    last = calendar.monthrange(day.year, day.month)[1]
    if text.endswith("L"):
        return from_sunday == int(text[:-1]) and day.day + 7 > last
    if "#" in text:
        weekday, nth = map(int, text.split("#"))
        return from_sunday == weekday and (day.day - 1) // 7 + 1 == nth
    return from_sunday in _field(text, 1, 7)


def _due(expression: str, begin: date, days: int) -> Iterator[datetime]:
    assert expression.startswith("cron(")
    assert expression.endswith(")")
    assert len(expression) <= 256
    minutes, hours, day_of_month, months, day_of_week, year = expression[5:-1].split()
    assert year == "*"
    assert (day_of_month == "?") != (day_of_week == "?"), "exactly one of them"
    for n in range(days):
        day = begin + timedelta(days=n)
        if day.month not in _field(months, 1, 12):
            continue
        if not (
            _is_weekday(day_of_week, day) if day_of_month == "?" else _is_day(day_of_month, day)
        ):
            continue
        for hour in sorted(_field(hours, 0, 23)):
            for minute in sorted(_field(minutes, 0, 59)):
                yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=timezone.utc)


def first_due(expressions: tuple[str, ...], begin: date, count: int) -> list[datetime]:
    days = 366 * 3
    times = {time for one in expressions for time in islice(_due(one, begin, days), count)}
    return sorted(times)[:count]


def first_due_of_cron(expression: str, begin: date, count: int) -> list[datetime]:
    start = datetime(begin.year, begin.month, begin.day, tzinfo=timezone.utc)
    end = start + timedelta(days=366 * 3)
    found = []
    for time in CronSim(expression, start - timedelta(seconds=1)):
        if time >= end or len(found) == count:
            break
        found.append(time)
    return found


def _values(least: int, most: int, names: str = "") -> st.SearchStrategy[str]:
    single = st.integers(least, most).map(str)
    if names:
        single |= st.sampled_from(names.split())
    ranges = st.tuples(st.integers(least, most), st.integers(least, most)).map(
        lambda pair: f"{min(pair)}-{max(pair)}"
    )
    plain = single | ranges | st.just("*")
    part = plain | st.tuples(plain, st.integers(1, most)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.just("*") | part | st.lists(part, min_size=1, max_size=3).map(",".join)


WEEKDAYS = "SUN MON tue WED thu FRI Sat"
MONTHS = "JAN feb Mar APR may JUN JUL AUG SEP OCT NOV DEC"
SPECIAL = st.integers(0, 7).flatmap(
    lambda day: st.integers(1, 5).map(lambda nth: f"{day}#{nth}") | st.just(f"{day}L")
)
EXPRESSIONS = st.tuples(
    _values(0, 59),
    _values(0, 23),
    _values(1, 31) | st.sampled_from(["L", "LW", "L,15", "1,LW"]),
    _values(1, 12, MONTHS),
    _values(0, 7, WEEKDAYS) | SPECIAL | st.tuples(SPECIAL, SPECIAL).map(",".join),
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.dates(date(2023, 1, 1), date(2029, 1, 1)))
def test_due_at_the_same_times(expression: str, begin: date) -> None:
    try:
        CronSim(expression, datetime(2024, 1, 1, tzinfo=timezone.utc))
    except CronSimError:
        assume(False)
    refused, expressions = "", ()
    try:
        expressions = aws_expressions(expression)
    except ConfigurationError as error:
        refused = error.why
    if refused:
        _, _, day, _, weekday = expression.split()
        at_once = day.startswith("*") or weekday.startswith("*")
        assert (at_once and "both fields must match" in refused) or "no such day" in refused
    else:
        assert first_due(expressions, begin, 12) == first_due_of_cron(expression, begin, 12)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 * * * *", ["cron(0 * * * ? *)"]),
        ("0 2 * * *", ["cron(0 2 * * ? *)"]),
        ("30 2 * * 0", ["cron(30 2 ? * 1 *)"]),
        ("0 3 1 * *", ["cron(0 3 1 * ? *)"]),
        ("15 */6 * * *", ["cron(15 0,6,12,18 * * ? *)"]),
        ("*/20 8-17 * JAN-MAR mon-fri", ["cron(0,20,40 8-17 ? 1-3 2-6 *)"]),
        ("0 0 * * 7", ["cron(0 0 ? * 1 *)"]),
        ("0 0 * * 0-7", ["cron(0 0 * * ? *)"]),
        ("0 0 13 * 5", ["cron(0 0 13 * ? *)", "cron(0 0 ? * 6 *)"]),
        ("0 0 L * *", ["cron(0 0 L * ? *)"]),
        ("0 0 * * 5L", ["cron(0 0 ? * 6L *)"]),
        ("0 0 * * 1#1,3#2", ["cron(0 0 ? * 2#1 *)", "cron(0 0 ? * 4#2 *)"]),
        ("0 0 31 2 1", ["cron(0 0 ? 2 2 *)"]),
    ],
)
def test_as_written(expression: str, expected: list[str]) -> None:
    assert list(aws_expressions(expression)) == expected


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 0 */2 * 1", "both fields must match"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 * *", "Wrong number of fields"),
        ("61 0 * * *", "Bad minute"),
    ],
)
def test_impossible(expression: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        aws_expressions(expression)
    assert why in caught.value.why
    assert expression in caught.value.what
