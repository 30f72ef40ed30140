"""Availability as plain data: for JSON, and rows for CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tidegate.quality.availability import Cell, Gap, Series
from tidegate.quality.variables import VariableSeries

CELL_COLUMNS = (
    *("datastream", "begin", "available", "passed", "expected_s", "present_s"),
    *("products", "samples", "bad", "indeterminate"),
)
"""The columns of ``cell_rows``."""
GAP_COLUMNS = ("datastream", "begin", "end", "hours", "ongoing")
"""The columns of ``gap_rows``."""
VARIABLE_COLUMNS = (
    *("datastream", "variable", "day", "passed", "valid"),
    *("samples", "bad", "indeterminate"),
)
"""The columns of ``variable_rows``."""


def series_data(series: Series) -> dict[str, Any]:
    """A datastream with its days or hours and its gaps."""
    return {
        "datastream": series.datastream,
        "config": series.config,
        "begin": series.begin.isoformat() if series.begin else None,
        "end": series.end.isoformat() if series.end else None,
        "step_s": series.step,
        "available": _rounded(series.total.available),
        "passed": _rounded(series.total.passed),
        "cells": [_cell(cell) for cell in series.cells],
        "gaps": [_gap(gap) for gap in series.gaps],
    }


def variable_data(datastream: str, series: VariableSeries) -> dict[str, Any]:
    """A variable with its days, and how many values failed each test."""
    total = series.total
    return {
        "datastream": datastream,
        "variable": series.variable,
        "passed": _rounded(total.passed),
        "valid": _rounded(total.valid),
        "samples": total.samples,
        "bad": total.bad,
        "indeterminate": total.indeterminate,
        "tests": dict(series.tests),
        "days": [
            {
                "day": day.day.isoformat(),
                "passed": _rounded(day.passed),
                "valid": _rounded(day.valid),
                "samples": day.samples,
                "bad": day.bad,
                "indeterminate": day.indeterminate,
            }
            for day in series.days
        ],
    }


def cell_rows(found: Iterable[Series]) -> Iterator[tuple[Any, ...]]:
    """A row for each day or hour; the columns are ``CELL_COLUMNS``."""
    for series in found:
        for cell in map(_cell, series.cells):
            yield series.datastream, *(cell[name] for name in CELL_COLUMNS[1:])


def gap_rows(found: Iterable[Series]) -> Iterator[tuple[Any, ...]]:
    """A row for each gap; the columns are ``GAP_COLUMNS``."""
    for series in found:
        for gap in map(_gap, series.gaps):
            yield series.datastream, *(gap[name] for name in GAP_COLUMNS[1:])


def variable_rows(datastream: str, found: Iterable[VariableSeries]) -> Iterator[tuple[Any, ...]]:
    """A row for each variable and day; the columns are ``VARIABLE_COLUMNS``."""
    for series in found:
        for day in variable_data(datastream, series)["days"]:
            yield datastream, series.variable, *(day[name] for name in VARIABLE_COLUMNS[2:])


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "begin": cell.begin.isoformat(),
        "available": _rounded(cell.available),
        "passed": _rounded(cell.passed),
        "expected_s": cell.expected,
        "present_s": cell.present,
        "products": cell.products,
        "samples": cell.samples,
        "bad": cell.bad,
        "indeterminate": cell.indeterminate,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "begin": gap.begin.isoformat(),
        "end": gap.end.isoformat(),
        "hours": round((gap.end - gap.begin).total_seconds() / 3600, 2),
        "ongoing": gap.ongoing,
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
