"""What was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError

State = Literal["ok", "warning", "problem", "unknown"]
"""problem: a deployment will fail. warning: it will go through, and may not be what is wanted.
unknown: it could not be found out."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """What was looked at, in a word or two."""
    state: State
    """How it is."""
    what: str
    """What was found."""
    next: str = ""
    """What to do about it."""
    link: str = ""
    """The page on which to do it."""


def ok(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """All is well."""
    return Finding(about, "ok", what, next, link)


def warning(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """A deployment goes through, and may not be what is wanted."""
    return Finding(about, "warning", what, next, link)


def problem(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """A deployment would fail."""
    return Finding(about, "problem", what, next, link)


def unknown(about: str, what: str, next: str = "", link: str = "") -> Finding:
    """It could not be found out."""
    return Finding(about, "unknown", what, next, link)


def of_error(about: str, error: TidegateError, state: State = "unknown") -> Finding:
    """What an error says."""
    what = ": ".join(part for part in (error.what, error.why) if part)
    return Finding(about, state, what, error.next)
