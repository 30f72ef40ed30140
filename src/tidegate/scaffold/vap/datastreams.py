"""What is in a datastream: the variables of its newest product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd

from tidegate.errors import UsageError
from tidegate.workspace.folder import Workspace

_ATTRS = ("units", "long_name", "standard_name", "valid_min", "valid_max")


@dataclass(frozen=True)
class SourceVariable:
    """A variable of a datastream."""

    datastream: str
    """The datastream."""
    name: str
    """Its name there."""
    attrs: Mapping[str, Any]
    """The attributes that a mean of it has, too."""

    @property
    def is_direction(self) -> bool:
        """Whether it is an angle on a circle, of which a mean of numbers is wrong."""
        unit = str(self.attrs.get("units", "")).lower()
        return (
            unit.startswith("deg")
            and unit[:4] not in ("degc", "degf")
            and ("direction" in f"{self.name} {self.attrs.get('standard_name', '')}")
        )


@dataclass(frozen=True)
class Datastream:
    """A datastream, as its newest product shows it."""

    name: str
    """Such as ``pier.met.a1``."""
    file: Path
    """The product."""
    variables: tuple[SourceVariable, ...]
    """The numbers along time, without quality variables."""
    left: tuple[str, ...]
    """Variables that are left out: not along time alone, or not numbers."""
    begin: pd.Timestamp
    """The first time in the product."""
    end: pd.Timestamp
    """The last time in the product."""
    step: pd.Timedelta
    """The usual distance of its times."""


def read_datastream(workspace: Workspace, repository: Path, name: str) -> Datastream:
    """Read the newest product of a datastream: from ``output/``, or an expected one of a test.

    Raises:
        UsageError: there is none, or it holds no variable to average.
    """
    made = sorted(workspace.output.glob(f"**/{name}.*.nc"), key=lambda path: path.name)
    expected = sorted(repository.glob(f"pipelines/*/test/data/expected/{name}.*.nc"))
    found = made or expected
    if not found:
        raise UsageError(
            f"there is no product of the datastream {name}",
            why=f"looked in {workspace.output} and in the expected products of tests",
            next="run its pipeline first; `tidegate products` lists the datastreams",
        )
    file = found[-1]
    try:
        with netCDF4.Dataset(file) as dataset:
            return _read(name, file, dataset)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read", why=str(error), next="run its pipeline again"
        ) from error


def _read(name: str, file: Path, dataset: Any) -> Datastream:
    variables, left = [], []
    for key, variable in dataset.variables.items():
        if key == "time" or key.startswith("qc_") or key in dataset.dimensions:
            continue
        if variable.dimensions != ("time",) or variable.dtype is str:
            left.append(key)
            continue
        if variable.dtype.kind not in "fiu":
            left.append(key)
            continue
        attrs = {attr: _plain(variable.getncattr(attr)) for attr in variable.ncattrs()}
        kept = {attr: attrs[attr] for attr in _ATTRS if attr in attrs}
        variables.append(SourceVariable(name, key, kept))
    if not variables or "time" not in dataset.variables:
        raise UsageError(
            f"{file} has no numbers along time alone",
            next="write a VAP by hand: examples/pipelines/pipelines/lidar_vap is one",
        )
    time = dataset.variables["time"]
    dates: Any = netCDF4.num2date(time[:], time.units, only_use_cftime_datetimes=False)
    times = pd.DatetimeIndex([pd.Timestamp(str(date)) for date in dates])
    steps = pd.Series(times).diff().dropna()
    step = steps.mode()[0] if len(steps) else pd.Timedelta("1min")
    return Datastream(name, file, tuple(variables), tuple(left), times.min(), times.max(), step)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
