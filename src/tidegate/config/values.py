"""What a single value must be: each function takes it as written and gives it as it is used.

Messages continue the key's name: ``timeout`` "must be a whole number of seconds, not 'abc'".
"""

from __future__ import annotations

import difflib
import ipaddress
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
"""The schedules that have a name, as cron expressions in UTC."""

WINDOWS = {"Hourly": "hour", "Daily": "day", "Weekly": "week", "Monthly": "month"}
"""How long a VAP's windows are by default, for each of them; a day for any other schedule."""

TIMES = ("begin", "end", "time")
"""What the placeholders of ``inputs`` may name."""

_TRIAL = datetime(2022, 4, 5, 6, 7, 8, tzinfo=timezone.utc)
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_PLACEHOLDER = re.compile(
    r"X{4,}|<[^>]*>|\b(your|my)[-_ ].*\bhere\b|\byour[-_ ]|fill[-_ ]?me|change[-_ ]?me"
    r"|replace[-_ ]?me|^TODO$|\.\.\.|…",
    re.IGNORECASE,
)


class Wrong(ValueError):
    """A value that cannot be used: what is wrong, and what to write ("" for the key's example)."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def show(value: object) -> str:
    """A value in the words of a message."""
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
    """Text, not empty."""
    if not isinstance(value, str):
        fix = "write it in quotes" if isinstance(value, dict) else ""
        raise Wrong(f"must be text, not {show(value)}", fix)
    if not value.strip():
        raise Wrong("is empty")
    if value != value.strip():
        raise Wrong("begins or ends with a blank", f"write {show(value.strip())}")
    return value


def variable(value: object) -> str:
    """The value of an environment variable: any text."""
    if not isinstance(value, str):
        raise Wrong(f"must be text, not {show(value)}", "write one text, in quotes")
    return value


def yes_or_no(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {show(value)}", "write true or false")
    return value


def choice(*words: str) -> Callable[[object], str]:
    """One of the words, in exactly this spelling."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        meant = nearest(value, words) if isinstance(value, str) else None
        fix = f"write '{meant}'" if meant else f"write {' or '.join(words)}"
        raise Wrong(f"must be {' or '.join(words)}, not {show(value)}", fix)

    return check


def whole(unit: str, least: int, most: int) -> Callable[[object], int]:
    """A whole number between ``least`` and ``most``."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            fix = ""
            if unit == "of seconds" and (seconds := _seconds(value)) is not None:
                fix = f"write {seconds}"
            raise Wrong(f"must be a whole number{' ' * bool(unit)}{unit}, not {show(value)}", fix)
        _within(value, least, most)
        return value

    return check


def number(unit: str, least: int, most: int) -> Callable[[object], float]:
    """A number between ``least`` and ``most``."""

    def check(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Wrong(f"must be a number {unit}, not {show(value)}")
        if not math.isfinite(value):
            raise Wrong(f"must be a finite number {unit}")
        _within(value, least, most)
        return float(value)

    return check


def _within(value: float, least: int, most: int) -> None:
    if value < least:
        raise Wrong(f"is {value}, less than the least, {least}", f"write {least} or more")
    if value > most:
        raise Wrong(f"is {value}, more than the most, {most}", f"write {most} or less")


def _seconds(value: object) -> int | None:
    match = re.fullmatch(r"(\d{1,9})\s*(s|min|h|d)?", value) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2] or "s"] if match else None


def duration(value: object) -> int:
    """Seconds, as a number or such as ``90s``, ``20min``, ``6h``, ``1d``."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else _seconds(value)
    if seconds is None:
        what = f"must be a number of seconds, or such as 20min, 6h or 1d, not {show(value)}"
        raise Wrong(what)
    _within(seconds, 1, 366 * 86_400)
    return seconds


def window(value: object) -> str:
    """hour, day, week, month, or such as ``30min``, ``6h``, ``2d``."""
    what = f"must be hour, day, week, month, or such as 30min, 6h or 2d, not {show(value)}"
    if not isinstance(value, str):
        raise Wrong(what)
    try:
        parse_window(value)
    except ValueError:
        meant = nearest(value, WINDOWS.values())
        raise Wrong(what, f"write '{meant}'" if meant else "") from None
    return value


