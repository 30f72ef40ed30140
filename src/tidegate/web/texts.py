"""How values are written on a page: times, durations, sizes, and what failures mean; pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from markupsafe import Markup, escape

from tidegate.runtime.runs import FailureKind, RunRecord
from tidegate.runtime.wording import quantity

KINDS: dict[FailureKind, tuple[str, str]] = {
    "bad-input": (
        "The pipeline did not accept the data.",
        "Look at the raw file and at the message; correct the file or the code, and run it again.",
    ),
    "transient": (
        "Something outside of the data failed, such as the network or a full disk.",
        "It was tried again several times. When the cause is over, run it again.",
    ),
    "timeout": (
        "The run took longer than its config allows.",
        "Set a larger `timeout` in pipelines_config.yml, or find out what is slow in the log.",
    ),
    "out-of-memory": (
        "The run needed more memory than its config allows.",
        "Set a larger `memory` in pipelines_config.yml, or process smaller files.",
    ),
    "configuration": (
        "A config is not right: Tidegate's or Tsdat's.",
        "Correct the file that the message names, then run it again.",
    ),
    "environment": (
        "The pipelines' Python environment is not right.",
        "`tidegate env` makes it again and says what is missing.",
    ),
}
"""For each kind of failure, what it means and what to do."""

_BACKTICKS = re.compile(r"`([^`\n]+)`")

MARKS = {
    "succeeded": ("✓", "good"),
    "succeeded with warnings": ("▲", "warn"),
    "succeeded, plots failed": ("▲", "warn"),
    "empty": ("○", "warn"),
    "failed": ("✕", "bad"),
    "retrying": ("↻", "warn"),
    "running": ("▶", "busy"),
    "queued": ("…", "busy"),
    "superseded": ("–", "old"),
}
"""For each outcome, a sign beside the word, and the class of its colour."""


COMPARED = {
    "changed": "changed since the product before",
    "equal": "the same as before",
    "new": "made for the first time",
}
"""How the data of a run differ from the products that it replaced, in words."""


def outcome_mark(outcome: str) -> tuple[str, str]:
    """The sign and the class of an outcome."""
    return MARKS.get(outcome, ("?", "old"))


def moment(when: datetime | None) -> Markup:
    """A time in UTC, to the minute."""
    if when is None:
        return Markup("–")
    when = when.astimezone(timezone.utc)
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M}"
    )


def ago(when: datetime | None, now: datetime) -> Markup:
    """How long ago something was, with the time as pop-up."""
    if when is None:
        return Markup("–")
    when = when.astimezone(timezone.utc)
    passed = now - when
    text = "now" if abs(passed) < timedelta(minutes=1) else f"{duration(abs(passed))}"
    text += " ago" if passed >= timedelta(minutes=1) else ""
    text = f"in {text}" if passed <= -timedelta(minutes=1) else text
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M:%S} UTC", text
    )


def duration(value: float | timedelta | None) -> str:
    """A duration in two units at most, such as ``3 d 4 h`` or ``0.42 s``."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours} h" if hours and days < 10 else f"{days:,} d"


def size(bytes: float) -> str:
    """A number of bytes, such as ``1.4 MB``."""
    if bytes < 1000:
        return f"{bytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        bytes /= 1000
        if bytes < 1000:
            return f"{bytes:.3g} {unit}"
    return f"{bytes / 1000:.3g} TB"


def percent(share: float | None) -> str:
    """A share as percentage; one that is not quite nothing, or not quite all, is not rounded so."""
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def significant(value: float | None) -> str:
    """A number with four digits."""
    return "–" if value is None else f"{value:.4g}"


def clean(value: Any) -> Any:
    """A value for a page: control characters, which could hide or turn text, are written out."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in value)


def breakable(text: str) -> Markup:
    """A long name that may break after its separators."""
    escaped = str(escape(clean(text)))
    for separator in "/._":
        escaped = escaped.replace(separator, f"{separator}<wbr>")
    return Markup(escaped)


def with_code(text: str) -> Markup:
    """A text with what is in backticks as code; all else is escaped."""
    pieces = _BACKTICKS.split(str(clean(text)))
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if n % 2 else escape(piece)
        for n, piece in enumerate(pieces)
    )


def file_name(key: str) -> str:
    """The last part of a key."""
    return key.rsplit("/", 1)[-1]


def about(record: RunRecord) -> str:
    """What a run is about, short: file names without folders."""
    run = record.run
    if run.inputs:
        more = f" and {quantity(len(run.inputs) - 1, 'more file')}" if len(run.inputs) > 1 else ""
        return file_name(run.inputs[0].key) + more
    return run.title
