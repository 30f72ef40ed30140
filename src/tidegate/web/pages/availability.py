"""How much of each day is there and how much of it is good: all datastreams, one, and one day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from tidegate.quality.availability import Series, availability
from tidegate.quality.variables import VariableSeries, by_variable, variables_of
from tidegate.runtime.day_summaries import Days, refresh, refresh_all
from tidegate.runtime.records import to_json
from tidegate.web import heat
from tidegate.web.endpoints import Endpoint, NotFound, Page, Parameter, Parameters, midnight
from tidegate.web.site import Site

YEAR = 365
MONTH = 31
_LONGEST = 3660
_GAPS = 200
_RUNS = 50
_KEPT = 60.0
_LOOK_AGAIN = 3.0
WAIT = 2.0
"""How long a page waits for the days to be summed up, s."""


def series_of(
    site: Site,
    days: Sequence[Days],
    begin: date,
    end: date,
    datastream: str = "",
    *,
    hours: bool = False,
) -> list[Series]:
    """The series of one datastream, or of all, over the days [begin, end); kept for a minute."""

    def make() -> list[Series]:
        known = [one for one in days if not datastream or one.datastream == datastream]
        if datastream and not known:  # it may be newer than ``days``
            known = [refresh(site.ledger, datastream, site.unwritten)]
        return availability(
            site.ledger,
            begin,
            end,
            now=site.now(),
            expect_every={c.id: c.expect_every for c in site.manifest.configs},
            by="hour" if hours else "day",
            refreshed=known,
        )

    return site.kept(f"availability {begin} {end} {hours} {datastream}", _KEPT, make)


def show_availability(site: Site, parameters: Parameters) -> Page:
    """All datastreams, or one, over a span of days."""
    name = parameters.text("datastream")
    summed_up = days_of(site, WAIT)
    if summed_up is None:
        return Page(
            "availability_wait.html", "Availability", {}, {"ready": False}, refresh=_LOOK_AGAIN
        )
    first, last = chosen_span(site, parameters, summed_up, name)
    found = series_of(site, summed_up, first, last + timedelta(days=1), name)
    if name and (not found or found[0].begin is None):
        raise NotFound(
            f"there is no data of {name[:200]}", next="the page without it lists the datastreams"
        )
    # A datastream may have plots only.
    found = [one for one in found if one.begin is not None]
    days = (last - first).days + 1
    variables: list[VariableSeries] = []
    if name and days <= MONTH:
        variables = by_variable(site.ledger, name, first, last + timedelta(days=1))
    step = timedelta(days=days)
    return Page(
        "availability_one.html" if name else "availability.html",
        name or "Availability",
        {
            "series": found,
            "first": first,
            "last": last,
            "days": days,
            "earlier": {"datastream": name, "begin": first - step, "end": last - step},
            "later": {"datastream": name, "begin": first + step, "end": last + step},
            "variables": variables,
            "gaps": found[0].gaps[::-1][:_GAPS] if name else (),
            "heat": heat,
        },
        {
            "begin": first.isoformat(),
            "end": last.isoformat(),
            "series": [series_data(one) for one in found],
            "variables": [to_json(one) for one in variables],
        },
    )


def days_of(site: Site, wait: float) -> list[Days] | None:
    """The days of all datastreams, a minute old at most; waits at most so many seconds.

    None while they are summed up for the first time: with a million products it takes minutes.
    """

    def make() -> list[Days] | None:
        at_once = site.session.reads_at_once
        return refresh_all(site.ledger, at_once=at_once, unwritten=site.unwritten)

    return site.later("days", _KEPT, make, None, wait=wait)


def chosen_span(
    site: Site, parameters: Parameters, days: Sequence[Days], name: str
) -> tuple[date, date]:
    """The first and last day that are shown: as asked, or the year up to the last data."""
    begin, end = parameters.day("begin"), parameters.day("end")
    if end is None:
        end = begin + timedelta(days=YEAR - 1) if begin else newest_day(site, days, name)
    first = begin or end - timedelta(days=YEAR - 1)
    first, last = min(first, end), max(first, end)
    return max(first, last - timedelta(days=_LONGEST)), last


def newest_day(site: Site, days: Sequence[Days], name: str) -> date:
    """The last day with data of a datastream, or of any; today without data."""
    today = site.now().date()
    found = series_of(site, days, today, today + timedelta(days=1), name)
    # A last sample at midnight belongs to the day before.
    last = max((one.end - timedelta(seconds=1) for one in found if one.end), default=site.now())
    return last.date()


def series_data(series: Series) -> dict[str, Any]:
    """A series for JSON, with the shares."""
    return {
        "datastream": series.datastream,
        "config": series.config,
        "first": to_json(series.begin),
        "last": to_json(series.end),
        "available": series.total.available,
        "passed": series.total.passed,
        "gaps": [to_json(gap) for gap in series.gaps],
        "cells": [
            {**to_json(cell), "available": cell.available, "passed": cell.passed}
            for cell in series.cells
        ],
    }


def show_day(site: Site, parameters: Parameters) -> Page:
    """One datastream on one day: hours, variables, products and runs."""
    name, day = parameters.text("datastream"), parameters.day("day")
    if day is None or not name:
        raise NotFound("a day needs `datastream` and `day`", next="choose a day of a datastream")
    after = day + timedelta(days=1)
    (series,) = series_of(site, days_of(site, WAIT) or [], day, after, name, hours=True)
    if series.begin is None:
        raise NotFound(f"there is no data of {name[:200]}", next="choose another datastream")
    products = site.ledger.overlapping(name, midnight(day), midnight(after))
    variables = variables_of(products, day, after)
    products = [p for p in products if p.begin is not None and p.begin.date() <= day]
    keys = list(dict.fromkeys(product.run for product in products if product.run))[:_RUNS]
    runs = {key: record for key in keys if (record := site.ledger.record(key)) is not None}
    return Page(
        "availability_day.html",
        f"{name} on {day}",
        {
            "series": series,
            "datastream": name,
            "day": day,
            "before": day - timedelta(days=1),
            "after": after,
            "variables": variables,
            "products": products[:_GAPS],
            "runs": list(runs.values()),
            "heat": heat,
        },
        {
            "day": day.isoformat(),
            "hours": series_data(series),
            "variables": [to_json(one) for one in variables],
            "products": [product.key for product in products],
            "runs": list(runs),
        },
    )


ENDPOINTS = (
    Endpoint(
        "availability",
        "/availability",
        "How much of each day is there, and how much of it passed its checks; gaps.",
        show_availability,
        (
            Parameter("datastream", "Only this datastream."),
            Parameter("begin", "The first day, such as 2026-01-01."),
            Parameter("end", "The last day; a year up to the last data if both are left out."),
        ),
        heading="Availability",
    ),
    Endpoint(
        "day",
        "/availability/day",
        "One datastream on one day: by hour and by variable, with products and runs.",
        show_day,
        (
            Parameter("datastream", "The datastream."),
            Parameter("day", "The day, such as 2026-11-28."),
        ),
    ),
)
