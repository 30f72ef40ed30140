"""The runs of a day, or of an hour, as bars along the time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import islice

from tidegate.runtime.records import to_json
from tidegate.runtime.runs import RunRecord
from tidegate.web.endpoints import Endpoint, Page, Parameter, Parameters, midnight
from tidegate.web.lanes import MOST_LANES, marks, rows_of, summary
from tidegate.web.pages.runs import run_data
from tidegate.web.site import Site
from tidegate.workspace import rerun

_MOST = 3000
"""Runs that are drawn; of more, the latest."""
_LISTED = 100
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


def timeline(site: Site, parameters: Parameters) -> Page:
    """The runs of a day or of one hour of it."""
    now = site.now()
    config = parameters.text("config")
    rerun.check_config(site.manifest, site.ledger, config or None)
    day = parameters.day("day") or now.date()
    hour = parameters.number("hour", 0, 0, 23) if parameters.text("hour") else None
    begin, span = midnight(day), _DAY
    if hour is not None:
        begin, span = begin + hour * _HOUR, _HOUR
    end = begin + span
    found, more = _runs_between(site, config, begin, end)
    rows = rows_of(found, [c.id for c in site.manifest.configs], begin, end, now)
    shown = {bar.key for row in rows for bar in row.bars}
    records = [record for record in found if record.key in shown]
    earlier, later = (_moved(day, hour, by, config) for by in (-1, 1))
    return Page(
        "timeline.html",
        f"Runs of {day}" if hour is None else f"Runs of {day}, {hour:02}:00 to {hour + 1:02}:00",
        {
            "day": day,
            "hour": hour,
            "config": config,
            "configs": [one.id for one in site.manifest.configs],
            "rows": rows,
            "most_lanes": MOST_LANES,
            "summary": summary(rows),
            "marks": marks(begin, end, _HOUR if hour is None else timedelta(minutes=10)),
            "present": (now - begin) / span if begin <= now < end else None,
            "records": records[:_LISTED],
            "left_out": max(0, len(records) - _LISTED),
            "more": more,
            "most": _MOST,
            "earlier": earlier,
            "later": later,
        },
        {
            "begin": to_json(begin),
            "end": to_json(end),
            "more": more,
            "rows": [{"config": row.config, "counts": dict(row.counts)} for row in rows],
            "runs": [run_data(record) for record in records],
        },
        refresh=10.0 if begin <= now < end else 0.0,
    )


def _runs_between(
    site: Site, config: str, begin: datetime, end: datetime
) -> tuple[list[RunRecord], bool]:
    """The runs that may have gone on between two times, the latest first; and if there are more.

    A run that started before ``begin`` goes on no longer than its config allows.
    """
    longest = max((one.timeout for one in site.manifest.configs), default=0)
    records = site.ledger.records(
        config=config or None,
        before=end,
        since=begin - timedelta(seconds=longest),
        limit=_MOST + 1,
    )
    found = list(islice(records, _MOST + 1))
    return found[:_MOST], len(found) > _MOST


def _moved(day: date, hour: int | None, by: int, config: str) -> dict[str, object]:
    """The parameters of the span before or after this one."""
    if hour is None:
        return {"day": day + by * _DAY, "config": config}
    moment = midnight(day) + (hour + by) * _HOUR
    return {"day": moment.date(), "hour": moment.hour, "config": config}


ENDPOINTS = (
    Endpoint(
        "timeline",
        "/timeline",
        "The runs of a day, or of an hour, as bars along the time.",
        timeline,
        (
            Parameter("day", "The day, such as 2026-11-28; today if it is left out."),
            Parameter("hour", "Only this hour of the day, 0 to 23."),
            Parameter("config", "Only this config."),
        ),
        heading="Timeline",
    ),
)
