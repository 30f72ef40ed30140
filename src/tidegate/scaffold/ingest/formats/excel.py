"""Excel workbooks (.xlsx): one sheet, with a line of titles."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pandas as pd

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.records import Column, Guess, Reader, Sample
from tidegate.scaffold.ingest.units import is_unit, split_title
from tidegate.scaffold.questions import Answers, Question

NAME = "Excel"


def matches(name: str, data: bytes) -> bool:
    """Whether it is a zip archive with a workbook in it."""
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read one sheet; which one is asked where several hold data.

    Raises:
        UsageError: it cannot be read, or has no data.
    """
    try:
        sheets = pd.read_excel(io.BytesIO(data), sheet_name=None, header=None)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"{name} cannot be read as a workbook", why=str(error), next="open and save it again"
        ) from error
    filled = {str(key): frame for key, frame in sheets.items() if len(frame) > 1}
    if not filled:
        raise UsageError(f"{name} holds no data", next="give a sample that holds data")
    names = tuple(filled)
    guesses: list[Guess] = []
    sheet = names[0]
    if len(names) > 1:
        text = f"several sheets hold data ({', '.join(names)}): which is it?"
        question = Question("sheet", text, f"--sheet {sheet!r}", names, sheet)
        sheet = answers.to(question)
        guesses.append(
            Guess("file.sheet", sheet, answers.reason(question), answers.decided(question))
        )
    header, units = _header(filled[sheet])
    keywords: dict[str, Any] = {}
    if len(sheets) > 1:
        keywords["sheet_name"] = sheet
    first = header + 1 + (units is not None)
    skipped = [index for index in range(first) if index != header]
    if skipped:
        keywords["skiprows"] = skipped
    frame = pd.read_excel(io.BytesIO(data), **keywords)
    columns = []
    for index, source in enumerate(frame.columns):
        title, unit, _ = split_title(str(source))
        if units is not None and index < len(units) and units[index]:
            unit = units[index]
        if not frame[source].isna().all():
            columns.append(Column(str(source), title, frame[source], unit))
    facts = [f"sheet {sheet}"] + (["units in a header line"] if units is not None else [])
    reader = Reader("read_excel", keywords)
    return Sample(NAME, tuple(columns), reader, facts=tuple(facts), guesses=tuple(guesses))


def _header(frame: Any) -> tuple[int, list[str] | None]:
    """The line with the titles, and the units in the line below it, if there are any."""
    width = int(frame.notna().sum(axis=1).max())
    for index in range(len(frame)):
        row = frame.iloc[index]
        texts = [value for value in row if isinstance(value, str)]
        if (
            len(texts) >= max(1, width - 1)
            or len(texts) == int(row.notna().sum()) >= width // 2 + 1
        ):
            below = frame.iloc[index + 1] if index + 1 < len(frame) else None
            return index, _units(below)
    return 0, None


def _units(row: Any) -> list[str] | None:
    if row is None:
        return None
    texts = [str(value).strip() if isinstance(value, str) else "" for value in row]
    filled = [text for text in texts if text]
    known = sum(is_unit(text.strip("[]()")) for text in filled)
    if not filled or 2 * known < len(filled) or len(filled) < int(row.notna().sum()):
        return None
    return [text.strip("[]()") for text in texts]
