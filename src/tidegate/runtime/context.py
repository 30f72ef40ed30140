"""Everything that carrying out a run needs besides the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tidegate.runtime.confirmed_failures import ConfirmedFailures
from tidegate.runtime.key_locks import KeyLocks
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Claim, Executor, Target
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.stage import remove

LEASE_MARGIN = timedelta(minutes=2)
"""A lease is this much longer than the config's timeout: staging and publishing take time too."""


@dataclass(frozen=True)
class Context:
    """Everything that carrying out a run needs besides the run."""

    manifest: Manifest
    """The configs."""
    target: Target
    """Where inputs come from, and where products and records go."""
    executor: Executor
    """Runs Tsdat on a staged run."""
    owner: str
    """The name under which runs are claimed; no other process has it."""
    work: Path
    """The folder in which each run gets its work folder."""
    keep_log: Callable[[RunRecord, Path], str]
    """Keeps the log of a run; returns where."""
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    """The clock."""
    discard: Callable[[Path], None] = remove
    """Removes a work folder after its run was recorded."""
    publishing: KeyLocks = field(default_factory=KeyLocks)
    """The keys of products that are being published, until that is on record."""
    code_changed: Callable[[Config], bool] = lambda config: False
    """Whether the code of a config is not what the manifest's release says any more."""
    confirmed: ConfirmedFailures = field(default_factory=ConfirmedFailures)
    """Failures that a fresh worker has confirmed."""

    def claim(self, run: Run) -> Claim:
        """Claim a run for this owner."""
        config = self.manifest.config(run.config)
        return self.target.ledger.claim(
            run,
            owner=self.owner,
            lease=lease_of(config),
            now=self.now(),
            release=self.manifest.release(config),
        )


def lease_of(config: Config) -> timedelta:
    """How long a run of that config is its owner's."""
    return timedelta(seconds=config.timeout) + LEASE_MARGIN
