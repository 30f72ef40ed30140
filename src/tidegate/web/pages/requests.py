"""What readers have asked for with buttons, and the form to reprocess days."""

from __future__ import annotations

from tidegate.runtime.records import to_json
from tidegate.web.actions import read_actions
from tidegate.web.endpoints import Endpoint, Page, Parameter, Parameters
from tidegate.web.site import Site


def requests(site: Site, parameters: Parameters) -> Page:
    """What was asked for, by whom, and what came of it."""
    actions = read_actions(site.ledger)[::-1]
    return Page(
        "requests.html",
        "Requests",
        {
            "actions": actions,
            "configs": [config.id for config in site.manifest.configs],
            "chosen": parameters.text("config"),
        },
        {"requests": [to_json(action) for action in actions]},
        refresh=5.0,
    )


ENDPOINTS = (
    Endpoint(
        "requests",
        "/requests",
        "What was asked for with buttons, by whom, and what came of it.",
        requests,
        (Parameter("config", "The config that the form begins with."),),
        heading="Requests",
    ),
)
