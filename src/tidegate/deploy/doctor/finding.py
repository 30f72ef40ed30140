"""The result of a check, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError

State = Literal["ok", "warning", "problem", "unknown"]
"""problem: a deployment will fail. warning: it will work, but maybe not as intended. unknown: the
check was not possible."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    about: str
    """What was checked, in a word or two."""
    state: State
    """The result."""
    what: str
    """What was found."""
    next: str = ""
    """What to do about it."""
    link: str = ""
    """The page where to do it."""


def ok(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """A finding without a problem."""
    return Finding(about, "ok", what, next, link)


def warning(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """A deployment would work, but maybe not as intended."""
    return Finding(about, "warning", what, next, link)


def problem(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """A deployment would fail."""
    return Finding(about, "problem", what, next, link)


def unknown(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """The check was not possible."""
    return Finding(about, "unknown", what, next, link)


def of_error(about: str, error: TidegateError, state: State = "unknown") -> Finding:
    """The finding for an error."""
    what = ": ".join(part for part in (error.what, error.why) if part)
    return Finding(about, state, what, error.next)
