"""What Tsdat's templates say about the names of products."""

from __future__ import annotations

import re

_OF_A_DAY = ("date", "start_date", "day")
_WITHIN_A_DAY = ("time", "hour", "minute", "second")


def period_of_names(path: str, filename: str) -> str:
    """ "day", where the names of data files have a date without a time; otherwise ""."""
    names = re.findall(r"{(\w+)}", f"{path}/{filename}")
    if any(name.endswith(_WITHIN_A_DAY) for name in names):
        return ""
    return "day" if any(name in _OF_A_DAY for name in names) else ""
