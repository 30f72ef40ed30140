"""How a product differs from another one: per variable, how many values, by how much, and where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tidegate.quality.datasets import is_dataset, missing, open_product, plain
from tidegate.runtime.content_digest import NEVER_COMPARED
from tidegate.runtime.records import from_json


@dataclass(frozen=True)
class Tolerance:
    """How far values may be apart: ``|new - expected| <= atol + rtol * |expected|``."""

    rtol: float = 0.0
    """The relative tolerance."""
    atol: float = 0.0
    """The absolute tolerance, in the variable's units."""


@dataclass(frozen=True)
class Rules:
    """What counts as a difference."""

    rtol: float = 0.0
    """The relative tolerance of variables that have none of their own."""
    atol: float = 0.0
    """The absolute tolerance of variables that have none of their own."""
    variables: Mapping[str, Tolerance] = field(default_factory=dict)
    """Tolerances of single variables."""
    attributes: bool = True
    """Whether attributes, dimensions' names and types of variables are compared."""
    ignore: tuple[str, ...] = ()
    """Names of variables and attributes that may differ."""
    times: float = 0.0
    """How far times may be apart, s; the tolerances above are not for times."""

    def tolerance(self, variable: str) -> Tolerance:
        """The tolerance of a variable."""
        return self.variables.get(variable) or Tolerance(self.rtol, self.atol)


@dataclass(frozen=True)
class ValueDifference:
    """How the values of one variable differ."""

    variable: str
    """The variable."""
    count: int
    """How many values differ; those that are missing on one side only among them."""
    total: int
    """How many values were compared."""
    largest: float | None = None
    """The largest distance between two values (of times: s); None where it has no meaning."""
    where: Mapping[str, str] = field(default_factory=dict)
    """The coordinates of that value, or of the first one that differs."""
    expected: str = ""
    """The expected value there."""
    new: str = ""
    """The new value there."""
    now_missing: int = 0
    """How many values are missing that were expected."""
    now_present: int = 0
    """How many values are there that were expected to be missing."""
    mean_absolute: float | None = None
    """The mean of the distances, over all values that are there on both sides, equal ones too."""
    mean: float | None = None
    """The mean of new minus expected over the same values."""


@dataclass(frozen=True)
class Comparison:
    """All the differences between a new product and an expected one; equal when there are none."""

    structure: tuple[str, ...] = ()
    """Variables and dimensions that are new, gone or of another shape or type, in words."""
    values: tuple[ValueDifference, ...] = ()
    """Variables whose values differ."""
    attributes: tuple[str, ...] = ()
    """Attributes that differ, in words."""

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.structure or self.values or self.attributes)


def compare_products(new: str, expected: str, rules: Mapping[str, Any]) -> Comparison:
    """Compare two files. For a worker: it needs xarray. ``rules`` is ``Rules`` as JSON.

    Raises:
        OSError, ValueError: one of them cannot be read.
    """
    if not is_dataset(expected):
        return compare_bytes(Path(new), Path(expected))
    with open_product(new) as one, open_product(expected) as other:
        return compare_datasets(one, other, from_json(Rules, rules))


def compare_bytes(new: Path, expected: Path) -> Comparison:
    """Of files that are no datasets, such as CSV: the first line that differs."""
    one, other = new.read_bytes(), expected.read_bytes()
    if hashlib.sha256(one).digest() == hashlib.sha256(other).digest():
        return Comparison()
    lines, wanted = one.split(b"\n"), other.split(b"\n")
    for number, (line, want) in enumerate(zip(lines, wanted), 1):
        if line != want:
            texts = (text[:200].decode("utf-8", "replace") for text in (want, line))
            return Comparison(
                (f"line {number} differs: expected {next(texts)!r}, got {next(texts)!r}",)
            )
    return Comparison((f"it has {len(lines)} lines, {len(wanted)} were expected",))


def compare_datasets(new: Any, expected: Any, rules: Rules) -> Comparison:
    """Compare two ``xarray.Dataset``."""
    structure: list[str] = []
    values: list[ValueDifference] = []
    attributes: list[str] = []
    for name in variables_of_both(new, expected):
        if name in rules.ignore:
            continue
        if name not in new.variables or name not in expected.variables:
            is_new = name in new.variables
            structure.append(f"{name} is {'not expected' if is_new else 'missing'}")
            continue
        structure += _compare_shape(new[name], expected[name], name)
        if rules.attributes:
            structure += _compare_type(new[name], expected[name], name)
            pairs = variable_attributes(new[name]), variable_attributes(expected[name])
            attributes += _compare_attributes(*pairs, f"{name}:", rules.ignore)
    new = with_close_labels(new, expected, rules)
    structure += _compare_labels(new, expected)
    one, other = common_part(new, expected)
    for name in variables_of_both(one, other):
        if name in one.variables and name in other.variables and name not in rules.ignore:
            difference = compare_values(one[name], other[name], name, rules)
            if difference is not None:
                values.append(difference)
    if rules.attributes:
        ignored = (*NEVER_COMPARED, *rules.ignore)
        attributes += _compare_attributes(
            global_attributes(new), global_attributes(expected), ":", ignored
        )
    return Comparison(tuple(structure), tuple(values), tuple(attributes))


