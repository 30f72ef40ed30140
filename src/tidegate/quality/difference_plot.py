"""A picture of one variable in two products, and of the difference between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.quality.comparison import Rules, common_part, with_close_labels
from tidegate.quality.datasets import open_product
from tidegate.quality.drawing import (
    LINE,
    MOST_POINTS,
    MOST_ROWS,
    at_most_two_dimensions,
    axis_label,
    coordinate,
    extremes,
    new_figure,
    show_dates,
    title,
    usual_range,
)
from tidegate.quality.product_changes import on_the_same_day
from tidegate.quality.quick_look import QuickLook

_WIDTH, _PANEL = 10.0, 2.4
_SECOND = "#c25700"
_DIFFERENCES = "RdBu_r"


def draw_difference(
    first: str, second: str, variable: str, names: Sequence[str], destination: str
) -> QuickLook:
    """Draw a variable of two files, and second minus first, into a PNG. ``names`` are for labels.

    For a worker: it needs xarray and matplotlib.

    Raises:
        OSError, ValueError: a file cannot be read, or the variable cannot be drawn.
    """
    with open_product(first) as one, open_product(second) as other:
        for dataset, name in zip((one, other), names):
            if variable not in dataset.variables:
                raise ValueError(f"there is no variable {variable!r} in {name}")
        other, days = on_the_same_day(other, one)
        other = with_close_labels(other, one, Rules())
        shown = [at_most_two_dimensions(data[variable])[0] for data in (one, other)]
        if shown[0].dims != shown[1].dims:
            raise ValueError(f"{variable} has other dimensions in {names[1]} than in {names[0]}")
        apart = _difference(one, other, variable)
        moved = f" ({abs(days)} d {'later' if days > 0 else 'earlier'})" if days else ""
        labels = (names[0], f"{names[1]}{moved}")
        flat = shown[0].ndim == 2
        with new_figure(_WIDTH, _PANEL * (3 if flat else 2) + 0.3) as figure:
            if flat:
                _draw_colours(figure, shown, apart, labels)
            else:
                _draw_lines(figure, shown, apart, labels)
            figure.suptitle(title(shown[0], variable), fontsize=10, x=0.01, ha="left")
            figure.savefig(destination, format="png")
        return QuickLook(_sentence(variable, shown[0], apart))


def _difference(first: Any, second: Any, variable: str) -> Any:
    """Second minus first where both have coordinates in common; None where they have none."""
    other, one = common_part(second, first)
    ours, theirs = other[variable], one[variable]
    if ours.shape != theirs.shape or not ours.size:
        return None
    values = ours.values.astype(float) - theirs.values.astype(float)
    return at_most_two_dimensions(theirs.copy(data=values))[0]


def _draw_lines(figure: Any, shown: Sequence[Any], apart: Any, labels: Sequence[str]) -> None:
    upper, lower = figure.subplots(2, sharex=True)
    for data, label, colour, style in zip(shown, labels, (LINE, _SECOND), ("-", "--")):
        _line(upper, data, color=colour, linestyle=style, label=label)
    upper.legend(loc="upper right", fontsize=8)
    upper.set_ylabel(str(shown[0].attrs.get("units", "")))
    lower.axhline(0.0, color="#777777", linewidth=0.6)
    if apart is None:
        _say_nothing_in_common(lower)
    else:
        _line(lower, apart, color="#333333")
    lower.set_ylabel("second - first")
    (dim,) = shown[0].dims
    lower.set_xlabel(axis_label(shown[0], dim))
    show_dates(lower.xaxis, coordinate(shown[0], dim))
    for axes in (upper, lower):
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.margins(x=0)


def _line(axes: Any, data: Any, **style: Any) -> None:
    import numpy as np

    x, y = coordinate(data, data.dims[0]), np.asarray(data.values, float)
    places = extremes(y) if y.size > MOST_POINTS else np.arange(y.size)
    marker = "." if y.size < 60 else ""
    axes.plot(x[places], y[places], linewidth=0.9, marker=marker, **style)


def _draw_colours(figure: Any, shown: Sequence[Any], apart: Any, labels: Sequence[str]) -> None:
    import numpy as np

    if shown[0].dims[1] == "time":
        shown = [data.transpose() for data in shown]
        apart = None if apart is None else apart.transpose()
    panels = figure.subplots(3, sharex=True, sharey=True)
    both = np.concatenate([np.asarray(data.values, float).ravel() for data in shown])
    units = str(shown[0].attrs.get("units", ""))
    limits = usual_range(both)
    for axes, data, label in zip(panels, shown, labels):
        mesh = _mesh(axes, data, cmap="cividis", vmin=limits[0], vmax=limits[1])
        figure.colorbar(mesh, ax=axes, label=units, pad=0.01, extend="both")
        axes.set_title(label, fontsize=8, loc="left")
    if apart is None:
        _say_nothing_in_common(panels[2])
    else:
        most = max(map(abs, usual_range(np.asarray(apart.values)))) or 1.0
        mesh = _mesh(panels[2], apart, cmap=_DIFFERENCES, vmin=-most, vmax=most)
        figure.colorbar(mesh, ax=panels[2], label=units, pad=0.01, extend="both")
    panels[2].set_title("second - first", fontsize=8, loc="left")
    panels[2].set_xlabel(axis_label(shown[0], shown[0].dims[0]))
    for axes in panels:
        axes.set_ylabel(axis_label(shown[0], shown[0].dims[1]))
    show_dates(panels[2].xaxis, coordinate(shown[0], shown[0].dims[0]))


def _mesh(axes: Any, data: Any, **colours: Any) -> Any:
    import numpy as np

    steps = [max(1, -(-size // MOST_ROWS)) for size in data.shape]
    data = data[:: steps[0], :: steps[1]]
    x, y = coordinate(data, data.dims[0]), coordinate(data, data.dims[1])
    values = np.ma.masked_invalid(np.asarray(data.values, float).T)
    return axes.pcolormesh(x, y, values, shading="nearest", **colours)


def _say_nothing_in_common(axes: Any) -> None:
    axes.text(
        0.5, 0.5, "no coordinates in common", transform=axes.transAxes, ha="center", fontsize=9
    )


def _sentence(variable: str, data: Any, apart: Any) -> str:
    import numpy as np

    if apart is None:
        return f"{variable} in both products, which have no coordinates in common"
    values = np.asarray(apart.values)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"{variable} in both products, which have no valid value in common"
    units = str(data.attrs.get("units", ""))
    text = f"{variable} in both products; second minus first goes from {finite.min():.4g}"
    return f"{text} to {finite.max():.4g} {units}".rstrip()
