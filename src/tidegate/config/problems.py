"""Problems of a config file and remarks on it, each with its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.errors import ConfigurationError
from tidegate.runtime.wording import quantity

KeyPath = tuple[str | int, ...]
"""The place of a value in the file: keys of mappings and indices of lists, from the top."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that must be corrected before the file can be used."""

    file: str
    """The path of the file, as it was given."""
    line: int
    """The line, from 1; 0 if the problem is the file itself."""
    what: str
    """What is wrong."""
    fix: str
    """What to write instead."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}\n  {self.fix}"


@dataclass(frozen=True, order=True)
class Note:
    """Something that is allowed, but perhaps not intended."""

    file: str
    """The path of the file, as it was given."""
    line: int
    """The line, from 1."""
    what: str
    """The remark."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Finding:
    """A problem, before its line is known."""

    path: KeyPath
    """The value that has it."""
    what: str
    """What is wrong."""
    fix: str
    """What to write instead."""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by line, without duplicates: an alias repeats the same mistake in several places."""
    return tuple(sorted(set(problems)))


class ConfigProblems(ConfigurationError):
    """All problems of a config file."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"{file} has {quantity(len(self.problems), 'problem')}",
            why="\n".join(str(problem) for problem in self.problems),
            next="correct the file, then run `tidegate check`",
        )
