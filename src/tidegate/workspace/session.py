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
from tidegate.runtime.protocols import Inputs, Ledger, Outputs
from tidegate.runtime.runs import Input, Product, Run, RunRecord
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments
from tidegate.workspace.folder import Workspace
from tidegate.workspace.product_files import ProductFiles

Name = Literal["local", "aws"]
Say = Callable[[str], None]
Ended = Callable[[RunRecord], None]


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class TargetOptions:
    """The target that a command works on."""

    directory: Path
    """The folder with pipelines_config.yml."""
    target: Name = "local"
    """This machine, or AWS."""
    branch: str = "main"
    """On AWS: the deployed branch."""
    profile: str | None = None
    """On AWS: the profile with the credentials."""
    region: str | None = None
    """On AWS: the region, instead of the config's."""

    @property
    def workspace(self) -> Workspace:
        """The workspace; raises UsageError when there is none."""
        return Workspace.at(self.directory)


@dataclass(frozen=True)
class RunOptions:
    """How runs are carried out."""

    python: str | None = None
    """The pipelines' interpreter, for Tsdat on this machine."""
    workers: int = 1
    """On this machine: how many runs at the same time."""
    wait: float = 3600.0
    """On AWS: how long to wait while none of the requested runs makes progress, s."""
    say: Say = _silent
    """Called with messages for a person."""
    executor: ExecutorArguments = NOTHING_SAID
    """On this machine: what the command line says about the executor."""
    about: str | None = None
    """The config or pipeline that is named: on this machine, a wrong name is an error before
    anything is started or made."""


_PLAIN = RunOptions()


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

    @property
    def reads_at_once(self) -> int:
        """How many requests to the ledger to make at the same time."""

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The record of inputs, runs and products."""

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log; none if the log was deleted."""

    def queued_runs(
        self, config: str | None, states: Sequence[str]
    ) -> Iterable[tuple[Run, datetime]]:
        """The queued runs and when they are due; none if ``states`` does not include "queued"."""

    def waiting(self) -> dict[str, int]:
        """How many runs wait of each config; configs without any may be left out."""

    def place_problems(self) -> list[str]:
        """What is wrong with the place itself, such as a disk that is nearly full; a sentence each.

        It may take seconds where there are many raw files.
        """

    def product_file(self, product: Product) -> AbstractContextManager[Path]:
        """The present file or folder of a product, to read; fetched if it is on AWS.

        Raises:
            InputChanged: it is gone, or it is no longer the version on record.
            StorageError: it cannot be read.
        """

    def raw_files(self, config: Config) -> list[Input]:
        """The raw files of an ingest, in their current versions."""

    def new_files(self, config: Config) -> tuple[int, str]:
        """How many raw files of an ingest no run has processed, and what will process them."""

    def file_runs(
        self, names: Sequence[str], *, config: str | None, clump: bool, all: bool
    ) -> list[Run]:
        """The runs of raw files that a person named; raises UsageError."""

    def estimate(self, config: str, count: int) -> str:
        """How long so many runs will take, from past runs; "" if there are none."""

    def request_missing(self, config: Config, begin: datetime | None, end: datetime | None) -> bool:
        """Have all raw files run without a successful run, with dates of a period in their names.

        Returns False if somebody else must find out which these are.
        """

    def carrying_out(
        self, runs: Sequence[Run], ended: Ended, say: Say
    ) -> AbstractContextManager[Job]:
        """Have runs carried out; ``ended`` is called after each attempt."""

    def redrive(self) -> int:
        """Put dead letters back into their queues; returns how many messages."""

    def product_files(self, *, exclusive: bool = True) -> AbstractContextManager[ProductFiles]:
        """The product files; ``exclusive``: while no service on this machine writes to them.

        Raises:
            WorkspaceBusy: a service does.
        """

    def bind_outputs(self) -> None:
        """Take the outputs for those that the ledger describes: write the same id into both."""

    def stores(self, run: Run) -> tuple[Inputs, Outputs]:
        """Where the raw files and the products are that a run read."""

    def repository(self) -> Path | None:
        """The pipelines repository on this machine; None if it is not here."""

    def interpreter(self) -> tuple[Sequence[str], Path]:
        """The pipelines' interpreter and repository on this machine, to read files with.

        Makes the environment if it is missing.

        Raises:
            PythonEnvironmentError: it cannot be made.
        """


class TargetModule(Protocol):
    """The functions of a module in ``TARGETS``."""

    def open_for_reading(self, target: TargetOptions, run_options: RunOptions) -> Session:
        """See ``open_for_reading``."""

    def open_session(self, target: TargetOptions, run_options: RunOptions) -> Session:
        """See ``open_session``."""


TARGETS: Mapping[Name, str] = {
    "local": "tidegate.workspace.local_session",
    "aws": "tidegate.workspace.aws_session",
}
"""For each target, the module that opens a session on it."""


def _module(target: Name) -> TargetModule:
    return cast(TargetModule, importlib.import_module(TARGETS[target]))


def open_for_reading(target: TargetOptions, run_options: RunOptions = _PLAIN) -> Session:
    """A session to read the ledger with: Tsdat is not asked, and nothing is started.

    Raises:
        TidegateError: the config is not valid, or the target cannot be used.
    """
    return _module(target.target).open_for_reading(target, run_options)


def open_session(target: TargetOptions, run_options: RunOptions) -> Session:
    """A session that knows what Tsdat says of each config, and that can have runs carried out.

    Raises:
        TidegateError: the config is not valid, or the target cannot be used.
    """
    return _module(target.target).open_session(target, run_options)
