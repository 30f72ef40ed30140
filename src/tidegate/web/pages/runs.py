"""The list of runs, and one run with its log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import Any, get_args

from tidegate.runtime.log_line import LogLine
from tidegate.runtime.open_failures import acknowledged, only_open
from tidegate.runtime.records import to_json
from tidegate.runtime.release_notes import packages_of_run
from tidegate.runtime.runs import Product, Run, RunRecord, State
from tidegate.web.actions import read_actions
from tidegate.web.endpoints import Endpoint, NotFound, Page, Parameter, Parameters
from tidegate.web.site import Site
from tidegate.workspace import rerun
from tidegate.workspace.logs import ReadableLine, readable_line

STATES: tuple[str, ...] = ("open", "queued", *get_args(State))
"""What the list can be limited to; open: failures that nothing has closed."""

DATA: tuple[str, ...] = ("changed", "equal", "new")
"""How the data of a run differ from those that it replaced (``RunRecord.compared``)."""

_PAGE = 50
_LOOKED_AT = 2000
"""A page looks at no more runs than this; then it says how far it got."""
_LOG_LINES = 500
_LISTED = 200


@dataclass(frozen=True)
class Filter:
    """Which runs are listed."""

    config: str
    state: str
    data: str
    text: str
    begin: datetime | None
    end: datetime | None
    before: datetime | None


@dataclass(frozen=True)
class Found:
    """A page of runs."""

    records: list[RunRecord]
    """The runs, the latest started first."""
    more_before: datetime | None
    """Where the next page begins; None if this is the last one."""
    looked_at: int
    """How many runs were looked at, if the page ended because there were too many of them."""


def read_filter(parameters: Parameters) -> Filter:
    """The filter of a request; raises UsageError."""
    return Filter(
        parameters.text("config"),
        parameters.one_of("state", STATES),
        parameters.one_of("data", DATA),
        parameters.text("text").strip(),
        parameters.begin("begin"),
        parameters.end("end"),
        parameters.moment("before"),
    )


def find_runs(site: Site, wanted: Filter) -> Found:
    """A page of runs, in an effort that does not depend on how many are on record.

    Raises:
        UsageError: there is no such config, and no run of one.
    """
    rerun.check_config(site.manifest, site.ledger, wanted.config or None)
    state = "failed" if wanted.state == "open" else wanted.state
    limits = [moment for moment in (wanted.end, wanted.before) if moment is not None]
    records = site.ledger.records(
        config=wanted.config or None,
        states=(state,) if state else (),  # type: ignore[arg-type]
        before=min(limits, default=None),
    )
    known = acknowledged(site.ledger) if wanted.state == "open" else {}
    found: list[RunRecord] = []
    last: datetime | None = None
    for number, record in enumerate(records):
        if wanted.begin is not None and record.started < wanted.begin:
            return Found(found, None, 0)
        # A page ends between two times, because the next one begins before a time.
        if last is not None and record.started < last:
            if len(found) >= _PAGE:
                return Found(found, last, 0)
            if number >= _LOOKED_AT:
                return Found(found, last, number)
        last = record.started
        if _fits(record, wanted) and (
            wanted.state != "open" or any(only_open(site.ledger, iter([record]), known))
        ):
            found.append(record)
    return Found(found, None, 0)


def _fits(record: RunRecord, wanted: Filter) -> bool:
    """Whether its data changed as wanted, and its files, window, failure or key have the text."""
    if wanted.data and record.compared != wanted.data:
        return False
    if not wanted.text:
        return True
    low = wanted.text.lower()
    parts = [record.run.title, record.plots_failed, *record.warnings]
    parts += [i.key for i in record.run.inputs]
    parts += [record.failure.message] if record.failure else []
    return record.key.startswith(low) or any(low in part.lower() for part in parts)


def runs(site: Site, parameters: Parameters) -> Page:
    """The list of runs."""
    wanted = read_filter(parameters)
    first = wanted.before is None
    queued = list(islice(_queued(site, wanted), _LISTED)) if first else []
    found = Found([], None, 0) if wanted.state == "queued" else find_runs(site, wanted)
    return Page(
        "runs.html",
        "Runs",
        {
            "records": found.records,
            "found": found,
            "queued": queued,
            "unlisted": site.target.target == "aws" and wanted.state == "queued",
            "wanted": wanted,
            "states": STATES,
            "data": DATA,
            "configs": [config.id for config in site.manifest.configs],
            "next_query": {
                **{n: v for n, v in parameters.query.items() if n != "before"},
                "before": found.more_before.isoformat() if found.more_before else "",
            },
        },
        {
            "queued": [
                {"key": run.key, "due": to_json(due), "run": to_json(run)} for run, due in queued
            ],
            "runs": [run_data(record) for record in found.records],
            "more_before": to_json(found.more_before),
        },
        refresh=10.0 if first else 0.0,
    )


def _queued(site: Site, wanted: Filter) -> Iterator[tuple[Run, datetime]]:
    """Runs that wait; those of AWS cannot be listed."""
    if wanted.state not in ("", "queued") or wanted.begin or wanted.end or wanted.data:
        return iter(())
    if site.target.target == "aws":
        return iter(())
    waiting = site.session.queued_runs(wanted.config or None, ("queued",))
    text = wanted.text.lower()
    return (item for item in waiting if text in item[0].title.lower())


def run_data(record: RunRecord) -> dict[str, Any]:
    """A run for JSON, as ``tidegate runs --json`` has it."""
    return {
        "key": record.key,
        "about": record.run.title,
        "outcome": record.outcome,
        **to_json(record),
    }


def run(site: Site, parameters: Parameters) -> Page:
    """One run: inputs, products, timings, quality, failure and log."""
    record = find_run(site, parameters.text("key"))
    search, level = parameters.text("q"), parameters.one_of("level", ("WARNING", "ERROR"))
    lines = log_lines(site, record)
    shown = [line for line in lines if _line_fits(line, search, level)]
    others = list(islice(_others(site, record), 20))
    packages = packages_of_run(site.ledger, record)
    known = acknowledged(site.ledger)
    noted = known.get(record.key)
    if noted is not None and record.started > noted.when:
        noted = None
    is_open = record.state == "failed" and any(only_open(site.ledger, iter([record]), known))
    actions = [a for a in read_actions(site.ledger)[::-1] if a.about == record.key]
    going_on = record.state in ("running", "retrying") or any(
        action.state in ("requested", "running") for action in actions
    )
    return Page(
        "run.html",
        f"Run {record.key[:10]}",
        {
            "record": record,
            "lines": shown[-_LOG_LINES:],
            "left_out": max(0, len(shown) - _LOG_LINES),
            "line_count": len(lines),
            "search": search,
            "level": level,
            "others": others,
            "noted": noted,
            "actions": actions,
            "took": took(record),
            "is_open": is_open,
            "inputs": site.ledger.products_at(p.key for p in record.run.products[:_LISTED]),
            "present": _present(site, record),
            "listed": _LISTED,
            "packages": packages,
        },
        {
            **run_data(record),
            "acknowledged": to_json(noted),
            "open": is_open,
            "packages": packages,
            "log_lines": [to_json(line) for line in shown[-_LOG_LINES:]],
        },
        refresh=2.0 if going_on else 10.0,
    )


def find_run(site: Site, key: str) -> RunRecord:
    """The run of a key, or of its first digits; raises NotFound."""
    record = site.ledger.record(key)
    if record is None and len(key) >= 6 and set(key) <= set("0123456789abcdef"):
        found = list(site.ledger.records(prefix=key, limit=2))
        record = found[0] if len(found) == 1 else None
    if record is None:
        raise NotFound(
            f"there is no run {key[:80]}",
            why="it may have been removed from the record after some time (`keep_runs`)",
            next="the list of runs has what is on record",
        )
    return record


def _others(site: Site, record: RunRecord) -> Iterator[RunRecord]:
    """Other runs about the same files or window, the latest first."""
    subjects = record.run.subjects[:5]
    about = (site.ledger.about(record.run.config, s, but=record.key) for s in subjects)
    return iter({other.key: other for other in chain.from_iterable(about)}.values())


def _present(site: Site, record: RunRecord) -> dict[str, Product]:
    """Those products of a run that are still its own: a later run may have replaced them."""
    now = site.ledger.products_at(p.key for p in record.products[:_LISTED])
    return {key: product for key, product in now.items() if product.run == record.key}


def log_lines(site: Site, record: RunRecord) -> list[ReadableLine]:
    """The lines of a run's log, for people."""
    when = record.started.astimezone(timezone.utc)
    lines = (
        readable_line(LogLine(when, record.run.config, text)) for text in site.session.log(record)
    )
    return [line for line in lines if line is not None]


