"""Formats of raw files, one module each: found in one table, tried in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.formats import (
    archive,
    delimited,
    excel,
    jsonlines,
    netcdf,
    toa5,
)
from tidegate.scaffold.ingest.records import Sample
from tidegate.scaffold.questions import Answers


class Format(Protocol):
    """What a module of a format offers."""

    NAME: str
    """The name of the format."""

    def matches(self, name: str, data: bytes) -> bool:
        """Whether the content of a file is in this format."""

    def read(self, name: str, data: bytes, answers: Answers) -> Sample:
        """Read it; raises UsageError where it is not what it seems."""


FORMATS: tuple[Format, ...] = (netcdf, excel, archive, toa5, jsonlines, delimited)
"""All formats. The last takes any text."""


@dataclass(frozen=True)
class RawFile:
    """A raw file that was looked at."""

    path: Path
    """Where it is."""
    sample: Sample
    """What is in it."""


def read_file(path: Path, answers: Answers) -> RawFile:
    """Recognize the format of a raw file, and read it.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the sample {path}", why=str(error), next="name files that exist"
        ) from error
    if not data:
        raise UsageError(f"{path} is empty", next="give a sample that holds data")
    return RawFile(path, read_content(path.name, data, answers))


def joined(samples: Sequence[Sample]) -> Sample:
    """Samples with the same columns as one, their values one after the other."""
    first = samples[0]
    if len(samples) == 1:
        return first
    columns = tuple(
        replace(
            column,
            values=pd.concat([sample.columns[i].values for sample in samples], ignore_index=True),
        )
        for i, column in enumerate(first.columns)
    )
    repeated = next((s.reader for s in samples if s.reader.header_lines), first.reader)
    return replace(first, columns=columns, reader=repeated)


def read_content(name: str, data: bytes, answers: Answers) -> Sample:
    """Recognize the format of a file's content, and read it.

    Raises:
        UsageError: it cannot be read.
    """
    found = next(one for one in FORMATS if one.matches(name, data))
    return found.read(name, data, answers)
