"""The state of a workspace on this machine: each config, files that are not taken, disk use."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tidegate.runtime.binding import explain
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.look import Look, read_look
from tidegate.targets.local.skipped import Skipped, find_skipped
from tidegate.workspace.binding import describe_folder
from tidegate.workspace.folder import Workspace
from tidegate.workspace.local_session import LocalSession
from tidegate.workspace.overview import ConfigState, config_states
from tidegate.workspace.summary_refresh import SummaryRefresh

LATEST = 100
"""How many of a config's latest runs its warnings are counted in."""


@dataclass(frozen=True)
class ConfigStatus:
    """The state of one config; the words are those of ``overview.ConfigState``."""

    config: str
    """The config's id."""
    last_arrival: datetime | None
    """When its newest data arrived; a run that a person asked for is no arrival."""
    last_product: datetime | None
    """When its newest product was published."""
    newest_data: datetime | None
    """The last time in the data of the latest run that made products."""
    waiting: int
    """Runs that wait."""
    running: int
    """Runs that go on."""
    failures: int
    """Open failures, ``overview.MOST_FAILURES`` at most."""
    warnings: int
    """How many of its ``LATEST`` runs succeeded with warnings, or without their plots."""
    bad: float | None
    """The share of bad samples in the products of the last day; None if nothing was checked."""
    stale: bool
    """Whether no data have arrived for longer than ``expect_every``."""


@dataclass(frozen=True)
class Disk:
    """How much space one part of the workspace takes."""

    name: str
    """Its folder or file in the workspace."""
    bytes: int
    """The sizes of its files."""


@dataclass(frozen=True)
class LocalStatus:
    """The state of a workspace."""

    workspace: str
    """The workspace."""
    service: str
    """The process of its service, as in ``process 4711``; "" if none runs."""
    configs: tuple[ConfigStatus, ...]
    """Each config."""
    not_taken: tuple[Skipped, ...]
    """Files in ``input/`` that are not taken, and why."""
    disk: tuple[Disk, ...]
    """What is large in the workspace."""
    free: int
    """Free bytes on its disk."""
    outputs: str = ""
    """What is wrong with the output folder: it is not the one that the ledger describes, or its
    products are gone."""
    look: Look | None = None
    """How far the running service has looked through ``input/``, if it has not finished yet."""


def collect_local_status(session: LocalSession, now: datetime) -> LocalStatus:
    """The state of the workspace; reads the ledger and lists folders, and starts nothing."""
    workspace, configs = session.loaded.workspace, session.manifest.configs
    running = workspace.busy()
    with session.ledger() as ledger:
        look = read_look(ledger) if running else None
        states = config_states(session, SummaryRefresh(ledger), now)
        judgement = describe_folder(ledger, workspace.output)
        statuses = tuple(_config_status(state, ledger) for state in states)
    return LocalStatus(
        str(workspace.root),
        workspace.service_process() if running else "",
        statuses,
        tuple(find_skipped(workspace.input, configs)),
        tuple(_disk(workspace)),
        shutil.disk_usage(workspace.root).free,
        explain(judgement, "output/"),
        look if look and look.ended is None else None,
    )


def _config_status(state: ConfigState, ledger: SqliteLedger) -> ConfigStatus:
    id, last = state.config.id, state.last_products
    latest = ledger.records(config=id, states=("succeeded",), limit=LATEST)
    return ConfigStatus(
        config=id,
        last_arrival=state.last_arrival,
        last_product=last.finished if last else None,
        newest_data=state.newest_data,
        waiting=state.waiting,
        running=state.running,
        failures=len(state.failures),
        warnings=sum(bool(record.warnings or record.plots_failed) for record in latest),
        bad=state.bad_share,
        stale=state.stale,
    )


def _disk(workspace: Workspace) -> list[Disk]:
    ledger = workspace.ledger
    beside = [ledger, *(ledger.with_name(ledger.name + end) for end in ("-wal", "-shm"))]
    sizes = [path.stat().st_size for path in beside if path.exists()]
    return [
        Disk("input", _size(workspace.input)),
        Disk("output", _size(workspace.output)),
        Disk("ledger", sum(sizes)),
        Disk("logs of runs", _size(workspace.logs)),
        Disk("environments", _size(workspace.state / "env")),
    ]


def _size(folder: Path) -> int:
    """The sizes of all files below a folder; what cannot be read counts nothing."""
    total, stack = 0, [os.fspath(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total
