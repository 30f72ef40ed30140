"""How a text with columns is laid out: delimiter, header lines, units, first line of data."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import clevercsv

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.units import is_unit

_SAMPLE = 60  # lines that the delimiter is found by
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.:]\d.*|\d{1,2}[- ][A-Za-z]{3}.*|[A-Za-z]{3} \d{1,2},? \d{4}.*")
_MISSING = {"", "nan", "na", "n/a", "null", "none", "inf", "-inf", "-", "--", "---", "*", "."}
_COMMENT = "#;%!"
WHITESPACE = r"\s+"


@dataclass(frozen=True)
class Layout:
    """Where what is in a text."""

    delimiter: str
    """A character, or ``WHITESPACE``."""
    width: int
    """How many columns the data have, without an empty one at the end."""
    trailing: bool
    """Whether lines of data end with a delimiter."""
    first: int
    """The index of the first line of data."""
    names: int | None
    """The index of the line with the titles; None where there is none."""
    units: int | None = None
    """The index of the line with units."""
    repeated: bool = False
    """Whether header lines come again among the data."""
    other_widths: int = 0
    """How many lines of data have more columns than the others."""

    def fields(self, line: str) -> list[str]:
        """The fields of a line."""
        return split(line, self.delimiter)


def split(line: str, delimiter: str) -> list[str]:
    """The fields of a line, without blanks around them."""
    if delimiter == WHITESPACE:
        return line.split()
    if delimiter == "":
        return [line.strip()]
    rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    return [field.strip() for field in rows[0]] if rows else []


def find_layout(name: str, lines: Sequence[str]) -> Layout:
    """Find out how the lines of a text are laid out.

    Raises:
        UsageError: there is no line that looks like data.
    """
    delimiter = find_delimiter(lines)
    widths = Counter(len(split(line, delimiter)) for line in _last(lines))
    width = widths.most_common(1)[0][0]
    first = _first_data(lines, delimiter, width)
    if first is None:
        raise UsageError(
            f"{name} holds no lines that look like data",
            why="lines of data are lines of mostly numbers and dates, all with as many columns",
            next="give a sample with data, or write a reader (docs/first-pipeline.md)",
        )
    body = [line for line in lines[first:] if line.strip()]
    names, units = _header(lines, delimiter, width, first)
    header = {line.strip() for line in lines[:first] if line.strip()}
    data = [split(line, delimiter) for line in body if line.strip() not in header]
    trailing = len(data[0]) > 1 and all(len(row) < width or not row[-1] for row in data)
    if trailing and names is not None:
        titles = split(lines[names], delimiter)
        trailing = len(titles) < width or not titles[-1]
    wide = sum(len(row) > width for row in data)
    return Layout(
        delimiter,
        width - trailing,
        trailing,
        first,
        names,
        units,
        repeated=len(data) < len(body),
        other_widths=wide,
    )


def find_delimiter(lines: Sequence[str]) -> str:
    """The delimiter of the lines of data: they are towards the end of a text."""
    text = _last(lines)
    # A constant number of these in every line is no accident: numbers and dates have none.
    for sign in ("\t", ";", "|"):
        counts = {len(split(line, sign)) for line in text}
        if len(counts) == 1 and counts != {1}:
            return sign
    dialect = clevercsv.Detector().detect("\n".join(text))
    found = str(dialect.delimiter) if dialect is not None else ""
    if found in ("", " ") or found not in ",;\t|":
        spaced = {len(line.split()) for line in text}
        comma = {len(split(line, ",")) for line in text}
        if comma != {1} and len(comma) == 1:
            return ","
        return WHITESPACE if spaced != {1} else ""
    return found


def is_value(field: str) -> bool:
    """Whether a field looks like a number, a date or a missing value."""
    plain = field.strip().strip('"')
    known = plain.lower() in _MISSING
    return known or bool(_NUMBER.fullmatch(plain) or _DATE.fullmatch(plain))


def _last(lines: Sequence[str]) -> list[str]:
    return [line for line in lines[-2 * _SAMPLE :] if line.strip()][-_SAMPLE:]


def _first_data(lines: Sequence[str], delimiter: str, width: int) -> int | None:
    """The first line from which on three lines look like data (fewer at the end of the text)."""
    candidates = [index for index, line in enumerate(lines) if line.strip()]
    for number, index in enumerate(candidates):
        following = candidates[number : number + 3]
        if all(_is_data(split(lines[i], delimiter), width) for i in following):
            return index
    return None


def _is_data(row: Sequence[str], width: int) -> bool:
    filled = [field for field in row if field]
    if not filled or abs(len(row) - width) > 1:
        return False
    values = sum(is_value(field) for field in filled)
    numbers = any(any(sign.isdigit() for sign in field) for field in filled)
    return numbers and 2 * values >= len(filled)


def _header(
    lines: Sequence[str], delimiter: str, width: int, first: int
) -> tuple[int | None, int | None]:
    """The line with the titles and the one with the units, among those just before the data."""
    block: list[int] = []
    for index in range(first - 1, -1, -1):
        if not lines[index].strip():
            continue
        if abs(len(titles(lines[index], delimiter)) - width) > 1:
            break
        block.insert(0, index)
    if not block:
        return None, None
    rows = {index: [f for f in titles(lines[index], delimiter) if f] for index in block}
    units = [index for index in block if _is_units(rows[index])]
    named = [index for index in block if index not in units and rows[index]]
    if not named:
        return None, units[0] if units else None
    # The fullest of them; where several are as full, the first has the titles.
    names = max(named, key=lambda index: (len(set(rows[index])), -index))
    return names, next((index for index in units if index > names), units[0] if units else None)


def titles(line: str, delimiter: str) -> list[str]:
    """The fields of a header line; a sign of a comment in front is left out."""
    return split(line.lstrip().lstrip(_COMMENT).strip() if _commented(line) else line, delimiter)


def _commented(line: str) -> bool:
    return line.lstrip()[:1] in ("#", "%", "!")


def _is_units(row: Sequence[str]) -> bool:
    known = sum(is_unit(field.strip("()[]")) for field in row)
    return bool(row) and 2 * known >= len(row)
