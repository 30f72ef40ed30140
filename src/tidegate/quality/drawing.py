"""What pictures of products have in common: axes, ranges of colours, titles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tidegate.quality.datasets import missing

MOST_POINTS = 4000
"""Of a longer line, the smallest and largest value of each part are drawn."""
MOST_ROWS = 1500
"""Of a larger picture, every n-th row or column is drawn."""
DPI = 110
BAD, OTHER, LINE = "#b23c0c", "#e69f00", "#0b5394"
"""Colours of marks and lines, which readers with any colour vision can tell apart."""


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """An empty figure of a size in inches, with matplotlib's own settings."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Pipelines may have changed the settings of this process.
    with matplotlib.rc_context(dict(matplotlib.rcParamsDefault)):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def at_most_two_dimensions(data: Any) -> tuple[Any, str]:
    """The variable as numbers, and at which index of its further dimensions it is shown."""
    if data.dtype.kind not in "biuf":
        raise ValueError(f"{data.name} has no numbers, but {data.dtype}")
    if data.size == 0:
        raise ValueError(f"{data.name} has no values")
    data = data.squeeze(drop=True)
    further = dict.fromkeys(data.dims[2:], 0)
    note = "".join(f", {dim} = {data[dim].values[0]}" for dim in further)
    data = data.isel(further)
    return (data if data.ndim else data.expand_dims("value")), note


def coordinate(data: Any, dim: str) -> Any:
    """The values along a dimension; the numbers of the places where there are none to use."""
    import numpy as np

    values = data[dim].values if dim in data.coords else np.arange(data.sizes[dim])
    usable = values.dtype.kind in "biufM" and not missing(values).any()
    return values if usable and values.ndim == 1 else np.arange(data.sizes[dim])


def extremes(values: Any) -> Any:
    """The places of the smallest and largest value of each part of a long line, in order."""
    import numpy as np

    parts = np.array_split(np.arange(values.size), MOST_POINTS // 2)
    low, high = (
        np.where(np.isnan(values), np.inf, values),
        np.where(np.isnan(values), -np.inf, values),
    )
    places = {int(part[low[part].argmin()]) for part in parts}
    places |= {int(part[high[part].argmax()]) for part in parts}
    gaps = np.flatnonzero(np.isnan(values))
    places.update(int(place) for place in gaps[:: max(1, gaps.size // MOST_POINTS)])
    return np.array(sorted(places))


def usual_range(values: Any) -> tuple[float, float]:
    """The limits of the colours: without the 1 % of values that are furthest out."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def show_dates(axis: Any, values: Any) -> None:
    """Label an axis with short dates, if its values are times."""
    if values.dtype.kind == "M":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axis.set_major_locator(locator)
        axis.set_major_formatter(ConciseDateFormatter(locator))


def axis_label(data: Any, dim: str) -> str:
    """The name of a dimension, with its units."""
    units = data[dim].attrs.get("units", "") if dim in data.coords else ""
    return f"{dim} ({units})" if units else str(dim)


def title(data: Any, variable: str) -> str:
    """The name of a variable, with its ``long_name`` before it."""
    name = str(data.attrs.get("long_name", ""))
    return f"{name} ({variable})" if name and name != variable else variable