def since(value: object) -> datetime:
    """A date, or a date with a time; in UTC unless it says otherwise."""
    if isinstance(value, datetime):
        moment: datetime | None = value
    else:
        moment = _moment(value) if isinstance(value, str) else None
    if moment is None:
        raise Wrong(f"must be a date or a time, not {show(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    if not 1970 <= moment.year <= 2200:
        raise Wrong(f"must lie between 1970 and 2200, not in {moment.year}")
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
    """A preset's name, or a cron expression of five fields; as it is written."""
    if not isinstance(value, str):
        raise Wrong(f"must be {', '.join(PRESETS)} or a cron expression, not {show(value)}")
    if value in PRESETS:
        return value
    fields = value.split()
    if len(fields) < 2:
        meant = nearest(value, PRESETS)
        what = f"must be {', '.join(PRESETS)} or a cron expression, not {show(value)}"
        raise Wrong(what, f"write '{meant}'" if meant else "")
    if value.startswith(("cron(", "rate(")):
        what = f"is an AWS expression, {show(value)}; here it is cron's five fields, in UTC"
        raise Wrong(what, "write minute, hour, day, month, weekday, such as '0 2 * * *'")
    if len(fields) != 5:
        what = f"is a cron expression of {len(fields)} fields, {show(value)}; it takes five"
        fix = "write minute, hour, day, month, weekday; no seconds and no year"
        raise Wrong(what, fix)
    try:
        CronSim(value, _TRIAL)
    except CronSimError as error:
        raise Wrong(f"is no cron expression, {show(value)}: {error}") from None
    return value


def cron(schedule: str) -> str:
    """The cron expression of a schedule that is a preset's name or already one."""
    return PRESETS.get(schedule, schedule)


def argument(value: object) -> str:
    """One of ``inputs``: text, with ``{begin}``, ``{end}``, ``{time}`` and strftime's formats."""
    written = text(value)
    try:
        parts = list(string.Formatter().parse(written))
    except ValueError as error:
        raise Wrong(f"has brackets that do not fit, {show(written)}: {error}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in TIMES or conversion or "{" in (form or ""):
            what = f"has a placeholder that is not known in {show(written)}"
            raise Wrong(what, "write {begin:%Y%m%d}, {end:%Y%m%d} or {time:%H%M}")
        # Beyond plain directives, strftime does as each C library likes, some at any length.
        if re.search(r"%[^A-Za-z%]|%$", form or ""):
            raise Wrong(f"has a format that is not known in {show(written)}", "write %Y, %m, %d")
    written.format(begin=_TRIAL, end=_TRIAL + timedelta(days=1), time=_TRIAL)
    return written


def input_path(value: object) -> str:
    """A folder of the input bucket: no leading ``/`` or ``./``, a trailing ``/``."""
    written = _relative(value, "a folder of the input bucket")
    while written.startswith(("./", "/")):
        written = written[2:] if written.startswith("./") else written[1:]
    written = written.removesuffix("/")
    if written in ("", "."):
        raise Wrong(f"names no folder: {show(value)}")
    if any(part in ("", ".", "..") for part in written.split("/")):
        raise Wrong(f"has an empty part, '.' or '..' in it: {show(value)}")
    if "*" in written or "?" in written:
        raise Wrong(f"is a folder, not a pattern: {show(value)}", "write the folder alone")
    return f"{written}/"


def repository_path(value: object) -> str:
    """A file of the pipelines repository, relative to its root."""
    written = _relative(value, "a path in the pipelines repository")
    if written.startswith("/"):
        fix = "write it relative to the repository's root, such as 'pipelines/…/pipeline.yaml'"
        raise Wrong(f"is an absolute path: {show(value)}", fix)
    while written.startswith("./"):
        written = written[2:]
    if any(part in ("", ".", "..") for part in written.split("/")):
        raise Wrong(f"has an empty part, '.' or '..' in it: {show(value)}")
    return written


def _relative(value: object, what: str) -> str:
    written = text(value)
    if "\\" in written:
        raise Wrong(
            f"has backslashes: {show(value)}", f"write {show(written.replace(chr(92), '/'))}"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", written):
        raise Wrong(f"is {what}, not an address: {show(value)}")
    if len(written.encode()) > 512:
        raise Wrong("is longer than 512 bytes", "write a shorter one")
    return written


def identifier(value: object) -> str:
    """A pipeline's or a config's name: it becomes part of names in AWS."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", written):
        better = re.sub(r"[^A-Za-z0-9_-]+", "_", written).lstrip("-") or "lidar"
        what = f"has characters that AWS would refuse: {show(value)}; use letters, digits, _ and -"
        raise Wrong(what, f"write {show(better[:64])}")
    if len(written) > 64:
        raise Wrong("is longer than 64 characters", "write a shorter name")
    return written


def env_name(value: object) -> str:
    """The name of an environment variable."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", written):
        what = f"cannot be that of an environment variable: {show(value)}"
        raise Wrong(what, "write letters, digits and '_'")
    if written.startswith(("AWS_LAMBDA_", "LAMBDA_")) or written in _RESERVED:
        raise Wrong(f"is one that AWS or Tidegate sets: {show(value)}", "take it out")
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
        raise Wrong(f"must be a version or an interpreter's path, not {show(value)}")
    return written


def branch(value: object) -> str:
    """The name of a git branch."""
    written = text(value)
    if re.search(r"[\s~^:?*\[\\]|\.\.|//|@\{|^[-/]|[/.]$", written) or len(written) > 200:
        raise Wrong(f"is none that git allows: {show(value)}", "write the branch as git has it")
    return written


def for_aws(pattern: str, what: str) -> Callable[[object], str]:
    """Text that AWS or GitHub accepts as ``what``, and no placeholder."""

    def check(value: object) -> str:
        written = _filled_in(value)
        if not re.fullmatch(pattern, written):
            raise Wrong(f"must be {what}, not {show(value)}")
        return written

    return check


def account_id(value: object) -> str:
    """Twelve digits."""
    written = _filled_in(str(value) if type(value) is int else value)
    digits = re.sub(r"[\s-]", "", written)
    if not re.fullmatch(r"\d{12}", written, re.ASCII):
        fix = f"write '{digits}'" if re.fullmatch(r"\d{12}", digits, re.ASCII) else ""
        raise Wrong(f"must be the 12 digits of an AWS account, not {show(value)}", fix)
    return written


def bucket(value: object) -> str:
    """The name of an S3 bucket."""
    written = _filled_in(value)
    if written.startswith("s3://"):
        raise Wrong("must be the bucket's name, not its address", f"write {show(written[5:])}")
    rules = (
        (3 <= len(written) <= 63, "must have 3 to 63 characters"),
        (
            re.fullmatch(r"[a-z0-9.-]*", written),
            "takes only lower-case letters, digits, '-' and '.'",
        ),
        (
            re.fullmatch(r"[a-z0-9](.*[a-z0-9])?", written),
            "must begin and end with a letter or digit",
        ),
        (".." not in written, "must not have two dots in a row"),
        (not _is_address(written), "must not look like an IP address"),
        (
            not written.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
            and not written.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")),
            "begins or ends with letters that AWS keeps to itself",
        ),
    )
    for holds, rule in rules:
        if not holds:
            raise Wrong(f"{rule}; AWS would refuse the bucket name {show(value)}")
    return written


def _is_address(written: str) -> bool:
    try:
        ipaddress.IPv4Address(written)
    except ValueError:
        return False
    return True


def _filled_in(value: object) -> str:
    written = text(value)
    if _PLACEHOLDER.search(written):
        raise Wrong(f"still holds a placeholder, {show(value)}", "write your own, or take it out")
    return written
