"""From a sample to a draft of the ingest: variables, their attributes, proposed limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tidegate.scaffold.ingest import names, units
from tidegate.scaffold.ingest.numbers import (
    Numbers,
    is_number,
    read_numbers,
    significant_digits,
)
from tidegate.scaffold.ingest.records import (
    Column,
    Draft,
    Guess,
    Reader,
    Sample,
    Time,
    Variable,
)

_SINGLE = 7  # significant digits that float32 keeps
LIMITS: Mapping[str, tuple[float | None, float | None]] = {
    "relative_humidity": (0, 105),
    "wind_speed": (0, None),
    "wind_speed_of_gust": (0, None),
    "wind_from_direction": (0, 360),
    "sea_surface_wave_significant_height": (0, None),
    "rainfall_amount": (0, None),
    "latitude": (-90, 90),
    "longitude": (-180, 360),
}
"""Where nature or the definition sets the limit, whatever the sample holds."""
_KEPT = ("units", "long_name", "standard_name", "cell_methods", "comment", "positive", "axis")


@dataclass(frozen=True)
class Choices:
    """What a person chose for the ingest."""

    name: str
    """The pipeline's name."""
    location: str
    """The location_id."""
    dataset: str
    """The dataset_name."""
    input_path: str
    """The folder below ``input/`` in which its files arrive."""
    suffix: str
    """The ending of its files."""
    units: Mapping[str, str]
    """Units of columns, by title or name in the file, where the file has none or wrong ones."""


def make_draft(sample: Sample, time: Time, choices: Choices) -> Draft:
    """Draft the ingest of a sample, with every decision and its reason."""
    variables: list[Variable] = []
    taken = {"time"}
    coordinates: list[Variable] = []
    for column in sample.columns:
        if column.source in time.columns:
            continue
        variable = _variable(column, sample, choices)
        if variable.name in taken:
            own = _unique(names.snake(column.source) or variable.name, taken)
            variable = replace(variable, name=own)
        taken.add(variable.name)
        (coordinates if column.source in sample.coordinates else variables).append(variable)
    renamed = {coordinate.source: coordinate.name for coordinate in coordinates}
    variables = [
        replace(variable, dims=tuple(renamed.get(dim, dim) for dim in variable.dims))
        for variable in variables
    ]
    return Draft(
        choices.name,
        choices.location,
        choices.dataset,
        sample,
        _reader(sample, time, variables),
        time,
        tuple(variables),
        tuple(
            replace(
                coordinate,
                dims=(coordinate.name,),
                attrs=_without_limits(coordinate.attrs),
                guesses=tuple(g for g in coordinate.guesses if "valid" not in g.about),
            )
            for coordinate in coordinates
        ),
        choices.input_path,
        choices.suffix,
    )


def _reader(sample: Sample, time: Time, variables: Sequence[Variable]) -> Reader:
    """The reader, with what times and missing values add to it."""
    keywords = dict(sample.reader.keywords)
    missing = _missing(sample, variables)
    if missing and sample.reader.method in ("read_csv", "read_excel"):
        keywords["na_values"] = missing
    if time.texts and sample.reader.method in ("read_csv", "read_excel"):
        keywords["dtype"] = dict.fromkeys(time.columns, "str")
    return replace(sample.reader, keywords=keywords, time_code=time.code)


def _missing(sample: Sample, variables: Sequence[Variable]) -> Any:
    """pandas' ``na_values``: texts hold for all columns, numbers for the column they are in."""
    texts = ["NAN", "INF", "-INF"] if sample.format.endswith("TOA5") else []
    numbers: dict[str, list[str]] = {}
    for variable in variables:
        for mark in variable.missing:
            if is_number(mark):
                numbers.setdefault(variable.source, []).append(mark)
            elif mark not in texts:
                texts.append(mark)
    if not numbers:
        return texts
    columns = [variable for variable in variables if variable.dtype != "str"]
    marks = {v.source: [*texts, *numbers.get(v.source, [])] for v in columns}
    return {source: found for source, found in marks.items() if found}


