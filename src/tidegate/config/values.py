"""Check single values: each function takes a value as written and returns it as it is used.

A message continues the key's name: ``timeout`` "must be a whole number of seconds, not 'abc'".
"""

from __future__ import annotations

import difflib
import math
import re
import string
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone

from cronsim import CronSim, CronSimError

from tidegate.runtime.runs import parse_window

PRESETS = {
    "Hourly": "0 * * * *",
    "Daily": "0 2 * * *",
    "Weekly": "30 2 * * 0",
    "Monthly": "0 3 1 * *",
}
"""The schedules with a name, as cron expressions in UTC."""

WINDOWS = {"Hourly": "hour", "Daily": "day", "Weekly": "week", "Monthly": "month"}
"""The default length of a VAP's windows for each of them; for other schedules it is a day."""

TIMES = ("begin", "end", "time")
"""The placeholders of ``inputs``."""

_TRIAL = datetime(2022, 4, 5, 6, 7, 8, tzinfo=timezone.utc)
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


class InvalidValue(ValueError):
    """A value is wrong: what is wrong, and what to write instead ("": the key's example)."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def show(value: object) -> str:
    """A value as it is shown in messages."""
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}…{text[-1]}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    words = {known_word.lower(): known_word for known_word in known}
    found = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return words[found[0]] if found else None


def text(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str):
        fix = "write it in quotes" if isinstance(value, dict) else ""
        raise InvalidValue(f"must be text, not {show(value)}", fix)
    if not value.strip():
        raise InvalidValue("is empty")
    if value != value.strip():
        raise InvalidValue("begins or ends with a space", f"write {show(value.strip())}")
    return value


def variable(value: object) -> str:
    """The value of an environment variable: any text."""
    if not isinstance(value, str):
        raise InvalidValue(f"must be text, not {show(value)}", "write one text, in quotes")
    return value


def yes_or_no(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise InvalidValue(f"must be true or false, not {show(value)}", "write true or false")
    return value


def choice(*words: str) -> Callable[[object], str]:
    """One of these words, spelled exactly so."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        meant = nearest(value, words) if isinstance(value, str) else None
        fix = f"write '{meant}'" if meant else f"write {' or '.join(words)}"
        raise InvalidValue(f"must be {' or '.join(words)}, not {show(value)}", fix)

    return check


def whole(unit: str, least: int, most: int) -> Callable[[object], int]:
    """A whole number between ``least`` and ``most``."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            fix = ""
            if unit == "of seconds" and (seconds := _seconds(value)) is not None:
                fix = f"write {seconds}"
            raise InvalidValue(
                f"must be a whole number{' ' * bool(unit)}{unit}, not {show(value)}", fix
            )
        _within(value, least, most)
        return value

    return check


def number(unit: str, least: int, most: int) -> Callable[[object], float]:
    """A number between ``least`` and ``most``."""

    def check(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise InvalidValue(f"must be a number {unit}, not {show(value)}")
        if not math.isfinite(value):
            raise InvalidValue(f"must be a finite number {unit}")
        _within(value, least, most)
        return float(value)

    return check


def _within(value: float, least: int, most: int) -> None:
    if value < least:
        raise InvalidValue(f"is {value}, less than the minimum, {least}", f"write {least} or more")
    if value > most:
        raise InvalidValue(f"is {value}, more than the maximum, {most}", f"write {most} or less")


def _seconds(value: object) -> int | None:
    match = re.fullmatch(r"(\d{1,9})\s*(s|min|h|d)?", value) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2] or "s"] if match else None


def duration(value: object) -> int:
    """Seconds, as a number or such as ``90s``, ``20min``, ``6h``, ``1d``."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else _seconds(value)
    if seconds is None:
        what = f"must be a number of seconds, or such as 20min, 6h or 1d, not {show(value)}"
        raise InvalidValue(what)
    _within(seconds, 1, 366 * 86_400)
    return seconds


_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


def quiet(value: object) -> str:
    """Two times of a day, such as ``22:00-06:00``."""
    written = text(value)
    if not re.fullmatch(rf"{_CLOCK}-{_CLOCK}", written):
        raise InvalidValue(f"must be two times such as 22:00-06:00, not {show(value)}")
    return written


