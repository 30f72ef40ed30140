"""A quick look at one variable of a product: a picture with what failed the quality checks.

Lines for one dimension, colours for two. The palette is cividis, and marks differ in shape too, so
that readers with any colour vision see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.quality.content import failed_values
from tidegate.quality.datasets import open_product
from tidegate.quality.drawing import (
    BAD,
    LINE,
    MOST_POINTS,
    MOST_ROWS,
    OTHER,
    at_most_two_dimensions,
    axis_label,
    coordinate,
    extremes,
    new_figure,
    show_dates,
    title,
    usual_range,
)

_SIZE = (10.0, 3.6)


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
    with open_product(path) as dataset:
        if variable not in dataset.variables:
            raise ValueError(f"there is no variable {variable!r}")
        data, note = at_most_two_dimensions(dataset[variable])
        flags = dataset.variables.get(f"qc_{variable}")
        bad, other = _failed(flags, data) if flags is not None else (None, None)
        with new_figure(*_SIZE) as figure:
            axes = figure.add_subplot()
            if data.ndim == 2:
                _draw_colours(figure, axes, data, bad)
            else:
                _draw_line(axes, data, bad, other)
            axes.set_title(f"{title(data, variable)}{note}", fontsize=10, loc="left")
            figure.savefig(destination, format="png")
        return QuickLook(_sentence(data, variable, bad, other))


def _failed(flags: Any, data: Any) -> tuple[Any, Any]:
    """Where values of ``data`` failed a test that is assessed Bad, and where only another."""
    import numpy as np

    at = dict.fromkeys((dim for dim in flags.dims if dim not in data.dims), 0)
    values = flags.isel(at).transpose(*(d for d in data.dims if d in flags.dims)).values
    values = np.nan_to_num(np.asarray(values)).astype("int64")
    if values.shape != data.shape:
        return None, None
    return failed_values(values, flags.attrs)


def _draw_line(axes: Any, data: Any, bad: Any, other: Any) -> None:
    import numpy as np

    (dim,) = data.dims
    x, y = coordinate(data, dim), np.asarray(data.values, float)
    shown = extremes(y) if y.size > MOST_POINTS else np.arange(y.size)
    axes.plot(x[shown], y[shown], color=LINE, linewidth=0.9, marker="." if y.size < 60 else "")
    for failed, colour, marker, name in (
        (other, OTHER, "^", "indeterminate"),
        (bad, BAD, "x", "bad"),
    ):
        if failed is not None and (failed & np.isfinite(y)).any():
            axes.plot(x[failed], y[failed], marker, color=colour, markersize=5, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=8)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_xlabel(axis_label(data, dim))
    axes.set_ylabel(str(data.attrs.get("units", "")))
    axes.margins(x=0)
    show_dates(axes.xaxis, x)


def _draw_colours(figure: Any, axes: Any, data: Any, bad: Any) -> None:
    import numpy as np

    if data.dims[1] == "time":
        data, bad = data.transpose(), None if bad is None else bad.T
    steps = [max(1, -(-size // MOST_ROWS)) for size in data.shape]
    data = data[:: steps[0], :: steps[1]]
    across, up = data.dims
    x, y, values = coordinate(data, across), coordinate(data, up), np.asarray(data.values, float)
    low, high = usual_range(values)
    mesh = axes.pcolormesh(
        x, y, np.ma.masked_invalid(values.T), cmap="cividis", vmin=low, vmax=high, shading="nearest"
    )
    figure.colorbar(mesh, ax=axes, label=str(data.attrs.get("units", "")), pad=0.01, extend="both")
    if bad is not None:
        rows, columns = np.nonzero(bad[:: steps[0], :: steps[1]])
        if rows.size:
            every = max(1, rows.size // 3000)
            axes.plot(
                x[rows[::every]], y[columns[::every]], "x", color=BAD, markersize=3, label="bad"
            )
            axes.legend(loc="upper right", fontsize=8)
    axes.set_xlabel(axis_label(data, across))
    axes.set_ylabel(axis_label(data, up))
    show_dates(axes.xaxis, x)


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
