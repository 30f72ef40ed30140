"""The events that can start runs; each target translates its own messages into these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tidegate.runtime.records import check_aware
from tidegate.runtime.runs import Input, Run

if TYPE_CHECKING:
    from typing import TypeAlias


@dataclass(frozen=True)
class FileArrived:
    """A complete raw file is there, under the inputs' root."""

    input: Input
    """The file, at the version that arrived."""
    at: datetime
    """When it arrived."""
    config: str = ""
    """The id of the only config that it is for; "" for all that take it."""
    files: tuple[Input, ...] = ()
    """For a config with companions or groups: the files that may belong to it."""

    def __post_init__(self) -> None:
        check_aware(self)


@dataclass(frozen=True)
class ScheduleDue:
    """The schedule of one config is due."""

    config: str
    """The config's id."""
    at: datetime
    """When it was due; after a downtime this may be long ago."""
    files: tuple[Input, ...] = ()
    """For a Cron ingest: the files that are under its path now."""
    waiting: tuple[Input, ...] = ()
    """Files of runs that are in the queue, where the queue can be read."""

    def __post_init__(self) -> None:
        check_aware(self)


@dataclass(frozen=True)
class Requested:
    """Someone asked for exactly these runs, whether they were done before or not."""

    runs: tuple[Run, ...]
    """The runs, as ``runs`` and ``select`` make them."""
    at: datetime
    """When they were asked for."""

    def __post_init__(self) -> None:
        check_aware(self)


Event: TypeAlias = "FileArrived | ScheduleDue | Requested"
