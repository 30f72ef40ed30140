"""What is wrong with a file, and what is worth knowing about it; each with its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Where = tuple[str | int, ...]
"""Where a value stands in the file: keys of mappings and places in lists, from the top."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that must be mended before the file can be used."""

    file: str
    """The file, as the person named it."""
    line: int
    """The line, from 1; 0 when the problem is the file itself."""
    what: str
    """What is wrong."""
    fix: str
    """What to write instead."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}\n  {self.fix}"


@dataclass(frozen=True, order=True)
class Note:
    """Something that is allowed, and that a person may not have meant."""

    file: str
    """The file, as the person named it."""
    line: int
    """The line, from 1."""
    what: str
    """What is so."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Finding:
    """A problem before its line is looked up."""

    path: Where
    """Where it is."""
    what: str
    """What is wrong."""
    fix: str
    """What to write instead."""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By line, each once: an alias brings the same mistake to several places."""
    return tuple(sorted(set(problems)))
