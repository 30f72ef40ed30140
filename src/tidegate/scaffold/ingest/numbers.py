"""Numbers in texts: with a decimal point or comma, with texts and numbers that mean missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

_SHARE = 0.5
"""A column with at least this share of numbers is one of numbers."""
_PANDAS = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
"""Texts that pandas takes as missing by itself."""


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers."""

    values: Any
    """A pandas Series of floats, NaN where a value is missing."""
    texts: tuple[str, ...]
    """Texts that stand for a missing value and that pandas does not know."""
    sentinels: tuple[str, ...]
    """Numbers that stand for a missing value, as they are written."""


def to_numbers(values: Any, decimal: str = ".") -> Any:
    """A column as floats, NaN where it is no number."""
    if not _is_text(values):
        return pd.to_numeric(values, errors="coerce").astype(float)
    return pd.to_numeric(_pointed(values, decimal), errors="coerce").astype(float)


def read_numbers(values: Any, decimal: str) -> Numbers | None:
    """A column as numbers with its marks for missing values; None where it is one of texts."""
    numbers = to_numbers(values, decimal)
    numbers = numbers.where(numbers.abs() != math.inf)
    texts: tuple[str, ...] = ()
    if _is_text(values):
        plain = values.fillna("").str.strip()
        filled = plain[~plain.isin(_PANDAS)]
        if len(filled) and numbers[filled.index].notna().mean() < _SHARE:
            return None
        others = filled[numbers[filled.index].isna()]
        texts = tuple(dict.fromkeys(others))
        if not len(filled):
            return Numbers(numbers, (), ())
    sentinels = find_sentinels(numbers)
    written = tuple(_written(values, numbers, value) for value in sentinels)
    return Numbers(numbers.where(~numbers.isin(sentinels)), texts, written)


def find_sentinels(numbers: Any) -> tuple[float, ...]:
    """Numbers of nines far away from all others, such as -9999 or 999.9, and 6999 and 7999."""
    present = numbers.dropna()
    found: list[Any] = []
    for value in present.unique():
        if not _nines(value):
            continue
        others = present[~present.isin([value, *found])]
        if others.empty:
            if value < -90:
                found.append(value)
            continue
        span = max(float(others.max() - others.min()), abs(float(others.median())), 1.0)
        distance = min(abs(value - float(others.max())), abs(value - float(others.min())))
        if distance > span:
            found.append(value)
    return tuple(float(value) for value in found)


def significant_digits(values: Any, decimal: str) -> int:
    """The most digits that a number of a column has, without leading zeros."""
    if not _is_text(values):
        if str(values.dtype) in ("float32", "int8", "int16", "uint8", "uint16"):
            return 7
        present = [f"{value:.15g}" for value in values.dropna()]
        return significant_digits(pd.Series(present, dtype=str), ".") if present else 0
    digits = _pointed(values, decimal).str.replace(r"[eE].*$", "", regex=True)
    plain = digits.str.replace(r"[^0-9]", "", regex=True).str.lstrip("0")
    return int(plain.str.len().max() or 0)


def is_number(text: str) -> bool:
    """Whether a mark for a missing value is a number."""
    return text.lower() not in ("nan", "inf", "-inf") and not math.isnan(
        pd.to_numeric(text.replace(",", "."), errors="coerce")
    )


def _nines(value: float) -> bool:
    digits = f"{abs(value):g}".replace(".", "")
    return (len(digits) >= 2 and set(digits) == {"9"}) or abs(value) in (6999, 7999, 99999.9)


def _written(values: Any, numbers: Any, value: float) -> str:
    """A number as the file writes it."""
    if not _is_text(values):
        return f"{value:g}"
    return str(values[numbers == value].iloc[0]).strip()


def _is_text(values: Any) -> bool:
    return not pd.api.types.is_numeric_dtype(values)


def _pointed(values: Any, decimal: str) -> Any:
    texts = values.astype("string").fillna("").str.strip()
    return texts.str.replace(",", ".", regex=False) if decimal == "," else texts