def variables_of_both(new: Any, expected: Any) -> list[str]:
    return list(dict.fromkeys(str(name) for name in (*expected.variables, *new.variables)))


def _compare_shape(new: Any, expected: Any, name: str) -> Iterator[str]:
    if new.dims != expected.dims:
        yield f"{name} has dimensions ({_listed(new.dims)}), ({_listed(expected.dims)}) expected"


def _compare_type(new: Any, expected: Any, name: str) -> Iterator[str]:
    if new.dtype.kind in "OSU" and expected.dtype.kind in "OSU":
        return
    types = [str(one.encoding.get("dtype", one.dtype)) for one in (new, expected)]
    if types[0] != types[1]:
        yield f"{name} is of type {types[0]}, {types[1]} expected"


def with_close_labels(new: Any, expected: Any, rules: Rules) -> Any:
    """The new dataset with the expected labels where its own are within the tolerance of them."""
    for name, index in expected.indexes.items():
        ours = new.indexes.get(name)
        if ours is None or ours.equals(index) or len(ours) != len(index):
            continue
        if compare_values(new[name], expected[name], str(name), rules) is None:
            new = new.assign_coords({name: expected[name]})
    return new


def _compare_labels(new: Any, expected: Any) -> Iterator[str]:
    """Dimensions of another length, and which of their labels are missing or not expected."""
    for name in dict.fromkeys((*expected.sizes, *new.sizes)):
        sizes = new.sizes.get(name), expected.sizes.get(name)
        if None in sizes:
            yield f"dimension {name} is {'not expected' if sizes[0] else 'missing'}"
            continue
        indexed = name in new.indexes and name in expected.indexes
        if not indexed:
            if sizes[0] != sizes[1]:
                yield f"dimension {name} has {sizes[0]} values, {sizes[1]} expected"
            continue
        ours, wanted = new.indexes[name], expected.indexes[name]
        lost, more = wanted.difference(ours), ours.difference(wanted)
        if sizes[0] == sizes[1] and not len(lost) and not len(more):
            continue
        text = f"dimension {name} has {sizes[0]} values, {sizes[1]} expected"
        if len(lost):
            text += f"; {len(lost)} missing, the first is {plain(lost.values[0])}"
        if len(more):
            text += f"; {len(more)} not expected, the first is {plain(more.values[0])}"
        yield text


def common_part(new: Any, expected: Any) -> tuple[Any, Any]:
    """The two on the labels that both have, so that a row more or less does not hide the rest."""
    import xarray as xr

    same = all(
        name in expected.indexes and index.equals(expected.indexes[name])
        for name, index in new.indexes.items()
    )
    unique = all(index.is_unique for data in (new, expected) for index in data.indexes.values())
    if same or not unique or new.sizes.keys() != expected.sizes.keys():
        return new, expected
    one, other = xr.align(new, expected, join="inner", copy=False)
    return one, other


def compare_values(new: Any, expected: Any, name: str, rules: Rules) -> ValueDifference | None:
    import numpy as np

    ours, wanted = np.asarray(new.values), np.asarray(expected.values)
    if ours.shape != wanted.shape or new.dims != expected.dims:
        return None  # said by _compare_shape and _compare_labels
    gaps, expected_gaps = missing(ours), missing(wanted)
    distance = _distance(ours, wanted)
    if distance is None:
        differs = np.array(ours != wanted, bool) & ~(gaps & expected_gaps)
    else:
        tolerance = rules.tolerance(name)
        limit = tolerance.atol + tolerance.rtol * _magnitude(wanted)
        if wanted.dtype.kind in "mM":
            limit = rules.times
        both = ~gaps & ~expected_gaps
        with np.errstate(invalid="ignore"):
            differs = (gaps != expected_gaps) | (both & ~((distance <= limit) | (ours == wanted)))
        apart = np.nan_to_num(distance, posinf=np.inf)
        distance = np.where(differs & both, apart, -1.0)
    count = int(differs.sum())
    if not count:
        return None
    means: tuple[float | None, float | None] = (None, None)
    if distance is not None and both.any():
        means = _means(np.where(ours < wanted, -apart, apart)[both])
    largest = None
    place = int(np.argmax(differs))
    if distance is not None and distance.max() >= 0:
        place = int(np.argmax(distance))
        largest = float(distance.ravel()[place])
    return ValueDifference(
        name,
        count,
        int(differs.size),
        largest,
        _place(expected, np.unravel_index(place, differs.shape)),
        expected="missing" if expected_gaps.ravel()[place] else plain(wanted.ravel()[place]),
        new="missing" if gaps.ravel()[place] else plain(ours.ravel()[place]),
        now_missing=int((gaps & ~expected_gaps).sum()),
        now_present=int((~gaps & expected_gaps).sum()),
        mean_absolute=means[0],
        mean=means[1],
    )


