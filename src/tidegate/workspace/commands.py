"""What the commands do in a workspace: run a service, or have the running one do the work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tidegate.errors import UsageError
from tidegate.executors import EXECUTORS, ExecutorOptions
from tidegate.runtime.dispatch import REQUESTED
from tidegate.runtime.manifest import Config
from tidegate.runtime.release_notes import installed_packages, note_releases, package_folders
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.wording import quantity
from tidegate.targets.local.code_changes import NoCodeChanges
from tidegate.targets.local.housekeeping import Retention
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.outside_inputs import Outside
from tidegate.targets.local.queue import Entry, SqliteQueue
from tidegate.targets.local.service import Service
from tidegate.targets.local.sightings import Sightings
from tidegate.workspace.binding import check_folder
from tidegate.workspace.executor_choice import (
    NOTHING_SAID,
    ExecutorArguments,
    choose_executor,
)
from tidegate.workspace.follow import Following
from tidegate.workspace.keep_summaries import keeping_summaries
from tidegate.workspace.loading import LoadedWorkspace, Say
from tidegate.workspace.serving import WorkspaceService
from tidegate.workspace.session import Job

STATES = ("queued", "running", "retrying", "succeeded", "empty", "failed", "superseded")
_CHECK = 2.0


def executor_options(loaded: LoadedWorkspace, workers: int) -> ExecutorOptions:
    """How an executor starts the workers of a workspace's pipelines."""
    return ExecutorOptions(loaded.python, loaded.repository, workers)


@contextmanager
def service(
    loaded: LoadedWorkspace,
    workers: int,
    listener: Listener,
    outside: Outside | None = None,
    *,
    poll: bool = False,
    executor: ExecutorArguments = NOTHING_SAID,
    taken_over: Callable[[LoadedWorkspace], None] = lambda loaded: None,
) -> Iterator[WorkspaceService]:
    """The service of a workspace; only one can run.

    ``taken_over`` is called when changes of config or code were read.

    Raises:
        WorkspaceBusy: another one runs.
        ClusterError: a Dask cluster cannot be used.
    """
    choice = choose_executor(loaded, executor, workers, listener.say)

    def make(loaded: LoadedWorkspace) -> Service:
        _note_releases(loaded)
        return Service(
            loaded.workspace.places,
            loaded.manifest,
            new_executor(executor_options(loaded, workers)),
            listener,
            outside=outside,
            poll=poll,
            code=loaded.code or NoCodeChanges(),
            keep=_retention(loaded),
            not_run=loaded.rejected,
        )

    with loaded.workspace.lock():
        with loaded.ledger() as ledger:
            check_folder(ledger, loaded.workspace.output, listener.say)
        with EXECUTORS[choice.name](choice) as new_executor:
            service = WorkspaceService(loaded, make, listener.say, taken_over)

            def configs() -> list[str]:
                return [config.id for config in service.loaded.manifest.configs]

            with keeping_summaries(loaded.workspace.ledger, configs):
                yield service


def _note_releases(loaded: LoadedWorkspace) -> None:
    """Note what is run from now on: code, settings, packages."""
    folders = package_folders(Path(loaded.python[0])) if loaded.python else ()
    with loaded.ledger() as ledger:
        note_releases(
            ledger, loaded.manifest, installed_packages(folders), datetime.now(timezone.utc)
        )


def _retention(loaded: LoadedWorkspace) -> Retention:
    """How long runs and logs are kept: what the config says, or the defaults."""
    model, default = loaded.config.require(), Retention()
    return Retention(
        timedelta(days=model.keep_runs) if model.keep_runs else default.runs,
        timedelta(days=model.keep_logs) if model.keep_logs else default.logs,
    )


# --- choosing ----------------------------------------------------------------------------------


def raw_files(loaded: LoadedWorkspace, config: Config, say: Say = lambda text: None) -> list[Input]:
    """The raw files of an ingest, in their current versions."""
    with loaded.ledger() as ledger:
        # With all configs: a new file must also stay new for other configs with this folder.
        inputs = FolderInputs(loaded.workspace.input)
        return Sightings(inputs, loaded.manifest.configs, ledger, say).list(config)


