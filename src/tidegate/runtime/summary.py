"""Summarizes a dataset: datastream, times, dimensions, and its quality checks.

Works on what Tsdat holds in memory when it saves; xarray and NumPy come with Tsdat and are only
imported here to read a file back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from tidegate.runtime.content_digest import content_digest
from tidegate.runtime.runs import FailedTest, QualitySummary

T = TypeVar("T")
_LONGEST_MEANING = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Summary:
    """What the ledger keeps of a dataset."""

    datastream: str = ""
    """The global attribute ``datastream``, as it was written."""
    begin: datetime | None = None
    """The earliest time."""
    end: datetime | None = None
    """The latest time."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    """The length of each dimension."""
    quality: tuple[QualitySummary, ...] = ()
    """A summary of each ``qc_`` variable."""
    valid: Mapping[str, float] = field(default_factory=dict)
    """The share of values that are not missing, 0 to 1, of each variable."""
    inputs: tuple[str, ...] = ()
    """The global attribute ``inputs``: what it was made from, as the pipeline was given it."""
    content: str = ""
    """A digest of values and attributes; see ``content_digest``."""


def summarize(dataset: Any) -> Summary:
    """The summary of an ``xarray.Dataset``; what cannot be read stays empty. Never raises."""
    nothing: tuple[datetime | None, datetime | None] = (None, None)
    begin, end = _or_default(lambda: _times(dataset), nothing)
    return Summary(
        datastream=str(dataset.attrs.get("datastream", "")),
        begin=begin,
        end=end,
        dimensions={str(name): int(size) for name, size in dict(dataset.sizes).items()},
        quality=_or_default(lambda: tuple(_quality(dataset)), ()),
        valid=_or_default(lambda: _valid(dataset), {}),
        inputs=_or_default(lambda: _inputs(dataset.attrs.get("inputs", ())), ()),
        content=_or_default(lambda: content_digest(dataset), ""),
    )


def _or_default(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except Exception as error:  # odd attributes or times must not fail a run that is fine
        print(f"cannot summarize: {error!r}")
        return default


def summarize_file(path: Path) -> Summary | None:
    """The summary of a netCDF file; None for anything else."""
    if path.suffix not in (".nc", ".cdf", ".nc4"):
        return None
    import xarray as xr

    try:
        # Without masks: they would turn the flags into floating-point numbers.
        with xr.open_dataset(path, mask_and_scale=False) as dataset:
            return summarize(dataset)
    except Exception as error:  # a file that xarray cannot read is still a product
        print(f"cannot summarize {path.name}: {error}")
        return None


def _inputs(value: Any) -> tuple[str, ...]:
    """Tsdat writes one name as it is, several as a list."""
    listed = [value] if isinstance(value, str) else list(value)
    return tuple(str(item) for item in listed if item)


def _times(dataset: Any) -> tuple[datetime | None, datetime | None]:
    if "time" not in dataset.variables:
        return None, None
    values = dataset.variables["time"].values.ravel()
    if values.dtype.kind != "M":
        return None, None
    moments = values.astype("datetime64[us]").astype("int64")
    moments = moments[moments != _NAT]
    if not moments.size:
        return None, None
    return tuple(_EPOCH + timedelta(microseconds=int(m)) for m in (moments.min(), moments.max()))  # type: ignore[return-value]


_NAT = -(2**63)


def _valid(dataset: Any) -> dict[str, float]:
    """For each numeric variable with values, the share that is neither NaN nor a fill value."""
    shares = {}
    for name in dataset.data_vars:
        variable = dataset.variables[name]  # `dataset[name]` also collects its coordinates
        if str(name).startswith("qc_") or variable.dtype.kind not in "fiumM" or not variable.size:
            continue
        values = variable.values
        valid = values == values  # NaN and NaT do not equal themselves
        if variable.dtype.kind in "fiu":
            for attribute in ("_FillValue", "missing_value"):
                fill = variable.attrs.get(attribute, variable.encoding.get(attribute))
                if fill is not None:
                    valid &= values != fill
        shares[str(name)] = round(float(valid.sum()) / variable.size, 6) if valid.any() else 0.0
    return shares


def _quality(dataset: Any) -> list[QualitySummary]:
    """Counts by the standard attributes ``flag_masks`` and ``flag_assessments``.

    Source: the ARM Data File Standards, "Quality Control variables", which Tsdat follows.
    """
    summaries = []
    for name in dataset.data_vars:
        variable = dataset.variables[name]
        if not str(name).startswith("qc_") or variable.dtype.kind not in "iub":
            continue
        flags = variable.values.astype("int64")  # a mask may be larger than a small flag can be
        bad_mask, other_mask = _masks(variable.attrs)
        bad = (flags & bad_mask) != 0 if bad_mask or other_mask else flags != 0
        other = ((flags & other_mask) != 0) & ~bad
        counts = int(flags.size), int(bad.sum()), int(other.sum())
        tests = tuple(_failed_tests(flags, variable.attrs))
        summaries.append(QualitySummary(str(name)[3:], *counts, tests))
    return summaries


def _failed_tests(flags: Any, attributes: Mapping[str, Any]) -> Iterator[FailedTest]:
    """The tests that some values failed, where ``flag_meanings`` says what they are."""
    masks = _listed(attributes.get("flag_masks", ()))
    meanings = _listed(attributes.get("flag_meanings", ()))
    assessments = _listed(attributes.get("flag_assessments", ()))
    if not len(masks) == len(meanings) == len(assessments):
        return
    for mask, meaning, assessment in zip(masks, meanings, assessments):
        failed = int(((flags & int(mask)) != 0).sum())
        if failed:
            yield FailedTest(str(meaning)[:_LONGEST_MEANING], str(assessment), failed)


def _masks(attributes: Mapping[str, Any]) -> tuple[int, int]:
    """The bits that are assessed Bad, and those that are assessed Indeterminate."""
    masks = _listed(attributes.get("flag_masks", ()))
    assessments = _listed(attributes.get("flag_assessments", ()))
    bad = other = 0
    for mask, assessment in zip(masks, assessments):
        if str(assessment).lower() == "bad":
            bad |= int(mask)
        else:
            other |= int(mask)
    return bad, other


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.split()
    return list(value) if hasattr(value, "__iter__") else [value]
