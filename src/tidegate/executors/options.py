"""Which executor carries runs out, and what every executor must know to start workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tidegate.runtime.process import RUNS_PER_WORKER

ClusterKind = Literal["local", "slurm", "pbs", "lsf"]
Say = Callable[[str], None]

MOST_BY_ADDRESS = 256
"""How many runs at once a cluster that runs already gets, unless it is said."""
MOST_JOBS = 10
"""How many runs at once jobs are submitted for, unless it is said."""


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class DaskOptions:
    """The Dask cluster to use: one that runs already, or one to start."""

    scheduler: str | None = None
    """The address of a scheduler that runs, such as ``tcp://head:8786``."""
    cluster: ClusterKind = "local"
    """Without a scheduler's address: the kind of cluster to start."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For a cluster that is started: what a job asks for, in dask-jobqueue's words."""
    minimum: int | None = None
    """The fewest runs at once for which workers are kept."""
    maximum: int | None = None
    """The most runs at once; see ``most``."""

    def most(self, workers: int) -> int:
        """How many runs there are at once at most; on this machine, by default, ``workers``."""
        if self.maximum is not None:
            return self.maximum
        if self.scheduler is not None:
            return MOST_BY_ADDRESS
        return workers if self.cluster == "local" else MOST_JOBS


@dataclass(frozen=True)
class ExecutorChoice:
    """Which executor to use."""

    name: str = "process"
    """Its name in ``EXECUTORS``."""
    workers: int = 2
    """How many runs go on at once on this machine."""
    dask: DaskOptions = field(default_factory=DaskOptions)
    """For the executor ``dask``: the cluster."""
    state: Path = Path(".tidegate")
    """A folder for files of Tidegate's own, such as the logs of jobs."""
    say: Say = _silent
    """Called with a sentence that a person should read."""

    @property
    def most(self) -> int:
        """How many runs there are at once at most."""
        return self.dask.most(self.workers) if self.name == "dask" else self.workers


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
