"""JSON lines: one JSON object a line."""

from __future__ import annotations

import json

import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.formats.text import read_text
from tidegate.scaffold.ingest.records import JSON_LINES as READER
from tidegate.scaffold.ingest.records import Column, Reader, Sample
from tidegate.scaffold.ingest.units import split_title
from tidegate.scaffold.questions import Answers

NAME = "JSON lines"


def matches(name: str, data: bytes) -> bool:
    """Whether the first line is a JSON object."""
    line = data.lstrip(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read a file of JSON objects.

    Raises:
        UsageError: a line is not a JSON object.
    """
    text = read_text(name, data)
    try:
        records = [json.loads(line) for line in text.lines if line.strip()]
    except ValueError as error:
        raise UsageError(
            f"{name} has a line that is not JSON",
            why=str(error),
            next="give a sample that is whole",
        ) from error
    frame = pd.DataFrame(records)
    nested = [key for key in frame if frame[key].map(lambda value: isinstance(value, dict)).any()]
    if nested:
        raise UsageError(
            f"{name} has objects within objects: {', '.join(map(str, nested))}",
            next="write a reader for it with pandas.json_normalize (docs/first-pipeline.md)",
        )
    columns = []
    for key in frame:
        title, unit, _ = split_title(str(key))
        columns.append(Column(str(key), title, frame[key], unit))
    keywords = {key: text.keywords[key] for key in ("encoding",) if key in text.keywords}
    return Sample(NAME, tuple(columns), Reader(READER, keywords), facts=text.facts)
