"""What is different in a second product: dimensions, attributes, values and quality flags.

``comparison`` says whether a product is as expected, for tests. Here neither of the two is the
right one: two versions of a product, two days, or two sites.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tidegate.errors import UsageError
from tidegate.quality.comparison import (
    Rules,
    ValueDifference,
    common_part,
    compare_bytes,
    compare_values,
    global_attributes,
    same_value,
    shortened,
    variable_attributes,
    variables_of_both,
    with_close_labels,
)
from tidegate.quality.content import failed_values
from tidegate.quality.datasets import is_dataset, missing, open_product
from tidegate.runtime.content_digest import NEVER_COMPARED
from tidegate.runtime.records import from_json

TIME = "time"


@dataclass(frozen=True)
class Change:
    """Something that is not the same in both, as text."""

    name: str
    """What: a dimension, or an attribute."""
    first: str | None
    """What the first product has; None: nothing."""
    second: str | None
    """What the second product has; None: nothing."""


@dataclass(frozen=True)
class QualityChange:
    """How the flags of a variable differ, over the values that both products have."""

    flags: int
    """How many values have other flags."""
    bad_first: int
    """How many values are bad in the first product."""
    bad_second: int
    """How many values are bad in the second product."""
    now_bad: int
    """How many values are bad in the second product only."""
    now_good: int
    """How many values are bad in the first product only."""


@dataclass(frozen=True)
class VariableChange:
    """A variable that is not the same in both."""

    name: str
    """Its name."""
    only_in: Literal["", "first", "second"] = ""
    """The one product that has it, if only one has."""
    form: Change | None = None
    """Type and dimensions, if these differ."""
    compared: int = 0
    """How many values were compared; 0 where the shapes do not fit each other."""
    values: ValueDifference | None = None
    """How the values differ: "expected" are those of the first product, "new" of the second."""
    quality: QualityChange | None = None
    """How the flags of its ``qc_`` variable differ."""
    attributes: tuple[Change, ...] = ()
    """Its attributes that differ, and those of its ``qc_`` variable."""


@dataclass(frozen=True)
class Changes:
    """All that is different in the second product."""

    dimensions: tuple[Change, ...] = ()
    """Dimensions of another length."""
    labels: tuple[Change, ...] = ()
    """For each dimension with other coordinates: how many of them only one of the products has."""
    attributes: tuple[Change, ...] = ()
    """Global attributes that differ; not those that say when and with which code it was made."""
    variables: tuple[VariableChange, ...] = ()
    """Variables that differ, in the order of the file."""
    unchanged: tuple[str, ...] = ()
    """Variables that are the same in both."""
    days_apart: int = 0
    """By how many days the second product is later, if the two have no time in common: its times
    were moved by as many days before they were compared."""
    text: tuple[str, ...] = ()
    """Of files that are no datasets: the first difference, in words."""

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not (
            self.dimensions
            or self.labels
            or self.attributes
            or self.variables
            or self.days_apart
            or self.text
        )


def find_changes(first: str, second: str, rules: Mapping[str, Any]) -> Changes:
    """Compare two files. For a worker: it needs xarray. ``rules`` is ``Rules`` as JSON.

    Raises:
        OSError, ValueError, UsageError: one of them cannot be read, or is of another kind.
    """
    if is_dataset(first) != is_dataset(second):
        raise UsageError(
            "these two cannot be compared",
            why="only one of them is netCDF or zarr",
            next="choose two files of the same kind",
        )
    if not is_dataset(first):
        found = compare_bytes(Path(second), Path(first))
        return Changes(text=tuple(t.replace("expected", "first file:") for t in found.structure))
    with open_product(first) as one, open_product(second) as other:
        return changes_of_datasets(one, other, from_json(Rules, rules))


def changes_of_datasets(first: Any, second: Any, rules: Rules) -> Changes:
    """Compare two ``xarray.Dataset``."""
    second, days = on_the_same_day(second, first)
    attributes: tuple[Change, ...] = ()
    if rules.attributes:
        pair = global_attributes(first), global_attributes(second)
        attributes = tuple(_attributes(*pair, (*NEVER_COMPARED, *rules.ignore)))
    sizes = tuple(_sizes(first, second))
    second = with_close_labels(second, first, rules)
    labels = tuple(_labels(first, second))
    common = common_part(second, first)[::-1]
    changed, same = [], []
    for name in variables_of_both(second, first):
        if name in rules.ignore or _is_flags(name, first, second):
            continue
        found = _variable(name, (first, second), common, rules)
        if found is not None:
            changed.append(found)
        elif name not in {one.name for one in labels}:
            same.append(name)
    return Changes(sizes, labels, attributes, tuple(changed), tuple(same), days)


def on_the_same_day(second: Any, first: Any) -> tuple[Any, int]:
    """The second dataset with its times moved by whole days, if the two have no time in common.

    Returns the dataset, and by how many days it is later.
    """
    import numpy as np

    if TIME not in first.indexes or TIME not in second.indexes:
        return second, 0
    ours, theirs = first[TIME].values, second[TIME].values
    if ours.dtype.kind != "M" or theirs.dtype.kind != "M" or not ours.size or not theirs.size:
        return second, 0
    if theirs.min() <= ours.max() and ours.min() <= theirs.max():
        return second, 0
    day = "datetime64[D]"
    apart = int((theirs.min().astype(day) - ours.min().astype(day)).astype(int))
    if not apart:
        return second, 0
    times = second[TIME].copy(data=theirs - np.timedelta64(apart, "D"))
    return second.assign_coords({TIME: times}), apart


def _sizes(first: Any, second: Any) -> Iterator[Change]:
    for name in dict.fromkeys((*first.sizes, *second.sizes)):
        sizes = [str(data.sizes[name]) if name in data.sizes else None for data in (first, second)]
        if sizes[0] != sizes[1]:
            yield Change(str(name), *sizes)


def _labels(first: Any, second: Any) -> Iterator[Change]:
    """How many coordinates of each dimension only one of the two has."""
    for name, index in first.indexes.items():
        other = second.indexes.get(name)
        if other is None or index.equals(other):
            continue
        counts = [len(a.difference(b)) for a, b in ((index, other), (other, index))]
        if any(counts):
            yield Change(str(name), *(f"{n} only here" if n else None for n in counts))


def _is_flags(name: str, first: Any, second: Any) -> bool:
    """Whether it is the ``qc_`` variable of a variable that the same products have."""
    held = [[one in data.variables for data in (first, second)] for one in (name, name[3:])]
    return name.startswith("qc_") and held[0] == held[1]


def _variable(
    name: str, whole: tuple[Any, Any], common: tuple[Any, Any], rules: Rules
) -> VariableChange | None:
    """How one variable differs; None if it does not."""
    held = [name in data.variables for data in whole]
    if not all(held):
        return VariableChange(name, "first" if held[0] else "second")
    first, second = (data[name] for data in whole)
    forms = [_form(one) for one in (first, second)]
    form = Change(name, *forms) if rules.attributes and forms[0] != forms[1] else None
    attributes: tuple[Change, ...] = ()
    if rules.attributes:
        pair = variable_attributes(first), variable_attributes(second)
        attributes = tuple(_attributes(*pair, rules.ignore, f"{name}:"))
    one, other = (data[name] for data in common)
    fits = one.shape == other.shape and one.dims == other.dims
    values = compare_values(other, one, name, rules) if fits else None
    quality = None
    flags = f"qc_{name}"
    if flags not in rules.ignore and all(flags in data.variables for data in whole):
        quality = _quality(*(data[flags] for data in common))
        if rules.attributes:
            pair = variable_attributes(whole[0][flags]), variable_attributes(whole[1][flags])
            attributes += tuple(_attributes(*pair, rules.ignore, f"{flags}:"))
    compared = int(one.size) if fits else 0
    all_compared = compared or not max(first.size, second.size)
    if all_compared and not (form or values or quality or attributes):
        return None
    return VariableChange(name, "", form, compared, values, quality, attributes)


def _form(variable: Any) -> str:
    kind = variable.encoding.get("dtype", variable.dtype)
    text = "text" if getattr(variable.dtype, "kind", "") in "OSU" else str(kind)
    return f"{text} ({', '.join(map(str, variable.dims))})"


def _quality(first: Any, second: Any) -> QualityChange | None:
    """How two ``qc_`` variables differ; None if they do not, or have other shapes."""
    import numpy as np

    if first.shape != second.shape:
        return None
    one, other = (
        np.where(missing(np.asarray(f.values)), 0, np.asarray(f.values)).astype("int64")
        for f in (first, second)
    )
    bad_one, bad_other = failed_values(one, first.attrs)[0], failed_values(other, second.attrs)[0]
    flags = int((one != other).sum())
    if not flags and np.array_equal(bad_one, bad_other):
        return None
    return QualityChange(
        flags,
        int(bad_one.sum()),
        int(bad_other.sum()),
        now_bad=int((bad_other & ~bad_one).sum()),
        now_good=int((bad_one & ~bad_other).sum()),
    )


def _attributes(
    first: Mapping[str, Any], second: Mapping[str, Any], ignored: tuple[str, ...], prefix: str = ":"
) -> Iterator[Change]:
    for name in dict.fromkeys((*first, *second)):
        if name in ignored or prefix + name in ignored:
            continue
        if name in first and name in second and same_value(second[name], first[name]):
            continue
        texts = [shortened(one[name]) if name in one else None for one in (first, second)]
        yield Change(name if prefix == ":" else prefix + name, *texts)
