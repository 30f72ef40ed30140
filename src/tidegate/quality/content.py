"""What a product holds: variables, how many values are valid, quality checks, attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.quality.datasets import missing, open_product, plain
from tidegate.runtime.runs import FailedTest


@dataclass(frozen=True)
class Variable:
    """One variable of a product."""

    name: str
    """Its name."""
    dims: tuple[str, ...]
    """Its dimensions."""
    dtype: str
    """The type of its values as stored, such as ``float32``."""
    values: int
    """How many values it has."""
    valid: int
    """How many of them are not missing."""
    bad: int = 0
    """How many failed a test that is assessed Bad; missing ones among them."""
    indeterminate: int = 0
    """How many failed only tests that are assessed Indeterminate."""
    units: str = ""
    """The attribute ``units``."""
    least: str = ""
    """The smallest valid value."""
    most: str = ""
    """The largest valid value."""
    coordinate: bool = False
    """Whether it is a coordinate."""
    checked: bool = False
    """Whether there is a ``qc_`` variable for it."""
    tests: tuple[FailedTest, ...] = ()
    """The tests of its ``qc_`` variable, passed by all values or not."""

    @property
    def valid_share(self) -> float:
        """The part of the values that are not missing, 0 to 1; 1 for a variable without values."""
        return self.valid / self.values if self.values else 1.0


@dataclass(frozen=True)
class Content:
    """What a product holds."""

    dimensions: Mapping[str, int] = field(default_factory=dict)
    """The length of each dimension."""
    variables: tuple[Variable, ...] = ()
    """Coordinates first; ``qc_`` variables are part of the variable that they are about."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The global attributes, as text."""


def describe_product(path: str) -> Content:
    """What a netCDF file or zarr folder holds. For a worker: it needs xarray.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with open_product(path) as dataset:
        return describe_dataset(dataset)


def describe_dataset(dataset: Any) -> Content:
    """What an ``xarray.Dataset`` holds."""
    names = [*dataset.coords, *dataset.data_vars]
    return Content(
        dimensions={str(name): int(size) for name, size in dict(dataset.sizes).items()},
        variables=tuple(
            _variable(dataset, str(name)) for name in names if not _is_flags(dataset, str(name))
        ),
        attributes={str(name): plain(value) for name, value in dataset.attrs.items()},
    )


def _is_flags(dataset: Any, name: str) -> bool:
    return name.startswith("qc_") and name[3:] in dataset.variables


def _variable(dataset: Any, name: str) -> Variable:
    variable = dataset[name]
    values = variable.values
    gaps = missing(values)
    bad = indeterminate = 0
    tests: tuple[FailedTest, ...] = ()
    flags = dataset.variables.get(f"qc_{name}")
    if flags is not None:
        tests, bad, indeterminate = _flagged(flags)
    least, most = _limits(values[~gaps])
    return Variable(
        name=name,
        dims=tuple(str(dim) for dim in variable.dims),
        dtype=str(variable.encoding.get("dtype", variable.dtype)),
        values=int(values.size),
        valid=int(values.size - gaps.sum()),
        bad=bad,
        indeterminate=indeterminate,
        units=_units(variable),
        least=least,
        most=most,
        coordinate=name in dataset.coords,
        checked=flags is not None,
        tests=tests,
    )


def _units(variable: Any) -> str:
    return str(variable.attrs.get("units", variable.encoding.get("units", "")))


def _limits(valid: Any) -> tuple[str, str]:
    """The smallest and largest of some values that are not missing; "" where there is no order."""
    if not valid.size or valid.dtype.kind not in "iufmM":
        return "", ""
    return plain(valid.min()), plain(valid.max())


def _flagged(flags: Any) -> tuple[tuple[FailedTest, ...], int, int]:
    """The tests of a ``qc_`` variable, and how many values are bad and indeterminate.

    Source: the ARM Data File Standards, "Quality Control variables", which Tsdat follows.
    """
    import numpy as np

    values = np.nan_to_num(np.asarray(flags.values)).astype("int64")
    tests = tuple(
        FailedTest(meaning, assessment, int(((values & mask) != 0).sum()))
        for mask, meaning, assessment in flag_tests(flags.attrs)
    )
    bad, other = failed_values(values, flags.attrs)
    return tests, int(bad.sum()), int(other.sum())


def failed_values(flags: Any, attributes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Where values failed a test that is assessed Bad, and where only another; of whole numbers.

    Where nothing says what the bits mean, whatever is not 0 is bad.
    """
    import numpy as np

    bad, other, tested = np.zeros(flags.shape, bool), np.zeros(flags.shape, bool), False
    for mask, _, assessment in flag_tests(attributes):
        tested = True
        where = bad if assessment.lower() == "bad" else other
        where |= (flags & mask) != 0
    if not tested:
        bad = flags != 0
    return bad, other & ~bad


def flag_tests(attributes: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Mask, meaning and assessment of each test of a ``qc_`` variable, from its attributes."""
    masks = _items(attributes.get("flag_masks", ()))
    meanings = _items(attributes.get("flag_meanings", ()))
    assessments = _items(attributes.get("flag_assessments", ()))
    for number, mask in enumerate(masks):
        meaning = meanings[number] if number < len(meanings) else f"bit {number + 1}"
        assessment = assessments[number] if number < len(assessments) else "Indeterminate"
        yield int(mask), str(meaning), str(assessment)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.split()
    return list(value) if hasattr(value, "__iter__") else [value]
