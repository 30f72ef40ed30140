"""The overview: a row for each config, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tidegate.quality.availability import Series
from tidegate.runtime.day_summaries import Days
from tidegate.runtime.jobs import Job, time_left
from tidegate.runtime.records import to_json
from tidegate.web import heat
from tidegate.web.endpoints import Endpoint, Page, Parameters
from tidegate.web.pages.availability import days_of, series_of
from tidegate.web.site import Site
from tidegate.workspace.overview import ConfigState

_KEPT, _WAIT = 60.0, 0.15


def overview(site: Site, parameters: Parameters) -> Page:
    """How all configs are doing."""
    states, attention = site.states(), site.attention()
    days = days_of(site, _WAIT)
    month = {} if days is None else site.kept("month", _KEPT, lambda: last_month(site, days))
    return Page(
        "overview.html",
        "Overview",
        {
            "states": states,
            "attention": attention,
            "month": month,
            "heat": heat,
            "jobs": site.jobs(),
            "limits": site.limits(),
            "time_left": time_left,
        },
        {
            "place": site.title,
            "attention": [to_json(item) for item in attention],
            "configs": [state_data(state) for state in states],
            "jobs": [job_data(job) for job in site.jobs()],
            "limits": site.limits(),
        },
        refresh=5.0,
    )


def last_month(site: Site, days: Sequence[Days]) -> dict[str, Series]:
    """The last 30 days of the datastream of each config; of several, the one with most products."""
    end = site.now().date() + timedelta(days=1)
    found: dict[str, Series] = {}
    for one in series_of(site, days, end - timedelta(days=30), end):
        before = found.get(one.config)
        if before is None or one.total.products > before.total.products:
            found[one.config] = one
    return found


def state_data(state: ConfigState) -> dict[str, Any]:
    """How a config is doing, for JSON."""
    last = state.last_run
    return {
        "config": state.config.id,
        "kind": state.config.kind,
        "last_arrival": to_json(state.last_arrival),
        "last_run": last.key if last else None,
        "last_outcome": last.outcome if last else None,
        "last_product": to_json(state.last_products.finished) if state.last_products else None,
        "newest_data": to_json(state.newest_data),
        "lag_seconds": state.lag.total_seconds() if state.lag is not None else None,
        "running": state.running,
        "waiting": state.waiting,
        "retrying": state.retrying,
        "open_failures": len(state.failures),
        "more_open_failures": state.more_failures,
        "stale": state.stale,
        "checked_values_last_day": state.samples,
        "bad_values_last_day": state.bad,
    }


def job_data(job: Job) -> dict[str, Any]:
    """How far a job is, for JSON."""
    left = time_left(job)
    return {
        "id": job.id,
        "state": job.state,
        "configs": list(job.configs),
        "asked": to_json(job.asked),
        "who": job.who,
        "runs": job.total,
        "ended": job.counts.ended,
        "failed": job.counts.failures,
        "seconds_left": left.total_seconds() if left is not None else None,
    }


ENDPOINTS = (
    Endpoint(
        "overview",
        "/",
        "How each config is doing, and what needs a person.",
        overview,
        heading="Overview",
    ),
)