def _variable(column: Column, sample: Sample, choices: Choices) -> Variable:
    guesses: list[Guess] = []
    unit = _unit(column, choices, guesses)
    named = names.describe(column.title, unit)
    attrs: dict[str, Any] = {"units": unit, "long_name": named.long_name}
    if unit == "":
        canonical = names.standard_names().get(named.standard_name, "1")
        attrs["units"] = canonical
        why = "that of the standard name" if named.standard_name else "it may have one"
        guesses.append(Guess("units", canonical, f"the file names no unit; {why}"))
    name = named.name
    if named.standard_name:
        attrs["standard_name"] = named.standard_name
        guesses.append(Guess("standard_name", named.standard_name, named.reason))
    if named.cell_methods:
        attrs["cell_methods"] = named.cell_methods
    if sample.format == "netCDF":  # what the file says goes before what is guessed
        given = {key: str(column.attrs[key]) for key in _KEPT if column.attrs.get(key)}
        given.pop("units", None)
        name = names.snake(column.source) or name
        guesses = [guess for guess in guesses if guess.about not in given]
        attrs |= given
    numbers = read_numbers(column.values, sample.decimal)
    if numbers is None:
        texts = {"long_name": attrs["long_name"]}
        guesses = [Guess("dtype", "str", "mostly texts")]
        return Variable(
            names.snake(column.title) or name,
            column.source,
            "str",
            texts,
            column.values,
            column.dims,
            guesses=tuple(guesses),
        )
    return _numeric(column, sample, name, attrs, numbers, guesses)


def _numeric(
    column: Column,
    sample: Sample,
    name: str,
    attrs: dict[str, Any],
    numbers: Numbers,
    guesses: list[Guess],
) -> Variable:
    values, missing = numbers.values, (*numbers.texts, *numbers.sentinels)
    if missing:
        why = "no number, or far away from all others"
        guesses.append(Guess("missing", ", ".join(missing), why))
    if values.notna().all() and (values.diff().dropna() == 1).all() and len(values) > 2:
        pass  # a counter has no limits
    elif not values.notna().any():
        guesses.append(Guess("values", "none", "the sample has no value in this column"))
    else:
        low, high, why = propose_limits(values, attrs)
        attrs["valid_min"], attrs["valid_max"] = low, high
        guesses.append(Guess("valid_min, valid_max", f"{low:g} to {high:g}", why))
    single = significant_digits(column.values, sample.decimal) <= _SINGLE
    if sample.format == "netCDF":
        single = str(column.values.dtype) == "float32" or (single and _is_whole(values))
    return Variable(
        name,
        column.source,
        "float32" if single else "float64",
        attrs,
        values,
        column.dims,
        missing=missing,
        guesses=tuple(guesses),
    )


def _unit(column: Column, choices: Choices, guesses: list[Guess]) -> str:
    """The unit as CF spells it; empty where none is known."""
    given = choices.units.get(column.source, choices.units.get(column.title))
    spelled = column.unit if given is None else given
    unit = units.normalize(spelled)
    if unit is None and spelled:
        guesses.append(Guess("units", spelled, f"{spelled!r} is no unit that UDUNITS knows"))
        return spelled if spelled.isascii() else "1"
    if unit and given is None and units.misread(spelled, unit):
        guesses.append(Guess("units", unit, f"the file says {_ascii(spelled)}"))
    return unit or ""


def propose_limits(values: Any, attrs: Mapping[str, Any]) -> tuple[float, float, str]:
    """A valid range around the values of a sample, or by definition, and the reason."""
    low, high = float(values.min()), float(values.max())
    margin = max(high - low, 0.1 * max(abs(low), abs(high))) or 1.0
    step = 10.0 ** math.floor(math.log10(margin))
    wide = (math.floor((low - margin) / step) * step, math.ceil((high + margin) / step) * step)
    percent = (0, 100) if attrs.get("units") == "%" else (None, None)
    by_definition = LIMITS.get(str(attrs.get("standard_name", "")), percent)
    begin = wide[0] if by_definition[0] is None else min(float(by_definition[0]), low)
    end = wide[1] if by_definition[1] is None else max(float(by_definition[1]), high)
    reason = f"a proposal: the sample has {low:g} to {high:g}"
    return float(f"{begin:.6g}"), float(f"{end:.6g}"), reason


def _is_whole(values: Any) -> bool:
    return bool((values.dropna() % 1 == 0).all())


def _without_limits(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if not key.startswith("valid_")}


def _unique(name: str, taken: set[str]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
