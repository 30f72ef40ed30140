"""The overview: a row for each config, and what needs a person."""

from __future__ import annotations

from typing import Any

from tidegate.runtime.records import to_json
from tidegate.web.endpoints import Endpoint, Page, Parameters
from tidegate.web.site import Site
from tidegate.workspace.overview import ConfigState


def overview(site: Site, parameters: Parameters) -> Page:
    """How all configs are doing."""
    states, attention = site.states(), site.attention()
    return Page(
        "overview.html",
        "Overview",
        {"states": states, "attention": attention},
        {
            "place": site.title,
            "attention": [to_json(item) for item in attention],
            "configs": [state_data(state) for state in states],
        },
        refresh=5.0,
    )


def state_data(state: ConfigState) -> dict[str, Any]:
    """How a config is doing, for JSON."""
    last = state.last_run
    return {
        "config": state.config.id,
        "kind": state.config.kind,
        "last_arrival": to_json(state.last_arrival),
        "last_run": last.key if last else None,
        "last_outcome": last.outcome if last else None,
        "last_product": to_json(state.last_product.finished) if state.last_product else None,
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


ENDPOINTS = (
    Endpoint(
        "overview",
        "/",
        "How each config is doing, and what needs a person.",
        overview,
        heading="Overview",
    ),
)