def secret_source(value: object) -> str:
    """Where a secret is: the name of an environment variable, or ``file:PATH``."""
    written = text(value)
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*|file:.+", written):
        return written
    if "://" in written or "@" in written:
        # What is written may be a password: it is not repeated in the message.
        what = "must name where the address is, not hold the address: it may contain a password"
    else:
        what = f"must be the name of an environment variable or file:PATH, not {show(value)}"
    fix = "put the address into a variable such as TIDEGATE_NOTIFY, and write its name here"
    raise InvalidValue(what, fix)


def window(value: object) -> str:
    """hour, day, week, month, or such as ``30min``, ``6h``, ``2d``."""
    what = f"must be hour, day, week, month, or such as 30min, 6h or 2d, not {show(value)}"
    if not isinstance(value, str):
        raise InvalidValue(what)
    try:
        parse_window(value)
    except ValueError:
        meant = nearest(value, WINDOWS.values())
        raise InvalidValue(what, f"write '{meant}'" if meant else "") from None
    return value


def since(value: object) -> datetime:
    """A date, or a date with a time; UTC unless it has a time zone."""
    if isinstance(value, datetime):
        moment: datetime | None = value
    else:
        moment = _moment(value) if isinstance(value, str) else None
    if moment is None:
        raise InvalidValue(f"must be a date or a time, not {show(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    if not 1970 <= moment.year <= 2200:
        raise InvalidValue(f"must lie between 1970 and 2200, not in {moment.year}")
    return moment.astimezone(timezone.utc)


def _moment(written: str) -> datetime | None:
    for form in ("%Y%m%d", "%Y%m%d.%H%M%S"):
        try:
            return datetime.strptime(written, form).replace(tzinfo=timezone.utc)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return None


def schedule(value: object) -> str:
    """The name of a preset, or a cron expression of five fields; returned as written."""
    if not isinstance(value, str):
        raise InvalidValue(f"must be {', '.join(PRESETS)} or a cron expression, not {show(value)}")
    if value in PRESETS:
        return value
    fields = value.split()
    if len(fields) < 2:
        meant = nearest(value, PRESETS)
        what = f"must be {', '.join(PRESETS)} or a cron expression, not {show(value)}"
        raise InvalidValue(what, f"write '{meant}'" if meant else "")
    if value.startswith(("cron(", "rate(")):
        what = f"is an AWS expression, {show(value)}; here it is cron's five fields, in UTC"
        raise InvalidValue(what, "write minute, hour, day, month, weekday, such as '0 2 * * *'")
    if len(fields) != 5:
        what = f"is a cron expression of {len(fields)} fields, {show(value)}; it takes five"
        fix = "write minute, hour, day, month, weekday; no seconds and no year"
        raise InvalidValue(what, fix)
    try:
        CronSim(value, _TRIAL)
    except CronSimError as error:
        raise InvalidValue(f"is not a cron expression, {show(value)}: {error}") from None
    return value


def cron(schedule: str) -> str:
    """The cron expression of a schedule, which may be the name of a preset."""
    return PRESETS.get(schedule, schedule)


def argument(value: object) -> str:
    """One of ``inputs``: text, with ``{begin}``, ``{end}``, ``{time}`` and strftime's formats."""
    written = text(value)
    try:
        parts = list(string.Formatter().parse(written))
    except ValueError as error:
        raise InvalidValue(f"has unmatched brackets, {show(written)}: {error}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in TIMES or conversion or "{" in (form or ""):
            what = f"has an unknown placeholder in {show(written)}"
            raise InvalidValue(what, "write {begin:%Y%m%d}, {end:%Y%m%d} or {time:%H%M}")
        # Other directives depend on the C library; some produce text of any length.
        if re.search(r"%[^A-Za-z%]|%$", form or ""):
            raise InvalidValue(f"has an unknown format in {show(written)}", "write %Y, %m, %d")
    written.format(begin=_TRIAL, end=_TRIAL + timedelta(days=1), time=_TRIAL)
    return written


def pattern(value: object) -> str:
    """One of ``ignore``: a pattern with ``*``, ``?`` and ``[…]`` for names of files."""
    written = _relative(value, "a pattern for names of files")
    if written.startswith("/"):
        what = f"is an absolute path: {show(written)}"
        raise InvalidValue(what, "write it relative to the config's 'input_bucket_path'")
    return written


def name_pattern(value: object) -> str:
    """A file's name with ``*``, of ``companions``."""
    written = text(value)
    if "/" in written or "\\" in written:
        what = f"is a path, not the name of a file: {show(written)}"
        raise InvalidValue(what, "companions lie in the same folder: leave the folder out")
    return written


def group_by(value: object) -> str:
    """``folder``, ``hour``, ``day`` or a regular expression."""
    written = text(value)
    if written in ("folder", "hour", "day"):
        return written
    try:
        expression = re.compile(written)
    except re.error as error:
        raise InvalidValue(f"is no regular expression: {error}: {show(written)}") from None
    if not re.search(r"[][\\.*+?(){}|^$]", written):
        meant = nearest(written, ("folder", "hour", "day"))
        fix = f"write '{meant}'" if meant else "write folder, hour, day, or an expression"
        raise InvalidValue(f"is one word, which puts all files into one group: {written!r}", fix)
    if expression.fullmatch(""):
        raise InvalidValue(f"also fits an empty text, so it groups nothing: {show(written)}")
    return written


def input_path(value: object) -> str:
    """A folder of the input bucket, without a leading ``./``; returned with a trailing ``/``."""
    written = _relative(value, "a folder of the input bucket")
    if written.startswith("/") or re.match(r"[A-Za-z]:", written):
        inside = re.sub(r"^([A-Za-z]:)?/*(\./)*", "", written)
        what = f"is an absolute path: {show(value)}"
        fix = f"write {show(inside)}" if inside else "write a folder"
        raise InvalidValue(what, f"{fix}: it lies in the input bucket, or in input/")
    while written.startswith("./"):
        written = written[2:].lstrip("/")
    written = written.removesuffix("/")
    if written in ("", "."):
        raise InvalidValue(f"is not a folder: {show(value)}")
    if any(part in ("", ".", "..") for part in written.split("/")):
        raise InvalidValue(f"has an empty part, '.' or '..': {show(value)}")
    if "*" in written or "?" in written:
        raise InvalidValue(f"is a folder, not a pattern: {show(value)}", "write the folder alone")
    return f"{written}/"


def repository_path(value: object) -> str:
    """A file of the pipelines repository, relative to its root."""
    written = _relative(value, "a path in the pipelines repository")
    if written.startswith("/"):
        fix = "write it relative to the repository's root, such as 'pipelines/…/pipeline.yaml'"
        raise InvalidValue(f"is an absolute path: {show(value)}", fix)
    while written.startswith("./"):
        written = written[2:]
    if any(part in ("", ".", "..") for part in written.split("/")):
        raise InvalidValue(f"has an empty part, '.' or '..': {show(value)}")
    return written


def _relative(value: object, what: str) -> str:
    written = text(value)
    if "\\" in written:
        raise InvalidValue(
            f"has backslashes: {show(value)}", f"write {show(written.replace(chr(92), '/'))}"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", written):
        raise InvalidValue(f"is {what}, not an address: {show(value)}")
    if len(written.encode()) > 512:
        raise InvalidValue("is longer than 512 bytes", "write a shorter one")
    return written


def identifier(value: object) -> str:
    """The name of a pipeline or config, which becomes part of names in AWS."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", written):
        better = re.sub(r"[^A-Za-z0-9_-]+", "_", written).lstrip("-") or "lidar"
        what = f"has characters that AWS would refuse: {show(value)}; use letters, digits, _ and -"
        raise InvalidValue(what, f"write {show(better[:64])}")
    if len(written) > 64:
        raise InvalidValue("is longer than 64 characters", "write a shorter name")
    return written


def env_name(value: object) -> str:
    """The name of an environment variable."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", written):
        what = f"is not a valid name of an environment variable: {show(value)}"
        raise InvalidValue(what, "write letters, digits and '_'")
    if written.startswith(("AWS_LAMBDA_", "LAMBDA_")) or written in _RESERVED:
        raise InvalidValue(f"is one that AWS or Tidegate sets: {show(value)}", "remove it")
    return written


_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PIPELINE_NAME",
        "CONFIG_ID",
        "CODE_VERSION",
        "TSDAT_S3_BUCKET_NAME",
        "TSDAT_STORAGE_ROOT",
        "BRANCH",
    }
)


def python(value: object) -> str:
    """A version of Python such as ``3.11``, or the path of an interpreter."""
    written = text(value)
    if not re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", written) and "/" not in written:
        raise InvalidValue(f"must be a version or an interpreter's path, not {show(value)}")
    return written
