"""TOA5: the text files of Campbell Scientific's loggers, with four header lines."""

from __future__ import annotations

from dataclasses import replace

from tidegate.scaffold.ingest.formats.delimited import read_table
from tidegate.scaffold.ingest.formats.layout import Layout, split
from tidegate.scaffold.ingest.formats.text import read_text
from tidegate.scaffold.ingest.records import Sample
from tidegate.scaffold.questions import Answers

NAME = "TOA5"
_HEADER = 4  # station, names, units, processing


def matches(name: str, data: bytes) -> bool:
    """Whether the first field says ``TOA5``."""
    return data[:16].lstrip(b"\xef\xbb\xbf").lstrip(b'"').startswith(b"TOA5")


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read a TOA5 file: its processing line (Avg, Max, ...) is added to the titles.

    Raises:
        UsageError: it is cut off within its header.
    """
    text = read_text(name, data)
    names = split(text.lines[1], ",") if len(text.lines) > 1 else []
    header = {line.strip() for line in text.lines[:_HEADER]}
    repeated = any(line.strip() in header for line in text.lines[_HEADER:])
    layout = Layout(",", len(names), False, _HEADER, 1, 2, repeated=repeated)
    sample = read_table(name, text, layout, NAME)
    processing = split(text.lines[3], ",") if len(text.lines) > 3 else []
    columns = tuple(
        replace(column, title=_with_statistic(column.title, word))
        for column, word in zip(sample.columns, [*processing, *[""] * len(names)])
    )
    station = split(text.lines[0], ",")
    facts = [f"station {station[1]}"] if len(station) > 1 else []
    facts += [f"logger {station[2]}"] if len(station) > 2 else []
    return replace(sample, columns=columns, facts=(*facts, *sample.facts))


def _with_statistic(title: str, processing: str) -> str:
    """A title that names its statistic: loggers mostly add it themselves."""
    if processing in ("", "Smp", "WVc") or title.lower().endswith(processing.lower()):
        return title
    return f"{title}_{processing}"
