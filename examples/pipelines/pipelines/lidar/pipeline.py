"""The lidar ingest, for all sites."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from pydantic import BaseModel
from tsdat import IngestPipeline
from tsdat.utils import record_corrections_applied
from utils.qc import is_bad

INTERVAL = np.timedelta64(10, "m")


class Lidar(IngestPipeline):
    """Turns a raw file into a product by time and height, and plots it."""

    class Parameters(BaseModel, extra="forbid"):
        """Set in each site's pipeline.yaml."""

        direction_offset: float = 0.0
        """Added to the lidar's wind directions to have them from true north (degrees)."""

    parameters: Parameters = Parameters()

    def hook_customize_dataset(self, dataset: xr.Dataset) -> xr.Dataset:
        """Refer wind directions to true north."""
        offset = self.parameters.direction_offset
        measured = dataset["wind_direction"]
        # Only true directions are turned: modulo 360 would make an impossible one look possible.
        possible = (measured >= 0) & (measured <= 360)
        turned = ((measured + offset) % 360).where(possible, measured)
        dataset["wind_direction"] = turned.assign_attrs(measured.attrs)
        if offset:
            record_corrections_applied(
                dataset, "wind_direction", f"Added {offset:g} degrees to refer it to true north."
            )
        return dataset

    def hook_plot_dataset(self, dataset: xr.Dataset) -> None:
        """Plot wind speed and direction by time and height."""
        fig = plot_wind(dataset)
        fig.savefig(self.get_ancillary_filepath("wind"), dpi=100)


def plot_wind(dataset: xr.Dataset) -> Figure:
    """Draw the profiles of wind speed and direction; bad values and gaps stay white."""
    good = dataset[["wind_speed", "wind_direction"]]
    good = good.assign({name: good[name].where(~is_bad(dataset, name)) for name in good})
    # A regular time axis, so that a gap is drawn as a gap.
    times = pd.date_range(good.time.values[0], good.time.values[-1], freq=pd.Timedelta(INTERVAL))
    good = good.reindex(time=times, method="nearest", tolerance=np.timedelta64(1, "m"))
    # Cells reach back from the label, which is the end of its interval.
    edges = np.concatenate([times.values[:1] - INTERVAL, times.values])

    # Not through pyplot, which keeps each figure until it is closed, and a worker runs for days.
    fig = Figure(figsize=(10, 6))
    margins = {"left": 0.08, "right": 1.0, "top": 0.94, "bottom": 0.1}
    speed_axes, direction_axes = fig.subplots(2, 1, sharex=True, gridspec_kw=margins)
    for axes, name, colors, limits in (
        (speed_axes, "wind_speed", "viridis", {"vmin": 0}),
        (direction_axes, "wind_direction", "twilight_shifted", {"vmin": 0, "vmax": 360}),
    ):
        mesh = axes.pcolormesh(
            edges, _edges(good.height.values), good[name].values.T, cmap=colors, **limits
        )
        attrs = dataset[name].attrs
        fig.colorbar(mesh, ax=axes, label=f"{attrs['long_name']} ({attrs['units']})", pad=0.02)
        axes.set_ylabel("Height (m)")
    speed_axes.set_title(f"{dataset.attrs['datastream']}   {pd.Timestamp(edges[0]):%Y-%m-%d}")
    locator = AutoDateLocator()
    direction_axes.xaxis.set_major_locator(locator)
    direction_axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    direction_axes.set_xlabel("Time (UTC)")
    return fig


def _edges(heights: np.ndarray) -> np.ndarray:
    """Give the limits of layers around heights (m): halfway to the neighbours."""
    if len(heights) == 1:
        return heights[0] + np.array([-10.0, 10.0])
    middle = (heights[:-1] + heights[1:]) / 2
    return np.concatenate([[2 * heights[0] - middle[0]], middle, [2 * heights[-1] - middle[-1]]])
