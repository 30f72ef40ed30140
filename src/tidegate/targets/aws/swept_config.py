"""What the schedule of a stack's sweep sends; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.runtime.manifest import Config, NoticeSettings
from tidegate.runtime.records import from_json, to_json

PERIOD = 900
"""The time from one sweep to the next, s."""


@dataclass(frozen=True)
class SweptConfig:
    """A config, and the names of its queues."""

    config: Config
    """The config."""
    queue: str
    """The name of its queue."""
    dead_letters: str
    """The name of its dead-letter queue."""
    seconds: int
    """The time of an invocation of its function, s."""
    notices: NoticeSettings = field(default_factory=NoticeSettings)
    """Which messages people get about it, and when."""


def sweep_event(configs: Sequence[SweptConfig], undelivered: str = "") -> dict[str, Any]:
    """The event that has these configs swept.

    ``undelivered`` is the queue of the events about files that did not reach the stack's event bus.
    """
    return {"tidegate": {"sweep": to_json(configs), "undelivered": undelivered}}


def read_event(event: Mapping[str, Any]) -> list[SweptConfig]:
    """The configs that an event names."""
    return [from_json(SweptConfig, item) for item in event["tidegate"]["sweep"]]


def read_undelivered(event: Mapping[str, Any]) -> str:
    """The name of the queue of events that did not reach the event bus; "" if there is none."""
    return str(event["tidegate"].get("undelivered", ""))
