"""The plots that pipelines have made, by day; two days or two datastreams side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tidegate.runtime.runs import Product
from tidegate.web.endpoints import Endpoint, Page, Parameter, Parameters, midnight
from tidegate.web.pages.products import is_plot, require_datastream, streams
from tidegate.web.site import Site

_MOST = 200
"""Plots of one datastream on one day."""
_FEW = 2
"""If no datastream has more plots than these, several datastreams are beside each other."""


@dataclass(frozen=True)
class Column:
    """The plots of one datastream on one day, side by side with another."""

    datastream: str
    """The datastream."""
    day: date
    """The day."""
    plots: list[Product]
    """The plots, by their names."""


def plots(site: Site, parameters: Parameters) -> Page:
    """The plots of a day."""
    known = streams(site)
    names = [stream.name for stream in known]
    newest = max((stream.day for stream in known if stream.day), default=site.now().date())
    day = parameters.day("day") or newest
    beside, other = parameters.day("beside"), parameters.text("other")
    chosen = parameters.text("datastream")
    require_datastream(site, chosen, known)
    shown = [chosen] if chosen else names
    rows: list[list[Column]] = []
    for name in shown:
        row = [Column(name, day, plots_of(site, name, day))]
        if beside is not None:
            row.append(Column(name, beside, plots_of(site, name, beside)))
        if other and chosen:
            row.append(Column(other, day, plots_of(site, other, day)))
        if chosen or any(column.plots for column in row):
            rows.append(row)
    step = timedelta(days=1)
    kept = {"datastream": chosen, "other": other}

    def moved(by: timedelta) -> dict[str, Any]:
        return {**kept, "day": day + by, "beside": beside + by if beside else ""}

    return Page(
        "plots.html",
        f"Plots of {day}",
        {
            "rows": rows,
            "few": all(len(row) == 1 and len(row[0].plots) <= _FEW for row in rows),
            "day": day,
            "beside": beside,
            "names": names,
            "datastream": chosen,
            "other": other,
            "earlier": moved(-step),
            "later": moved(step),
        },
        {
            "day": day.isoformat(),
            "rows": [
                [
                    {
                        "datastream": column.datastream,
                        "day": column.day.isoformat(),
                        "plots": [plot.key for plot in column.plots],
                    }
                    for column in row
                ]
                for row in rows
            ],
        },
    )


def plots_of(site: Site, name: str, day: date) -> list[Product]:
    """The plots of a datastream whose data begin on a day."""
    begin = midnight(day)
    end = begin + timedelta(days=1)
    found = site.ledger.products(datastream=name, begin=begin, end=end, limit=5 * _MOST)
    begun = (p for p in found if p.begin is not None and begin <= p.begin < end)
    return [product for product in begun if is_plot(product)][:_MOST]


ENDPOINTS = (
    Endpoint(
        "plots",
        "/plots",
        "The plots of a day, of one datastream or of all; two days or datastreams side by side.",
        plots,
        (
            Parameter("day", "The day, such as 2026-11-28; the newest one if it is left out."),
            Parameter("datastream", "Only this datastream."),
            Parameter("beside", "A second day to show beside the first."),
            Parameter("other", "A second datastream to show beside the first."),
        ),
        heading="Plots",
    ),
)
