"""What the commands work on: the ledger, files and runs of a target.

``TARGETS`` lists the targets: this machine, and AWS. Each is a module with two functions that open
a ``Session``; it is imported when it is needed, so boto3 is only imported for AWS.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, cast

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Input, Run, RunRecord
from tidegate.workspace.folder import Workspace
from tidegate.workspace.product_files import ProductFiles

Name = Literal["local", "aws"]
Say = Callable[[str], None]
Ended = Callable[[RunRecord], None]


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class Where:
    """Which target a command works on."""

    directory: Path
    """The folder with pipelines_config.yml."""
    target: Name = "local"
    """This machine, or AWS."""
    branch: str = "main"
    """On AWS: which branch's deployment."""
    profile: str | None = None
    """On AWS: the profile of the credentials."""
    region: str | None = None
    """On AWS: the region, if it is not the config's."""

    @property
    def workspace(self) -> Workspace:
        """The workspace; raises UsageError when there is none."""
        return Workspace.at(self.directory)


@dataclass(frozen=True)
class Means:
    """How runs are carried out."""

    python: str | None = None
    """The pipelines' interpreter, for Tsdat on this machine."""
    workers: int = 1
    """Locally: how many runs go on at once."""
    wait: float = 3600.0
    """On AWS: how long to wait while none of the requested runs makes progress, s."""
    say: Say = _silent
    """Called with messages for a person."""


class Job(Protocol):
    """Runs being carried out."""

    def run(self) -> None:
        """Have them carried out; returns when they have ended, or after ``stop``."""

    def stop(self) -> None:
        """Stop, or stop waiting; from any thread."""


class Session(Protocol):
    """A valid config, and the target that its runs are on."""

    @property
    def manifest(self) -> Manifest:
        """The configs."""

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The durable record."""

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log; none if the log was deleted."""

    def waiting(self, config: str | None, states: Sequence[str]) -> Iterable[tuple[Run, datetime]]:
        """The queued runs and when they are due; none if ``states`` does not include "queued"."""

    def raw_files(self, config: Config) -> list[Input]:
        """The raw files of an ingest, at their present versions."""

    def new_files(self, config: Config) -> tuple[int, str]:
        """How many raw files of an ingest no run has processed, and what will process them."""

    def file_runs(
        self, names: Sequence[str], *, config: str | None, clump: bool, all: bool
    ) -> list[Run]:
        """The runs of raw files that a person named; raises UsageError."""

    def estimate(self, config: str, count: int) -> str:
        """How long so many runs will take, from past runs; "" if there are none."""

    def carrying_out(
        self, runs: Sequence[Run], ended: Ended, say: Say
    ) -> AbstractContextManager[Job]:
        """Have runs carried out; ``ended`` is called after each attempt."""

    def redrive(self) -> int:
        """Put dead letters back into their queues; returns how many messages."""

    def store(self) -> AbstractContextManager[ProductFiles]:
        """The product files, for ``tidegate adopt``."""

    def reader(self) -> tuple[Sequence[str], Path]:
        """The pipelines' interpreter and repository on this machine, to read files with."""


class TargetModule(Protocol):
    """What a module in ``TARGETS`` offers."""

    def glance(self, where: Where, means: Means) -> Session:
        """See ``glance``."""

    def open_session(self, where: Where, means: Means) -> Session:
        """See ``open_session``."""


TARGETS: Mapping[Name, str] = {
    "local": "tidegate.workspace.local_session",
    "aws": "tidegate.workspace.aws_session",
}
"""For each target, the module that opens a session on it."""


def _module(target: Name) -> TargetModule:
    return cast(TargetModule, importlib.import_module(TARGETS[target]))


def glance(where: Where) -> Session:
    """A session to read the ledger with: Tsdat is not asked, and nothing is started.

    Raises:
        TidegateError: the config is not valid, or the target cannot be used.
    """
    return _module(where.target).glance(where, Means())


def open_session(where: Where, means: Means) -> Session:
    """A session that knows what Tsdat says of each config, and that can have runs carried out.

    Raises:
        TidegateError: the config is not valid, or the target cannot be used.
    """
    return _module(where.target).open_session(where, means)