def _line_fits(line: ReadableLine, search: str, level: str) -> bool:
    levels = {"WARNING": ("WARNING", "ERROR", "CRITICAL"), "ERROR": ("ERROR", "CRITICAL")}
    if level and line.level not in levels[level]:
        return False
    return search.lower() in f"{line.action} {line.message}".lower()


def took(record: RunRecord) -> timedelta | None:
    """How long the last attempt took."""
    return record.finished - record.started if record.finished else None


ENDPOINTS = (
    Endpoint(
        "runs",
        "/runs",
        "Runs, the latest started first; queued ones before them.",
        runs,
        (
            Parameter("config", "Only this config."),
            Parameter("state", f"Only this state: {', '.join(STATES)}."),
            Parameter("data", "Only runs with data that are changed, equal (to before), or new."),
            Parameter("text", "Only runs with this text in file names, window or failure."),
            Parameter("begin", "Only runs that started on this day or later, such as 2026-11-28."),
            Parameter("end", "Only runs that started on this day or before."),
            Parameter("before", "Only runs that started before this time; for the next page."),
        ),
        heading="Runs",
    ),
    Endpoint(
        "run",
        "/runs/{key}",
        "One run: inputs, products, timings, quality, failure and log.",
        run,
        (
            Parameter("key", "The run's key, or its first six digits or more.", True),
            Parameter("q", "Only lines of the log with this text."),
            Parameter("level", "Only lines of the log of this level or worse: WARNING, ERROR."),
        ),
    ),
)
