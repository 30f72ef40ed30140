"""What the commands do in a workspace: choose runs, and have them carried out."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import FINISHED, Input, Run
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.intake import Intake
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outside_inputs import Outside, OutsideInputs
from tidegate.targets.local.queue import Queue, Queued
from tidegate.targets.local.service import Listener, Service, Settings
from tidegate.workspace import rerun
from tidegate.workspace.loading import LoadedWorkspace, Say, input_key

Ledger = SqliteLedger
Stop = Callable[[], None]
STATES = ("queued", "running", "retrying", "succeeded", "empty", "failed", "superseded")
_POLL = 0.2
_CHECK = 10


@contextmanager
def service(
    opened: LoadedWorkspace,
    settings: Settings,
    listener: Listener,
    outside: Outside | None = None,
) -> Iterator[Service]:
    """The one service of a workspace.

    Raises:
        WorkspaceBusy: another one runs.
    """
    with opened.workspace.lock():
        yield Service(opened.workspace, opened.manifest, settings, listener, outside=outside)


# --- choosing ----------------------------------------------------------------------------------


def file_runs(
    opened: LoadedWorkspace, files: Sequence[str], *, config: str | None, clump: bool, all: bool
) -> tuple[list[Run], dict[str, Path]]:
    """The runs of raw files that a person named; and where those lie that are not in ``input/``.

    Raises:
        UsageError: a file does not exist, or no config or several fit.
    """
    now = datetime.now(timezone.utc)
    outside: dict[str, Path] = {}
    by_config: dict[str, list[Input]] = {}
    inputs = FolderInputs(opened.workspace.input)
    for file in files:
        path = Path(file)
        key = input_key(opened.workspace, path)
        fitting = (
            [rerun.named_config(opened.manifest, config)]
            if config
            else rerun.config_of_file(opened.manifest, key, path.as_posix(), all=all)
        )
        if key is None:
            key = _outside_key(path)
            outside[key] = Path(os.path.abspath(path))
        input = OutsideInputs(inputs, outside).input(key)
        for fit in fitting:
            by_config.setdefault(fit.id, []).append(input)
    runs = []
    for id, group in by_config.items():
        groups = [group] if clump else [[input] for input in group]
        runs += [Run(id, inputs=tuple(sorted(g, key=lambda i: i.key))) for g in groups]
    return [rerun.asked(run, now) for run in runs], outside


def raw_files(opened: LoadedWorkspace, config: Config, say: Say = lambda text: None) -> list[Input]:
    """The raw files of an ingest, at their present versions."""
    with opened.ledger() as ledger:
        now = datetime.now(timezone.utc)
        # With all configs: a file that none has seen yet must stay new to those that wait for it.
        configs, inputs = opened.manifest.configs, FolderInputs(opened.workspace.input)
        intake = Intake(inputs, configs, ledger, Queue(ledger), lambda: now, say)
        return intake.list(config)


def estimate(opened: LoadedWorkspace, id: str, count: int, workers: int) -> str:
    """How long so many runs will take, from those that have succeeded; "" where none has."""
    with opened.ledger() as ledger:
        average = ledger.average_seconds(id)
    if not count or average is None:
        return ""
    left = timedelta(seconds=round(average * count / min(workers, count)))
    return f", about {left} (h:mm:ss) with {workers} workers, judging by past runs"


def states(name: str | None) -> tuple[str, ...]:
    """The states that a person asked for; raises UsageError."""
    if name is None:
        return ()
    if name not in STATES:
        raise UsageError(f"there is no state {name!r}", next=f"there is: {', '.join(STATES)}")
    return (name,)


def waiting(ledger: SqliteLedger, config: str | None, wanted: Sequence[str]) -> Iterator[Queued]:
    """What is queued and not being carried out."""
    if not wanted or "queued" in wanted:
        yield from (entry for entry in Queue(ledger).pending(config) if not entry.taken)


def _outside_key(path: Path) -> str:
    """What stands for the key of a file that lies outside the inputs: its path from the root."""
    return "/".join(part for part in Path(os.path.abspath(path)).parts if part != os.sep)


# --- carrying out ------------------------------------------------------------------------------


class Job(Protocol):
    """Runs being carried out."""

    def run(self) -> None:
        """Carry them out; returns when they have ended or it was stopped."""

    def stop(self) -> None:
        """Stop; safe to call from a signal handler."""


@contextmanager
def carrying_out(
    opened: LoadedWorkspace,
    settings: Settings,
    runs: Sequence[Run],
    listener: Listener,
    outside: Outside | None = None,
) -> Iterator[Job]:
    """Have runs carried out: by the service where one runs, by this process otherwise.

    Raises:
        UsageError: a service runs, and a file lies where it does not look.
    """
    if opened.workspace.busy():
        if outside:
            raise UsageError(
                f"a service runs in {opened.workspace.root}, and only takes files from input/",
                next=f"copy {next(iter(outside.values()))} into input/, or stop the service",
            )
        with opened.ledger() as ledger:
            yield Request(ledger, list(runs), listener, opened.workspace.busy)
        return
    with service(opened, settings, listener, outside) as own:
        yield _Own(own, list(runs))


@dataclass
class _Own:
    """Runs that this process carries out itself."""

    service: Service
    runs: list[Run]

    def run(self) -> None:
        if self.runs:
            self.service.carry_out(self.runs)

    def stop(self) -> None:
        self.service.stop()


@dataclass
class Request:
    """Runs that the service is asked for: queued, and followed until they have ended."""

    ledger: SqliteLedger
    runs: list[Run]
    listener: Listener
    busy: Callable[[], bool]
    """Whether the service still runs."""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Queue the runs and wait for their ends."""
        asked = datetime.now(timezone.utc)
        Queue(self.ledger).enqueue(self.runs, asked, priority=1)
        self.listener.say("the service carries them out; Ctrl-C ends the waiting, not the runs")
        left = {run.key: run for run in self.runs}
        polls = 0
        while left and not self._stopped.wait(_POLL):
            polls += 1
            check = polls % _CHECK == 0
            alive, waiting = not check or self.busy(), self._waiting() if check else set(left)
            for key, run in sorted(left.items()):
                record = self.ledger.record(key)
                if record is not None and record.started >= asked and record.state in FINISHED:
                    del left[key]
                    self.listener.tell(record)
                elif key not in waiting:
                    del left[key]
                    self.listener.say(
                        f"the service has dropped {run.title}: if {run.config} is new, restart it"
                    )
            if left and not alive:
                self.listener.say(f"the service has ended; the next one does the {len(left)} left")
                return

    def _waiting(self) -> set[str]:
        return {entry.run.key for entry in Queue(self.ledger).pending()}

    def stop(self) -> None:
        """Wait no longer."""
        self._stopped.set()


def json_line(data: Mapping[str, Any]) -> str:
    """One JSON document a line, for what goes on for long."""
    return json.dumps(data) + "\n"
