"""Hourly wind at hub height, from the lidar's ten-minute profiles."""

import logging
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from tsdat import TransformationPipeline
from tsdat.io.retrievers import StorageRetrieverInput
from utils import wind
from utils.qc import is_bad

logger = logging.getLogger(__name__)

INTERVAL = pd.Timedelta("10min")
"""Length of a sample. Its label is its end."""


class NoDataError(ValueError):
    """There is nothing to make a product of."""


class HubHeightWind(TransformationPipeline):
    """Derives wind at hub height for each sample; Tsdat's BinAverage then takes hourly means."""

    class Parameters(TransformationPipeline.Parameters, extra="forbid"):
        """Set in pipeline.yaml."""

        datastreams: list[str]
        hub_height: float
        """Height of the hub (m)."""
        rotor_bottom: float
        """Least height that the rotor reaches (m)."""
        rotor_top: float
        """Greatest height that the rotor reaches (m)."""
        air_density: float
        """Density of the air (kg m-3)."""

    parameters: Parameters

    def run(self, inputs: list[str], **kwargs: Any) -> xr.Dataset:
        """Run for one window. One in which nothing was measured makes no product: no failure."""
        try:
            return super().run(inputs, **kwargs)
        except NoDataError as reason:
            logger.info("nothing to do: %s", reason)
            return xr.Dataset()

    def hook_customize_input_datasets(
        self, input_datasets: dict[str, xr.Dataset], **kwargs: Any
    ) -> dict[str, xr.Dataset]:
        """Replace the profiles by what is derived from them, sample by sample."""
        derived = {}
        for key, profiles in input_datasets.items():
            window = StorageRetrieverInput(key)
            if not len(profiles.get("time", [])):
                raise NoDataError(_no_data(window))
            samples = select_window(profiles, window.start, window.end)
            if not samples["present"].any():
                raise NoDataError(_no_data(window))
            derived[key] = self.derive(samples)
        return derived

    def derive(self, samples: xr.Dataset) -> xr.Dataset:
        """Derive wind at hub height from profiles by time and height."""
        # BinAverage takes the mean of bad values, too (it flags the result, no more), but leaves
        # out NaN; so bad values become NaN here.
        names = ["wind_speed", "wind_speed_std", "wind_direction"]
        speed, deviation, direction = (
            samples[name].where(~is_bad(samples, name)).values.astype(float) for name in names
        )
        heights = samples["height"].values
        hub = self.parameters.hub_height

        hub_speed = np.exp(wind.at_height(wind.log_speed(speed), heights, hub))
        # Directions are interpolated as unit vectors, for which 359 and 1 degree are close.
        east, north = (
            wind.at_height(part, heights, hub) for part in wind.components(1.0, direction)
        )
        eastward, northward = wind.components(hub_speed, wind.direction(east, north))
        rotor = (heights >= self.parameters.rotor_bottom) & (heights <= self.parameters.rotor_top)
        variables = {
            "wind_speed": hub_speed,
            "eastward_wind": eastward,
            "northward_wind": northward,
            "wind_shear_exponent": wind.shear_exponent(speed[:, rotor], heights[rotor]),
            "turbulence_intensity": wind.at_height(deviation, heights, hub) / hub_speed,
            "wind_power_density": 0.5 * self.parameters.air_density * hub_speed**3,
            "coverage": np.isfinite(hub_speed).astype(float),
        }
        times = samples["time"].values
        derived = xr.Dataset(
            {name: ("time", values) for name, values in variables.items()}, coords={"time": times}
        )
        # Without these, BinAverage takes a label as the middle of its sample.
        bounds = np.stack([times - INTERVAL.to_timedelta64(), times], axis=1)
        return derived.assign(time_bounds=(("time", "bound"), bounds))

    def hook_customize_dataset(self, dataset: xr.Dataset) -> xr.Dataset:
        """Finish the hourly dataset: directions, and what the numbers were made with."""
        dataset["wind_direction"] = dataset["wind_direction"].copy(
            data=wind.direction(dataset["eastward_wind"], dataset["northward_wind"])
        )
        dataset.attrs.update(
            hub_height=f"{self.parameters.hub_height:g} m",
            rotor=f"{self.parameters.rotor_bottom:g} to {self.parameters.rotor_top:g} m",
            air_density=f"{self.parameters.air_density:g} kg m-3",
        )
        return dataset


def select_window(profiles: xr.Dataset, begin: datetime, end: datetime) -> xr.Dataset:
    """Select the samples of the half-open window [begin, end), on a complete ten-minute grid.

    A sample belongs to the window in which it was measured, so the one labelled `begin` is of the
    window before and the one labelled `end` belongs here: windows side by side share no sample and
    lose none. Intervals that were not recorded become NaN, and False in the variable `present`.
    """
    profiles = profiles.sortby("time").drop_duplicates("time")
    profiles = profiles.assign(present=("time", np.ones(profiles.sizes["time"])))
    grid = pd.date_range(pd.Timestamp(begin) + INTERVAL, end, freq=INTERVAL, unit="ns")
    samples = profiles.reindex(time=grid)
    return samples.assign(present=samples["present"] == 1)


def _no_data(window: StorageRetrieverInput) -> str:
    return (
        f"no lidar data in [{window.start:%Y-%m-%d %H:%M}, {window.end:%Y-%m-%d %H:%M}) UTC"
        f" in datastream {window.datastream}"
    )
