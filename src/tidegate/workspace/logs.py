"""Parse log lines, whether they are stored with runs or in CloudWatch.

There are three kinds: lines of runs and functions (JSON, one object a line), lines that Lambda
itself writes, and anything that code prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from tidegate.errors import UsageError
from tidegate.runtime.log_line import LogLine
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import FINISHED, RunRecord
from tidegate.workspace import rerun

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST_RUN = timedelta(days=1)
_LAMBDA_MARKS = re.compile(r"(START|END|INIT_START) ")


@dataclass(frozen=True)
class ReadableLine:
    """A log line for people."""

    when: datetime
    """When it was written."""
    level: str
    """Such as INFO; "" if there is none."""
    config: str
    """The id of the config."""
    run: str
    """The first digits of the run's key; "" if it belongs to no run."""
    action: str
    """The step of the run, such as stage; "" if there is none."""
    message: str
    """The message, which may have several lines."""


def readable_line(line: LogLine) -> ReadableLine | None:
    """A line for people; None for lines for machines: metrics, and Lambda's begin and end marks."""
    entry = _object(line.text)
    if entry is None:
        # Lambda's own lines have tabs.
        text = line.text.rstrip().replace("\t", "  ")
        if not text or _LAMBDA_MARKS.match(text):
            return None
        level = "ERROR" if "Task timed out" in text or "Runtime exited" in text else ""
        return ReadableLine(line.when, level, line.config, "", "", text)
    if "_aws" in entry:
        return None
    message = str(entry.get("message", ""))
    if not message:
        message = json.dumps(entry)
    trace = entry.get("exception") or entry.get("stack_trace")
    if trace:
        message += f"\n{trace if isinstance(trace, str) else json.dumps(trace)}"
    return ReadableLine(
        _time(entry.get("time")) or line.when,
        str(entry.get("level", "")),
        line.config,
        str(entry.get("run", ""))[:10],
        str(entry.get("action", "")),
        message,
    )


def line_data(line: LogLine) -> dict[str, Any]:
    """A line for ``--json``: the logged object, or an object with the text."""
    entry = _object(line.text)
    if entry is not None:
        return {"config_id": line.config, **entry}
    when = line.when.isoformat(timespec="milliseconds")
    return {"config_id": line.config, "time": when, "message": line.text.rstrip("\n")}


def belongs_to_run(line: LogLine, run: str) -> bool:
    """Whether a line belongs to the run with this key."""
    entry = _object(line.text)
    found = str(entry.get("run", "")) if entry is not None else ""
    return len(found) >= 4 and run.startswith(found)


def parse_since(text: str, now: datetime) -> datetime:
    """Parse how long ago (``1h``) or a time.

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if found:
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return rerun.parse_time(text)
    except UsageError:
        raise UsageError(
            f"{text!r} is not a time",
            next="write how long ago, such as 30m, 1h or 2d, or a time such as 20220405.120000",
        ) from None


class _Session(Protocol):
    def log(self, record: RunRecord) -> list[str]: ...


def lines_of_run(session: _Session, record: RunRecord) -> list[LogLine]:
    """The stored log of one run."""
    return [
        LogLine(_time((_object(text) or {}).get("time")) or record.started, record.run.config, text)
        for text in session.log(record)
    ]


def lines_of_runs(
    session: _Session, ledger: Ledger, config: str | None, begin: datetime
) -> Iterator[tuple[RunRecord, list[LogLine]]]:
    """The stored logs of all runs that ended after ``begin``, in the order of their ends."""
    found = []
    for record in ledger.records(config=config, states=FINISHED):
        if record.started < begin - _LONGEST_RUN:
            break
        if record.finished is not None and record.finished >= begin and record.log:
            found.append(record)
    for record in sorted(found, key=lambda one: (one.finished or one.started, one.key)):
        yield record, lines_of_run(session, record)


def _object(text: str) -> Mapping[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
