"""What every executor must know to start workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidegate.runtime.process import RUNS_PER_WORKER


@dataclass(frozen=True)
class ExecutorOptions:
    """How to start workers, and how many."""

    python: tuple[str, ...]
    """The command that starts the pipelines' interpreter."""
    repository: Path
    """The root of the pipelines repository."""
    workers: int = 2
    """How many runs go on at once."""
    runs_per_worker: int = RUNS_PER_WORKER
    """A worker is replaced after so many runs."""