def estimate(loaded: LoadedWorkspace, id: str, count: int, workers: int) -> str:
    """How long so many runs will take, from past runs; "" if there are none."""
    with loaded.ledger() as ledger:
        average = ledger.history.average_seconds(id)
    if not count or average is None:
        return ""
    left = timedelta(seconds=round(average * count / min(workers, count)))
    return f", about {left} (h:mm:ss) with {quantity(workers, 'worker')}, estimated from past runs"


def states(name: str | None) -> tuple[str, ...]:
    """The states to list for an option; raises UsageError."""
    if name is None:
        return ()
    if name not in STATES:
        raise UsageError(f"there is no state {name!r}", next=f"states: {', '.join(STATES)}")
    return (name,)


def queued_runs(ledger: SqliteLedger, config: str | None, wanted: Sequence[str]) -> Iterator[Entry]:
    """The runs that are queued and not being carried out."""
    if not wanted or "queued" in wanted:
        yield from (entry for entry in SqliteQueue(ledger).pending(config) if not entry.taken)


# --- carrying out ------------------------------------------------------------------------------


@contextmanager
def carrying_out(
    loaded: LoadedWorkspace,
    workers: int,
    runs: Sequence[Run],
    listener: Listener,
    outside: Outside | None = None,
    executor: ExecutorArguments = NOTHING_SAID,
) -> Iterator[Job]:
    """Have runs carried out: by the service if one runs, otherwise by this process.

    Raises:
        UsageError: a service runs, and a file is not in the folder that it reads from.
    """
    if loaded.workspace.busy():
        if outside:
            raise UsageError(
                f"a service runs in {loaded.workspace.root}, and only takes files from input/",
                next=f"copy {next(iter(outside.values()))} into input/, or stop the service",
            )
        with loaded.ledger() as ledger:
            note = ", with its own executor" if executor != NOTHING_SAID else ""
            yield _ByService(ledger, list(runs), listener, loaded.workspace.busy, note)
        return
    with service(loaded, workers, listener, outside, executor=executor) as own:
        yield _ByThisProcess(own, list(runs))


@dataclass
class _ByThisProcess:
    """Runs that this process carries out."""

    service: WorkspaceService
    runs: list[Run]

    def run(self) -> None:
        if self.runs:
            self.service.carry_out(self.runs)

    def stop(self) -> None:
        self.service.stop()


@dataclass
class _ByService:
    """Runs that the running service carries out: queued, and followed until they have ended."""

    ledger: SqliteLedger
    runs: list[Run]
    listener: Listener
    busy: Callable[[], bool]
    """Whether the service still runs."""
    note: str = ""
    """What to say about how it carries them out."""
    _checked: float = 0.0
    _queued: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._following = Following(
            self.runs, self, self.listener.ended, self.listener.say, longest_pause=1.0
        )

    def run(self) -> None:
        now = datetime.now(timezone.utc)
        SqliteQueue(self.ledger).put(self.runs, now, priority=REQUESTED)
        self._queued = {run.key for run in self.runs}
        self._checked = time.monotonic()
        self.listener.say(
            f"the service carries them out{self.note}; Ctrl-C ends the waiting, not the runs"
        )
        self._following.wait(self.ledger)

    def stop(self) -> None:
        self._following.stopped.set()

    def problem(self, waiting: Sequence[Run], quiet: float) -> str:
        if time.monotonic() - self._checked < _CHECK:
            return ""
        self._checked = time.monotonic()
        self._queued = {entry.run.key for entry in SqliteQueue(self.ledger).pending()}
        if self.busy():
            return ""
        count = quantity(len(waiting), "run")
        return f"the service has ended; the next one carries out the {count} left"

    def is_lost(self, run: Run) -> bool:
        return run.key not in self._queued


def json_line(data: Mapping[str, Any]) -> str:
    """One JSON document in one line, for output that goes on for long."""
    return json.dumps(data) + "\n"
