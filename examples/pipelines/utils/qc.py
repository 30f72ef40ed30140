"""Quality checks of our own, and what reads their results."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel
from tsdat import QualityChecker


class CheckAvailability(QualityChecker):
    """Fails where too few of the interval's pulses were usable (`data_availability`, %).

    A ten-minute mean of a few pulses is a number, but not a mean of those ten minutes.
    """

    class Parameters(BaseModel, extra="forbid"):
        """Set in quality.yaml."""

        minimum: float = 50.0
        """Least availability to pass (%)."""

    parameters: Parameters = Parameters()

    def run(self, dataset: xr.Dataset, variable_name: str) -> NDArray[np.bool_] | None:
        """Check one variable; None (no result) where there is no availability to go by."""
        if "data_availability" not in dataset:
            return None
        too_few: NDArray[np.bool_] = dataset["data_availability"].values < self.parameters.minimum
        return too_few


def is_bad(dataset: xr.Dataset, variable_name: str) -> xr.DataArray:
    """Say where a variable is missing or has failed a check that was assessed as bad.

    Reads the flags as Tsdat wrote them: a bit in `flag_masks` for each check, and its assessment
    at the same place in `flag_assessments`.
    """
    variable = dataset[variable_name]
    missing = variable.isnull()
    flags = dataset.get(f"qc_{variable_name}")
    if flags is None:
        return missing
    # netCDF gives a list of one back as a scalar.
    masks = np.atleast_1d(flags.attrs["flag_masks"])
    assessments = np.atleast_1d(flags.attrs["flag_assessments"])
    bad = sum(
        int(m) for m, how in zip(masks, assessments, strict=True) if str(how).lower() == "bad"
    )
    return missing | ((flags.fillna(0).astype("int64") & bad) != 0)
