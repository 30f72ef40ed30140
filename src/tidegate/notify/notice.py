"""What a message is about, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

NoticeKind = Literal["failure", "silence", "recovery", "disk", "empty"]
"""A run failed for good; a config is stale; it works again; the disk is full; an empty variable."""

KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)


@dataclass(frozen=True)
class Notice:
    """One thing that a person should know."""

    kind: NoticeKind
    """What sort of thing it is."""
    config: str
    """The config's id; "" for what concerns the whole workspace, such as the disk."""
    text: str
    """One sentence: what happened, and why."""
    at: datetime
    """When, UTC."""
    subject: str = ""
    """The file or window that it is about."""
    run: str = ""
    """The key of the run that failed."""
