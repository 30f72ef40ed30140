"""Figures for Prometheus; from the overview, so a scrape costs as much as that page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.web.site import Site
from tidegate.workspace.overview import ConfigState


def metrics_text(site: Site) -> bytes:
    """The figures in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Overview(site))
    return generate_latest(registry)


class _Overview(Collector):
    """The overview as gauges, each with the label ``config``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> Iterator[Metric]:
        """The figures; a time that is not known is left out."""
        states = self._site.states()
        for name, about, value in _GAUGES:
            family = GaugeMetricFamily(f"tidegate_{name}", about, labels=["config"])
            for state in states:
                figure = value(state)
                if figure is not None:
                    family.add_metric([state.config.id], float(figure))
            yield family


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


_GAUGES: tuple[tuple[str, str, Callable[[ConfigState], float | None]], ...] = (
    ("runs_running", "Runs being carried out.", lambda s: s.running),
    ("runs_waiting", "Runs in the queue.", lambda s: s.waiting),
    ("runs_retrying", "Runs that will be tried again.", lambda s: s.retrying),
    ("open_failures", "Open failures, at most 20 for each config.", lambda s: len(s.failures)),
    ("stale", "1: no data for longer than expect_every.", lambda s: int(s.stale)),
    (
        "last_arrival_timestamp_seconds",
        "When the newest data arrived.",
        lambda s: _seconds(s.last_arrival),
    ),
    (
        "newest_data_timestamp_seconds",
        "The last time in the newest product.",
        lambda s: _seconds(s.newest_data),
    ),
    (
        "lag_seconds",
        "From the arrival of the latest input to its products.",
        lambda s: s.lag.total_seconds() if s.lag is not None else None,
    ),
    (
        "bad_values_share",
        "The part of the values checked in the last day that are bad.",
        lambda s: s.bad_share,
    ),
)
