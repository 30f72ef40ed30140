"""What goes to a worker and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Failure, Product, Run


@dataclass(frozen=True)
class Limits:
    """What a run may use; a run that exceeds a limit is stopped."""

    timeout: float
    """Time, s."""
    memory: int
    """Resident memory of the worker and its child processes, MB."""

    @staticmethod
    def of(config: Config) -> Limits:
        """The limits that a config sets."""
        return Limits(float(config.timeout), config.memory)


@dataclass(frozen=True)
class Task:
    """One staged run: everything that a worker needs to know."""

    run: Run
    """The run."""
    config: Config
    """Its config."""
    arguments: tuple[str, ...]
    """What the pipeline's ``run`` is given: paths of staged files, two times, or strings."""
    work: str
    """The work folder: ``in/`` holds the inputs, ``store/`` is the storage root's parent."""
    release: str = ""
    """The content hash of the code and config."""
    fresh: bool = False
    """Use a process in which nothing has run yet."""


@dataclass(frozen=True)
class Outcome:
    """The result of a task. The products are in the work folder, under ``store/`` + key."""

    products: tuple[Product, ...] = ()
    """What the run wrote."""
    failure: Failure | None = None
    """Why it failed; then nothing is published."""
    plots_failed: str = ""
    """Why the plots failed, where only they did."""
    warnings: tuple[str, ...] = ()
    """What a person should know although the run succeeded."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long loading the pipeline, running it and summing up its products took, s."""
    peak_memory: float = 0.0
    """The most memory that the process used during the run, MB; 0 if unknown."""
    used_worker: bool = False
    """Whether earlier runs had used the process."""
