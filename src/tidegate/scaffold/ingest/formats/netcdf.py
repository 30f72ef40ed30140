"""netCDF: variables with dimensions, units and attributes; only what is missing is asked."""

from __future__ import annotations

import re
from typing import Any

import netCDF4
import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.records import Column, Guess, Reader, Sample
from tidegate.scaffold.questions import Answers, Question

NAME = "netCDF"
UNITS = re.compile(r"(milli|micro)?(second|minute|hour|day)s? since \d{4}-\d{1,2}-\d{1,2}.*", re.I)
_TIME = re.compile(r"time|date|t", re.I)


def matches(name: str, data: bytes) -> bool:
    """Whether it begins like netCDF 3 or netCDF 4 (HDF5)."""
    return data.startswith((b"CDF", b"\x89HDF\r\n\x1a\n"))


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read all variables along time, and the coordinates of their other dimensions.

    Raises:
        UsageError: it cannot be read, or has no variable with times.
        Unanswered: its times have no units, and nobody says them.
    """
    try:
        with netCDF4.Dataset("sample.nc", memory=data) as dataset:
            return _read(name, dataset, answers)
    except OSError as error:
        raise UsageError(
            f"{name} cannot be read as netCDF", why=str(error), next="give a sample that is whole"
        ) from error


def _read(name: str, dataset: Any, answers: Answers) -> Sample:
    time, units, guesses = _time(name, dataset, answers)
    dimension = time.dimensions[0]
    coordinates = [
        key
        for key, variable in dataset.variables.items()
        if variable.dimensions == (key,) and key != time.name and key != dimension
    ]
    known = {dimension, *coordinates}
    columns: list[Column] = [Column(time.name, time.name, _times(time, units))]
    left: list[str] = []
    for key, variable in dataset.variables.items():
        if key == time.name or variable.dtype is str:
            continue
        along = dimension in variable.dimensions and set(variable.dimensions) <= known
        if not (along or key in coordinates):
            left.append(key)
            continue
        attrs = {attr: variable.getncattr(attr) for attr in variable.ncattrs()}
        dims = tuple("time" if dim == dimension else dim for dim in variable.dimensions)
        values = variable[...]
        flat = pd.Series(values.filled(float("nan")).ravel() if _masked(values) else values.ravel())
        unit = str(attrs.get("units", ""))
        columns.append(Column(key, str(attrs.get("long_name", key)), flat, unit, dims, attrs))
    if left:
        why = "they have no time, or dimensions without coordinates"
        guesses.append(Guess("file.variables", f"left out: {', '.join(left)}", why))
    keywords = {"decode_times": False} if not getattr(time, "units", "") else {}
    attrs = {attr: dataset.getncattr(attr) for attr in dataset.ncattrs()}
    facts = (f"{len(dataset.variables)} variables", f"dimensions {', '.join(dataset.dimensions)}")
    return Sample(
        NAME,
        tuple(columns),
        Reader("", keywords),
        facts=facts,
        guesses=tuple(guesses),
        coordinates=tuple(coordinates),
        attrs={**attrs, "time_units": units if keywords else ""},
    )


def _time(name: str, dataset: Any, answers: Answers) -> tuple[Any, str, list[Guess]]:
    """The variable with the times, and its units: of the file, or as somebody says."""
    one = [v for v in dataset.variables.values() if len(v.dimensions) == 1]
    wanted = answers.get("time_column")
    if wanted:
        one = [variable for variable in one if variable.name == wanted]
    decoded = [v for v in one if " since " in str(getattr(v, "units", ""))]
    named = [v for v in one if _TIME.fullmatch(v.name) or wanted]
    found = (decoded or named or [None])[0]
    if found is None:
        raise UsageError(
            f"{name} has no variable with times",
            why=f"its variables are {', '.join(dataset.variables)}",
            next="name it with --time-column",
        )
    if " since " in str(getattr(found, "units", "")):
        return found, str(found.units), []
    values = found[:]
    question = Question(
        "time_units",
        f"the times in {found.name!r} have no units, their values are {values.min():.10g} to"
        f" {values.max():.10g}: what do they count?",
        "--time-units 'seconds since 1970-01-01'",
    )
    units = answers.to(question)
    if not UNITS.fullmatch(units):
        raise UsageError(
            f"{units!r} are no units of time",
            next="say them as CF does: --time-units 'seconds since 2022-06-01 00:00:00'",
        )
    guess = Guess(
        "time.units",
        units,
        f"the file has none; {answers.reason(question)}",
        answers.decided(question),
    )
    return found, units, [guess]


def _times(variable: Any, units: str) -> Any:
    """Times as pandas has them."""
    calendar = getattr(variable, "calendar", "standard")
    try:
        dates: Any = netCDF4.num2date(variable[:], units, calendar, only_use_cftime_datetimes=False)
    except ValueError as error:
        raise UsageError(
            f"the times in {variable.name!r} cannot be read as {units!r}",
            why=str(error),
            next="say the right units: --time-units 'seconds since 2022-06-01 00:00:00'",
        ) from error
    return pd.Series(pd.to_datetime([str(date) for date in dates], format="ISO8601"))


def _masked(values: Any) -> bool:
    return hasattr(values, "filled") and values.dtype.kind == "f"
