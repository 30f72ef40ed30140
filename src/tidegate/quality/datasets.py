"""Reading products with xarray, in the pipelines' environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NETCDF = (".nc", ".cdf", ".nc4")
"""The endings of netCDF files."""


def is_dataset(name: str) -> bool:
    """Whether a file of that name is read as a dataset: netCDF and zarr are."""
    return name.endswith((*NETCDF, ".zarr"))


@contextmanager
def open_product(path: str) -> Iterator[Any]:
    """The ``xarray.Dataset`` of a product: fill values are masked, times are decoded.

    Flags and other integers stay integers where they have no fill value.
    """
    import xarray as xr

    engine = {"engine": "zarr"} if Path(path).suffix == ".zarr" else {}
    with xr.open_dataset(path, **engine) as dataset:
        yield dataset


def missing(values: Any) -> Any:
    """Where values are missing: NaN, no time, or None; an array of booleans."""
    import numpy as np

    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        return np.array([_is_none(value) for value in values.ravel()], bool).reshape(values.shape)
    return np.zeros(values.shape, bool)


def _is_none(value: object) -> bool:
    return value is None or value != value


def plain(value: Any) -> str:
    """One value as a person writes it: times in ISO 8601, numbers with their significant digits."""
    import numpy as np

    if isinstance(value, np.ndarray):
        if value.ndim:
            return (
                "["
                + ", ".join(plain(item) for item in value.ravel()[:8])
                + (", …]" if value.size > 8 else "]")
            )
        value = value[()]
    if isinstance(value, (np.datetime64, np.timedelta64)):
        text = str(value.astype("datetime64[ns]") if isinstance(value, np.datetime64) else value)
        return text[:-10] if text.endswith(".000000000") else text
    if isinstance(value, np.float32):
        # The fewest digits that tell it from its neighbours.
        return re.sub(r"\.0$", "", str(value))
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.12g}"
    if isinstance(value, (list, tuple)):
        return plain(np.array(value, dtype=object))
    return str(value)
