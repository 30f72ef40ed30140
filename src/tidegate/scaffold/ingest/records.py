"""What a sample holds and what the ingest would be: plain records, each guess with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Guess:
    """Something that was decided from the sample, and that a person should check."""

    about: str
    """The variable or setting, such as ``air_temperature.units``."""
    value: str
    """What was decided."""
    reason: str
    """Why."""
    said: bool = False
    """A person decided it: it is noted, and need not be checked."""


@dataclass(frozen=True)
class Column:
    """One column of a table, or one variable of a netCDF file."""

    source: str
    """Its name in the dataset that the reader gives."""
    title: str
    """Its title in the file, without the unit."""
    values: Any
    """A pandas Series: texts as they are in the file, or numbers where the format has types."""
    unit: str = ""
    """The unit as the file spells it; empty where it names none."""
    dims: tuple[str, ...] = ("time",)
    """Its dimensions."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """The attributes that it has in the file."""


@dataclass(frozen=True)
class Reader:
    """How the raw file is read: one of Tsdat's readers, or a small one of the pipeline's own."""

    method: str = "read_csv"
    """The pandas function: ``read_csv`` or ``read_excel``; ``JSON_LINES``; empty for netCDF."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """What that function is given."""
    archive: str = ""
    """``ZipReader`` or ``TarReader`` where the file is an archive."""
    members: str = ".*"
    """The pattern of the archive's members that are read."""
    header_lines: int = 0
    """How many lines precede the data, where they come again further down; otherwise 0."""
    time_code: tuple[str, ...] = ()
    """Lines of Python that make ``frame["time"]`` from other columns."""

    @property
    def own(self) -> bool:
        """Whether Tsdat has no reader for this, so that the pipeline brings its own."""
        return bool(self.header_lines or self.time_code) or self.method in _NOT_IN_TSDAT


JSON_LINES = "json_lines"
"""The method of JSON lines, for which pandas has no function that leaves types alone."""
_NOT_IN_TSDAT = ("read_excel", JSON_LINES)


@dataclass(frozen=True)
class Sample:
    """What is in the sample files."""

    format: str
    """The name of the format, such as ``CSV`` or ``TOA5``."""
    columns: tuple[Column, ...]
    """All columns, in the file's order."""
    reader: Reader
    """How it is read."""
    facts: tuple[str, ...] = ()
    """What was recognized, a short phrase each."""
    guesses: tuple[Guess, ...] = ()
    """What was decided and should be checked."""
    coordinates: tuple[str, ...] = ()
    """netCDF: the coordinates other than time."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Global attributes of the file."""
    decimal: str = "."
    """The decimal sign of numbers that are texts."""


@dataclass(frozen=True)
class Time:
    """How the times of a sample are read."""

    columns: tuple[str, ...]
    """The columns that they are in."""
    values: Any
    """The times of the sample as a pandas DatetimeIndex, in UTC and without a zone."""
    format: str = ""
    """For Tsdat's ``StringToDatetime``; empty where it is not a text or needs no conversion."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """``to_datetime_kwargs`` of ``StringToDatetime``."""
    timezone: str = "UTC"
    """The zone that the file's times are in."""
    code: tuple[str, ...] = ()
    """Lines of Python for the pipeline's own reader that make ``frame["time"]``, in UTC."""
    texts: bool = False
    """Whether the columns must be read as texts, so that leading zeros are kept."""
    guesses: tuple[Guess, ...] = ()
    """What was decided and should be checked."""

    @property
    def converted(self) -> bool:
        """Whether ``StringToDatetime`` has anything to do."""
        return bool(self.format or self.keywords)


@dataclass(frozen=True)
class Variable:
    """One variable of the product."""

    name: str
    """Its name in the product."""
    source: str
    """Its name in the dataset that the reader gives."""
    dtype: str
    """Its type in the product."""
    attrs: Mapping[str, Any]
    """Its attributes, in order."""
    values: Any
    """The sample's values."""
    dims: tuple[str, ...] = ("time",)
    """Its dimensions."""
    missing: tuple[str, ...] = ()
    """Texts and numbers in the file that stand for a missing value."""
    guesses: tuple[Guess, ...] = ()
    """What was decided; ``about`` is the attribute's name, or ``name`` or ``missing``."""


@dataclass(frozen=True)
class Draft:
    """The ingest as it would be written."""

    name: str
    """The pipeline's name, and that of its folder."""
    location: str
    """The location_id, and the config's name."""
    dataset: str
    """The dataset_name."""
    sample: Sample
    """What was read."""
    reader: Reader
    """The sample's reader, with what time and missing values add to it."""
    time: Time
    """How times are read."""
    variables: tuple[Variable, ...]
    """The variables, in the file's order."""
    coordinates: tuple[Variable, ...] = ()
    """The coordinates other than time."""
    input_path: str = ""
    """The folder below ``input/`` in which its files arrive."""
    suffix: str = ""
    """The ending of the raw files' names, such as ``.csv``."""

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """All that should be checked, with the variable's name in front."""
        found = [guess for guess in self._all if not guess.said]
        return tuple(found)

    @property
    def _all(self) -> list[Guess]:
        found = [*self.sample.guesses, *self.time.guesses]
        for variable in (*self.coordinates, *self.variables):
            found += [
                Guess(f"{variable.name}.{guess.about}", guess.value, guess.reason)
                for guess in variable.guesses
            ]
        return found

    @property
    def classname(self) -> str:
        """The name of the pipeline's class."""
        words = [word for word in self.name.replace("-", "_").split("_") if word]
        return "".join(word[0].upper() + word[1:] for word in words)
