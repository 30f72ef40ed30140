"""What to reprocess: a config, a time of the data, and perhaps only what is missing or stale.

Pure: the caller gives what is on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from tidegate.runtime.manifest import Config
from tidegate.runtime.related_files import date_in
from tidegate.runtime.runs import SETTLED, Run, RunRecord, State

Only = Literal["missing", "stale", "failed"]
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Scope:
    """What to reprocess."""

    config: Config
    """Of which config."""
    begin: datetime | None = None
    """From which time of the data on."""
    end: datetime | None = None
    """Up to which time of the data, not included."""
    only: Only | None = None
    """Only what is missing, stale (other code, other inputs) or failed."""
    lost: frozenset[str] = frozenset()
    """The keys of runs with products that are not in storage any more: they count as missing."""
    inputs_changed: bool = False
    """For a VAP: windows with other inputs than before are wanted, whatever ``only`` says."""


class PastRun(NamedTuple):
    """The latest run about a file or a window."""

    key: str
    """Its key."""
    state: State
    """Its state."""
    release: str
    """The release that it ran with."""
    begin: datetime | None = None
    """The first time in its products."""
    end: datetime | None = None
    """The last time in its products."""


def past_run(record: RunRecord | None) -> PastRun | None:
    """What matters here of a run's record."""
    if record is None:
        return None
    begins = [p.begin for p in record.products if p.begin]
    ends = [p.end for p in record.products if p.end]
    known = bool(begins and ends)
    span = (min(begins), max(ends)) if known else (None, None)
    return PastRun(record.key, record.state, record.release, *span)


def is_wanted(scope: Scope, past: PastRun | None, run: Run, release: str) -> bool:
    """Whether ``run`` is one of those that the scope asks for, given the latest run about it."""
    if scope.only is None:
        return True
    settled = past is not None and past.state in SETTLED
    other_inputs = past is not None and past.key != run.key
    if scope.inputs_changed and other_inputs:
        return True
    if scope.only == "failed":
        return past is not None and past.state == "failed"
    if scope.only == "missing":
        return past is None or not settled or past.key in scope.lost
    return settled and past is not None and (past.release != release or other_inputs)


def is_within(scope: Scope, span: tuple[datetime, datetime] | None) -> bool:
    """Whether data of these times, both inclusive, is in the scope."""
    if span is None:  # its times are unknown: only a scope without times surely includes it
        return scope.begin is None and scope.end is None
    after = scope.begin is None or span[1] >= scope.begin
    return after and (scope.end is None or span[0] < scope.end)


def span_of(past: PastRun | None, run: Run) -> tuple[datetime, datetime] | None:
    """The times of a run's data: from its products, its window, or the date in a file's name."""
    if past is not None and past.begin is not None and past.end is not None:
        return past.begin, past.end
    if run.window is not None:
        return run.window.begin, run.window.end - _INSTANT
    for input in run.inputs:
        moment = date_in(input.key.rsplit("/", 1)[-1])
        if moment is not None:
            return moment, moment
    return None
