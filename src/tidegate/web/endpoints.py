"""What a page is: a function from parameters to what is shown; and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tidegate.errors import UsageError

if TYPE_CHECKING:
    from tidegate.web.site import Site

LONGEST = 1000
"""Characters of a parameter."""


class NotFound(UsageError):
    """What an address names does not exist."""


@dataclass(frozen=True)
class Page:
    """What is shown."""

    template: str
    """The file in ``templates/``."""
    title: str
    """The title, as in the browser's tab."""
    context: Mapping[str, Any]
    """What the template is given."""
    data: Any
    """The same for the JSON API."""
    refresh: float = 0.0
    """After how many seconds the page updates itself; 0: it does not."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a page, for its documentation."""

    name: str
    """Its name."""
    about: str
    """What it does."""
    within_path: bool = False
    """Whether it is a part of the path, and not of the query."""


@dataclass(frozen=True)
class Endpoint:
    """A page, which is also there as JSON below ``/api``."""

    name: str
    """A word for links."""
    path: str
    """Its path, with parameters as Starlette writes them."""
    summary: str
    """What it shows, in a sentence."""
    view: Callable[[Site, Parameters], Page]
    """Makes it."""
    parameters: tuple[Parameter, ...] = ()
    """Its parameters."""
    heading: str = ""
    """Its name in the navigation; "": it is not there."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of a request; each reader raises UsageError for a wrong value."""

    path: Mapping[str, str] = field(default_factory=dict)
    """Those in the path."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Those in the query."""
    who: str = ""
    """The name that this reader gave before, for forms."""

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        value = self.path.get(name, self.query.get(name, "")) or default
        if len(value) > LONGEST:
            raise UsageError(f"{name} is too long", next=f"at most {LONGEST} characters")
        return value

    def one_of(self, name: str, known: tuple[str, ...], default: str = "") -> str:
        """One of a few words, or ``default``."""
        value = self.text(name, default)
        if value and value not in known:
            raise UsageError(f"{name} cannot be {value!r}", next=f"use one of {', '.join(known)}")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number."""
        text = self.text(name, str(default))
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
        if value is None or not least <= value <= most:
            raise UsageError(f"{name} cannot be {text!r}", next=f"use {least} to {most}")
        return value

    def day(self, name: str) -> date | None:
        """A day in UTC, as in 2026-11-28."""
        text = self.text(name)
        if not text:
            return None
        try:
            found = date.fromisoformat(text)
        except ValueError:
            found = None
        if found is None or not 1900 <= found.year <= 2200:
            raise UsageError(f"{name} cannot be {text!r}", next="write a day as in 2026-11-28")
        return found

    def begin(self, name: str) -> datetime | None:
        """The begin of a day in UTC."""
        day = self.day(name)
        return None if day is None else midnight(day)

    def end(self, name: str) -> datetime | None:
        """The end of a day in UTC: what is before this is on that day, or earlier."""
        day = self.day(name)
        return None if day is None else midnight(day) + timedelta(days=1)

    def moment(self, name: str) -> datetime | None:
        """A time, as in 2026-11-28T12:00:00+00:00; UTC where it has no zone."""
        text = self.text(name)
        if not text:
            return None
        try:
            found = datetime.fromisoformat(text.replace(" ", "+"))
            found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
            return found.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise UsageError(
                f"{name} cannot be {text!r}", next="write a time as in 2026-11-28T12:00:00"
            ) from None


def midnight(day: date) -> datetime:
    """The begin of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
