"""Cron expressions of five fields, as EventBridge Scheduler takes them; pure.

AWS has six fields, counts weekdays from 1 (Sunday), and takes either days of the month or days of
the week, never both. Cron takes both: a day must match either field if both are restricted, and
both fields if one of them begins with ``*``. So one cron expression may become several of AWS's,
which are due at the same times together. If two are due at once, there are two messages, and the
second changes nothing.

The fields are made from what the cron parser understood, not from the text. So schedules on AWS are
due when those of the local target are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from cronsim import CronSim, CronSimError

from tidegate.errors import ConfigurationError

_DAYS_IN_MONTH = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TRIAL = datetime(2024, 1, 1, tzinfo=timezone.utc)


def aws_expressions(expression: str) -> tuple[str, ...]:
    """AWS's expressions that together are due when ``expression`` is, in UTC.

    Raises:
        ConfigurationError: it is not a cron expression, is never due, or AWS has no equivalent.
    """
    try:
        cron = CronSim(expression, _TRIAL)
    except CronSimError as error:
        raise _cannot(expression, str(error)) from None
    minutes, hours = _numbers(cron.minutes, 0, 59), _numbers(cron.hours, 0, 23)
    months = _numbers(cron.months, 1, 12)
    found = tuple(
        f"cron({minutes} {hours} {day} {months} {weekday} *)"
        for day, weekday in _days(expression, cron)
    )
    if not found:
        raise _cannot(expression, "there is no such day in these months")
    return found


def _days(expression: str, cron: CronSim) -> list[tuple[str, str]]:
    """Pairs of AWS's day-of-month and day-of-week, one of which is always ``?``."""
    weekdays = {_from_sunday(item) for item in cron.weekdays}
    any_day = set(range(1, 32)) <= cron.days
    any_weekday = set(range(7)) <= weekdays
    by_day = [(field, "?") for field in _day_fields(cron)]
    by_weekday = [("?", field) for field in _weekday_fields(weekdays)]
    if any_day and any_weekday:
        return [("*", "?")]
    if not cron.day_and:
        return [("*", "?")] if any_day or any_weekday else by_day + by_weekday
    if any_weekday:
        return by_day
    if any_day:
        return by_weekday
    raise _cannot(
        expression,
        "one of its fields for days begins with '*', so both fields must match; a schedule on AWS"
        " takes only one of them",
    )


def _from_sunday(item: int | tuple[int, int]) -> int | tuple[int, int]:
    """The weekday counted from 0 for Sunday, which cron also writes as 7."""
    return item % 7 if isinstance(item, int) else (item[0] % 7, item[1])


def _day_fields(cron: CronSim) -> list[str]:
    longest = max(_DAYS_IN_MONTH[month] for month in cron.months)
    days = {day for day in cron.days if 0 < day <= longest}
    fields = [_numbers(days, 1, 31)] if days else []
    if CronSim.LAST in cron.days:
        fields.append("L")
    if CronSim.LAST_WEEKDAY in cron.days:
        fields.append("LW")
    return fields


def _weekday_fields(weekdays: Iterable[int | tuple[int, int]]) -> list[str]:
    plain = {item + 1 for item in weekdays if isinstance(item, int)}
    fields = [_numbers(plain, 1, 7)] if plain else []
    for day, nth in sorted(item for item in weekdays if isinstance(item, tuple)):
        # AWS takes only one of these in a field, and nothing else.
        fields.append(f"{day + 1}L" if nth == CronSim.LAST else f"{day + 1}#{nth}")
    return fields


def _numbers(values: Iterable[int], least: int, most: int) -> str:
    """A list with ranges. The longest one fits into AWS's limit of 256 characters."""
    chosen = sorted(set(values))
    if len(chosen) == most - least + 1:
        return "*"
    parts: list[str] = []
    begin = end = chosen[0]
    for value in [*chosen[1:], None]:
        if value == end + 1:
            end = value
            continue
        parts.append(str(begin) if begin == end else f"{begin}-{end}")
        if value is not None:
            begin = end = value
    return ",".join(parts)


def _cannot(expression: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the schedule {expression!r} is not possible on AWS",
        why=why,
        next="write five fields: minute, hour, day of month, month, day of week, as in `0 2 * * *`",
    )
