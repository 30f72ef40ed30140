"""What will run when, as text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from cronsim import CronSim

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.records import utc

_PRESETS = {
    "0 * * * *": "hourly at minute 0 UTC",
    "0 2 * * *": "daily at 02:00 UTC",
    "30 2 * * 0": "weekly on Sunday at 02:30 UTC",
    "0 3 1 * *": "monthly on day 1 at 03:00 UTC",
}
_TRIAL = datetime(2022, 1, 1, tzinfo=timezone.utc)
_LENGTHS = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}


@dataclass(frozen=True)
class Row:
    """One config: when it runs, and on what."""

    config: str
    """The config's id."""
    kind: str
    """Ingest or VAP."""
    when: str
    """When it runs: "when a file arrives under lidar/humboldt/"."""
    over: str
    """What one run processes: "each file in a run of its own", "windows of an hour"."""
    next: datetime | None = None
    """The next time of its schedule, UTC."""

    def __str__(self) -> str:
        return f"{self.config}  {self.kind}  {self.when}, {self.over}"


def summary(manifest: Manifest, now: datetime | None = None) -> tuple[Row, ...]:
    """A row for each config, in the order of the file; ``next`` is counted from ``now``."""
    return tuple(
        Row(config.id, config.kind, _when(config), _over(config), _next(config, now))
        for config in manifest.configs
    )


def _when(config: Config) -> str:
    if config.schedule is None:
        return f"when a file arrives under {config.input_path}"
    if config.schedule in _PRESETS:
        return _PRESETS[config.schedule]
    said = str(CronSim(config.schedule, _TRIAL).explain())
    return f"{said[:1].lower()}{said[1:]} UTC ({config.schedule})"


def _over(config: Config) -> str:
    if config.kind == "VAP":
        window = config.window or "day"
        since = f" since {config.since:%Y-%m-%d}" if config.since else ""
        return f"windows of {_LENGTHS.get(window, window)}{since}"
    if config.inputs:
        return f"given {', '.join(config.inputs)}"
    if config.group_by:
        by = config.group_by if config.group_by in ("folder", "hour", "day") else "group"
        return f"all files of a {by} together, again with each new one"
    if config.trigger == "Cron":
        return f"all new files under {config.input_path} in one run"
    return "each file in a run of its own"


def _next(config: Config, now: datetime | None) -> datetime | None:
    if now is None or config.schedule is None:
        return None
    due = next(CronSim(config.schedule, utc(now)), None)
    return due if isinstance(due, datetime) else None
