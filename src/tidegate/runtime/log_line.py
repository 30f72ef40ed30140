"""One line of a log, wherever the log is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LogLine:
    """One line of a log, as it was written."""

    when: datetime
    """When it was written."""
    config: str
    """The id of the config that it belongs to."""
    text: str
    """The line itself."""
    id: str = ""
    """Unique among all lines of the log, if the log has such ids."""
