"""Text with columns: CSV in all its kinds, tab-separated, separated by blanks."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.formats.layout import WHITESPACE, Layout, find_layout, titles
from tidegate.scaffold.ingest.formats.text import Text, read_text
from tidegate.scaffold.ingest.records import Column, Guess, Reader, Sample
from tidegate.scaffold.ingest.units import split_title
from tidegate.scaffold.questions import Answers

NAME = "CSV"
_KINDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", WHITESPACE: "blanks"}


def matches(name: str, data: bytes) -> bool:
    """Any content may be text; ``read`` says where it is not."""
    return True


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read a text with columns.

    Raises:
        UsageError: it is not text, or has no lines of data.
    """
    text = read_text(name, data)
    return read_table(name, text, find_layout(name, text.lines), NAME)


def read_table(name: str, text: Text, layout: Layout, format_name: str) -> Sample:
    """The sample of a text that is laid out like this."""
    sources, guesses = _column_names(text.lines, layout)
    decimal = find_decimal(text.lines, layout)
    keywords = _keywords(text, layout, sources, decimal)
    frame = _frame(name, text.lines, layout, keywords)
    header = _titles(text.lines, layout, sources)
    spelled = _unit_line(text.lines, layout)
    columns = []
    for index, source in enumerate(sources):
        title, unit, how = split_title(header[index])
        unit = spelled[index] if index < len(spelled) and spelled[index] else unit
        if how == "the title's last word":
            guesses.append(Guess(f"{source}.units", unit, "the last word of the title"))
        if source in frame:
            columns.append(Column(source, title, frame[source], unit))
    facts = [f"columns separated by {_KINDS.get(layout.delimiter, 'nothing')}"]
    facts += [f"{layout.first} header lines"] if layout.first > 1 else []
    facts += ["units in a header line"] if layout.units is not None else []
    facts += ["decimal comma"] if decimal == "," else []
    facts += ["a delimiter at the end of each line"] if layout.trailing else []
    facts += ["header lines repeated among the data"] if layout.repeated else []
    if layout.other_widths:
        why = f"{layout.other_widths} lines have more columns; pandas rejects such a file"
        guesses.append(Guess("file.lines", "all as wide as the first", why))
    reader = Reader(
        keywords=keywords,
        header_lines=layout.first if layout.repeated else 0,
    )
    return Sample(
        format_name,
        tuple(columns),
        reader,
        facts=(*text.facts, *facts),
        guesses=(*text.guesses, *guesses),
        decimal=decimal,
    )


def find_decimal(lines: Sequence[str], layout: Layout) -> str:
    """The decimal sign of the numbers: a comma where only that makes numbers of them."""
    if layout.delimiter == ",":
        quoted = sum('"' in line for line in lines[layout.first :])
        if not quoted:
            return "."
    fields = [f for line in lines[layout.first :][:500] for f in layout.fields(line)]
    commas = sum(bool(re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", field)) for field in fields)
    points = sum(bool(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", field)) for field in fields)
    return "," if commas > points else "."


def _column_names(lines: Sequence[str], layout: Layout) -> tuple[list[str], list[Guess]]:
    """The names that columns have in the dataset, each once, and in ASCII."""
    if layout.names is None:
        names = [f"column_{number}" for number in range(1, layout.width + 1)]
        return names, [Guess("file.header", ", ".join(names), "the file has no line of titles")]
    found = titles(lines[layout.names], layout.delimiter)[: layout.width]
    found += [""] * (layout.width - len(found))
    names = []
    for number, title in enumerate(found, 1):
        plain = title.strip().strip('"') or f"column_{number}"
        plain = plain.encode("ascii", "ignore").decode().strip() or f"column_{number}"
        while plain in names:
            plain = f"{plain}_{number}"
        names.append(plain)
    return names, []


def _titles(lines: Sequence[str], layout: Layout, sources: Sequence[str]) -> list[str]:
    if layout.names is None:
        return list(sources)
    found = titles(lines[layout.names], layout.delimiter)
    found = [title.strip().strip('"') for title in found] + [""] * layout.width
    return [title or source for title, source in zip(found, sources)]


def _unit_line(lines: Sequence[str], layout: Layout) -> list[str]:
    if layout.units is None:
        return []
    found = titles(lines[layout.units], layout.delimiter)
    return [unit.strip().strip('"').strip("[]()").strip() for unit in found]


def _keywords(text: Text, layout: Layout, sources: Sequence[str], decimal: str) -> dict[str, Any]:
    """What ``pandas.read_csv`` needs beyond its defaults."""
    keywords: dict[str, Any] = {}
    if layout.delimiter and layout.delimiter != ",":
        keywords["sep"] = layout.delimiter
    keywords.update(text.keywords)
    header = layout.names
    written = _raw_titles(text.lines, layout)
    if header is not None and written == list(sources):
        skipped = [index for index in range(layout.first) if index != header]
        if skipped:
            keywords["skiprows"] = skipped
    else:
        # Titles that cannot be used as they are: none, twice the same, or not in ASCII.
        keywords["names"] = list(sources)
        keywords["header"] = None
        if layout.first:
            keywords["skiprows"] = layout.first
    if layout.trailing:
        # pandas would take the first column as the index: the lines are longer than the titles.
        keywords["usecols"] = list(range(layout.width))
        keywords["index_col"] = False
        keywords.setdefault("names", list(sources))
        keywords["header"] = None
        keywords["skiprows"] = layout.first
    if decimal != ".":
        keywords["decimal"] = decimal
    if layout.delimiter != WHITESPACE and _spaced(text.lines, layout):
        keywords["skipinitialspace"] = True
    return keywords


def _raw_titles(lines: Sequence[str], layout: Layout) -> list[str]:
    """The titles as pandas would take them."""
    if layout.names is None:
        return []
    line = lines[layout.names]
    raw = layout.fields(line)
    if layout.delimiter != WHITESPACE and any(t != t.strip() for t in line.split(layout.delimiter)):
        return []
    return raw[: layout.width] if raw[layout.width :] in ([], [""]) else raw


def _spaced(lines: Sequence[str], layout: Layout) -> bool:
    return bool(layout.delimiter) and any(
        f"{layout.delimiter} " in line for line in lines[layout.first :][:200]
    )


def _frame(name: str, lines: Sequence[str], layout: Layout, keywords: dict[str, Any]) -> Any:
    """The data as texts, read by pandas with the very keywords that the pipeline will use."""
    ours = {key: value for key, value in keywords.items() if key not in ("encoding", "compression")}
    header = {line.strip() for line in lines[: layout.first] if line.strip()}
    body = [line for line in lines[layout.first :] if line.strip() not in header]
    content = "\n".join([*lines[: layout.first], *body]) + "\n"
    try:
        frame = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False, **ours)
    except (ValueError, pd.errors.ParserError) as error:
        raise UsageError(
            f"{name} cannot be read as a table",
            why=f"{error}".strip(),
            next="give a sample without damaged lines",
        ) from error
    # A line with fewer columns than the others gives NaN in spite of keep_default_na.
    return frame.fillna("")
