"""A quick look at one variable of a product: a picture with what failed the quality checks.

Lines for one dimension, colours for two. The palette is cividis, and marks differ in shape too, so
that readers with any colour vision see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.quality.content import flag_tests
from tidegate.quality.datasets import missing, open_product

_MOST_POINTS = 4000
"""Of a longer line, the smallest and largest value of each part are drawn."""
_MOST_ROWS = 1500
"""Of a larger picture, every n-th row or column is drawn."""
_SIZE = (10.0, 3.6)
_DPI = 110
_BAD, _OTHER, _LINE = "#b23c0c", "#e69f00", "#0b5394"


@dataclass(frozen=True)
class QuickLook:
    """What a picture shows, in words."""

    text: str
    """A sentence, for people who do not see the picture."""


def draw_quick_look(path: str, variable: str, destination: str) -> QuickLook:
    """Draw a variable of a file into a PNG. For a worker: it needs xarray and matplotlib.

    Raises:
        OSError, ValueError: the file cannot be read, or the variable cannot be drawn.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with open_product(path) as dataset:
        if variable not in dataset.variables:
            raise ValueError(f"there is no variable {variable!r}")
        data, note = _at_most_two_dimensions(dataset[variable])
        flags = dataset.variables.get(f"qc_{variable}")
        bad, other = _failed(flags, data) if flags is not None else (None, None)
        # Pipelines may have changed the settings of this process.
        with matplotlib.rc_context(dict(matplotlib.rcParamsDefault)):
            figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            if data.ndim == 2:
                _draw_colours(figure, axes, data, bad)
            else:
                _draw_line(axes, data, bad, other)
            axes.set_title(f"{_title(data, variable)}{note}", fontsize=10, loc="left")
            figure.savefig(destination, format="png")
        return QuickLook(_sentence(data, variable, bad, other))


def _at_most_two_dimensions(data: Any) -> tuple[Any, str]:
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


def _failed(flags: Any, data: Any) -> tuple[Any, Any]:
    """Where values of ``data`` failed a test that is assessed Bad, and where only another."""
    import numpy as np

    at = dict.fromkeys((dim for dim in flags.dims if dim not in data.dims), 0)
    values = flags.isel(at).transpose(*(d for d in data.dims if d in flags.dims)).values
    values = np.nan_to_num(np.asarray(values)).astype("int64")
    if values.shape != data.shape:
        return None, None
    bad, other, tested = np.zeros(values.shape, bool), np.zeros(values.shape, bool), False
    for mask, _, assessment in flag_tests(flags.attrs):
        tested = True
        where = bad if assessment.lower() == "bad" else other
        where |= (values & mask) != 0
    if not tested:
        bad = values != 0
    return bad, other & ~bad


def _coordinate(data: Any, dim: str) -> Any:
    """The values along a dimension; the numbers of the places where there are none to use."""
    import numpy as np

    values = data[dim].values if dim in data.coords else np.arange(data.sizes[dim])
    usable = values.dtype.kind in "biufM" and not missing(values).any()
    return values if usable and values.ndim == 1 else np.arange(data.sizes[dim])


def _draw_line(axes: Any, data: Any, bad: Any, other: Any) -> None:
    import numpy as np

    (dim,) = data.dims
    x, y = _coordinate(data, dim), np.asarray(data.values, float)
    shown = _extremes(y) if y.size > _MOST_POINTS else np.arange(y.size)
    axes.plot(x[shown], y[shown], color=_LINE, linewidth=0.9, marker="." if y.size < 60 else "")
    for failed, colour, marker, name in (
        (other, _OTHER, "^", "indeterminate"),
        (bad, _BAD, "x", "bad"),
    ):
        if failed is not None and (failed & np.isfinite(y)).any():
            axes.plot(x[failed], y[failed], marker, color=colour, markersize=5, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=8)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_xlabel(_label(data, dim))
    axes.set_ylabel(str(data.attrs.get("units", "")))
    axes.margins(x=0)
    _show_dates(axes.xaxis, x)


def _extremes(values: Any) -> Any:
    """The places of the smallest and largest value of each part of a long line, in order."""
    import numpy as np

    parts = np.array_split(np.arange(values.size), _MOST_POINTS // 2)
    low, high = (
        np.where(np.isnan(values), np.inf, values),
        np.where(np.isnan(values), -np.inf, values),
    )
    places = {int(part[low[part].argmin()]) for part in parts}
    places |= {int(part[high[part].argmax()]) for part in parts}
    gaps = np.flatnonzero(np.isnan(values))
    places.update(int(place) for place in gaps[:: max(1, gaps.size // _MOST_POINTS)])
    return np.array(sorted(places))


def _draw_colours(figure: Any, axes: Any, data: Any, bad: Any) -> None:
    import numpy as np

    if data.dims[1] == "time":
        data, bad = data.transpose(), None if bad is None else bad.T
    steps = [max(1, -(-size // _MOST_ROWS)) for size in data.shape]
    data = data[:: steps[0], :: steps[1]]
    across, up = data.dims
    x, y, values = _coordinate(data, across), _coordinate(data, up), np.asarray(data.values, float)
    low, high = _range(values)
    mesh = axes.pcolormesh(
        x, y, np.ma.masked_invalid(values.T), cmap="cividis", vmin=low, vmax=high, shading="nearest"
    )
    figure.colorbar(mesh, ax=axes, label=str(data.attrs.get("units", "")), pad=0.01, extend="both")
    if bad is not None:
        rows, columns = np.nonzero(bad[:: steps[0], :: steps[1]])
        if rows.size:
            every = max(1, rows.size // 3000)
            axes.plot(
                x[rows[::every]], y[columns[::every]], "x", color=_BAD, markersize=3, label="bad"
            )
            axes.legend(loc="upper right", fontsize=8)
    axes.set_xlabel(_label(data, across))
    axes.set_ylabel(_label(data, up))
    _show_dates(axes.xaxis, x)


def _range(values: Any) -> tuple[float, float]:
    """The limits of the colours: without the 1 % of values that are furthest out."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _show_dates(axis: Any, values: Any) -> None:
    if values.dtype.kind == "M":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axis.set_major_locator(locator)
        axis.set_major_formatter(ConciseDateFormatter(locator))


def _label(data: Any, dim: str) -> str:
    units = data[dim].attrs.get("units", "") if dim in data.coords else ""
    return f"{dim} ({units})" if units else str(dim)


def _title(data: Any, variable: str) -> str:
    name = str(data.attrs.get("long_name", ""))
    return f"{name} ({variable})" if name and name != variable else variable


def _sentence(data: Any, variable: str, bad: Any, other: Any) -> str:
    import numpy as np

    values = np.asarray(data.values, float)
    finite = values[np.isfinite(values)]
    units = str(data.attrs.get("units", ""))
    text = f"{variable} along {' and '.join(str(dim) for dim in data.dims)}"
    if finite.size:
        text += f": from {finite.min():.4g} to {finite.max():.4g} {units}".rstrip()
    else:
        text += ": no valid value"
    if bad is not None and bad.any():
        text += f"; {int(bad.sum())} of {bad.size} values are bad"
    if other is not None and other.any():
        text += f"; {int(other.sum())} are indeterminate"
    return text