def _means(apart: Any) -> tuple[float | None, float | None]:
    """The mean of the absolute values, and the mean; None where a value is infinite."""
    import numpy as np

    if not np.isfinite(apart).all():
        return None, None
    return float(np.abs(apart).mean()), float(apart.mean())


def _magnitude(values: Any) -> Any:
    """What a relative tolerance is relative to; 0 for what is not finite, and for times."""
    import numpy as np

    if values.dtype.kind not in "iuf":
        return 0.0
    numbers = values.astype(float)
    return np.abs(np.where(np.isfinite(numbers), numbers, 0.0))


def _distance(ours: Any, wanted: Any) -> Any:
    """How far values are apart, times in s; None for what has no distance, such as text."""
    import numpy as np

    kinds = {ours.dtype.kind, wanted.dtype.kind}
    if kinds <= set("iu"):  # exact: floating point has no room for all integers
        return np.where(ours > wanted, ours - wanted, wanted - ours).astype(float)
    if kinds <= set("iufb"):
        with np.errstate(invalid="ignore"):
            return np.abs(ours.astype(float) - wanted.astype(float))
    if kinds in ({"M"}, {"m"}):
        apart = (ours - wanted).astype("timedelta64[ns]")
        return np.abs(apart / np.timedelta64(1, "s"))
    return None


def _place(variable: Any, index: tuple[Any, ...]) -> dict[str, str]:
    """The labels of one value: its coordinates, or its number where a dimension has none."""
    return {
        str(dim): plain(variable[dim].values[at]) if dim in variable.coords else f"#{int(at)}"
        for dim, at in zip(variable.dims, index)
    }


def global_attributes(dataset: Any) -> dict[str, Any]:
    """``inputs`` names files by where they lay, which is different each time: compared by name."""
    attributes = dict(dataset.attrs)
    inputs = attributes.get("inputs")
    if inputs is not None:
        listed = [inputs] if isinstance(inputs, str) else list(inputs)
        attributes["inputs"] = [PurePosixPath(str(item)).name for item in listed]
    return attributes


def variable_attributes(variable: Any) -> dict[str, Any]:
    fill = variable.encoding.get("_FillValue")
    return {**variable.attrs, **({} if fill is None else {"_FillValue": fill})}


def _compare_attributes(
    new: Mapping[str, Any], expected: Mapping[str, Any], prefix: str, ignored: tuple[str, ...]
) -> Iterator[str]:
    for name in dict.fromkeys((*expected, *new)):
        if name in ignored or prefix + name in ignored:
            continue
        if name not in new:
            yield f"{prefix}{name} is missing, {shortened(expected[name])} expected"
        elif name not in expected:
            yield f"{prefix}{name} is not expected: {shortened(new[name])}"
        elif not same_value(new[name], expected[name]):
            texts = shortened(new[name]), shortened(expected[name])
            yield f"{prefix}{name} is {texts[0]}, {texts[1]} expected"


def same_value(one: Any, other: Any) -> bool:
    import numpy as np

    if isinstance(one, str) or isinstance(other, str):
        return bool(str(one) == str(other))
    ours, wanted = np.asarray(one), np.asarray(other)
    if ours.shape != wanted.shape and ours.size == wanted.size == 1:
        ours, wanted = ours.ravel(), wanted.ravel()
    if ours.shape != wanted.shape:
        return False
    try:
        return bool(np.array_equal(ours, wanted, equal_nan=True))
    except TypeError:  # text
        return bool(np.array_equal(ours, wanted))


def shortened(value: Any) -> str:
    text = repr(plain(value)) if isinstance(value, str) else plain(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names)
