"""``tidegate new vap``: from datastreams to a VAP that has run on one window."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

import pandas as pd

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.runs import Window
from tidegate.scaffold import changes
from tidegate.scaffold.changes import Action, Approve, Change
from tidegate.scaffold.config_entry import Entry, add_entry
from tidegate.scaffold.ingest import trial_run
from tidegate.scaffold.ingest.create import repository_files, require_name
from tidegate.scaffold.vap.datastreams import read_datastream
from tidegate.scaffold.vap.files import VapDraft, vap_files
from tidegate.workspace.folder import CONFIG, Workspace
from tidegate.workspace.loading import read_config


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    name: str
    """The pipeline's name."""
    datastreams: Sequence[str]
    """What it reads."""
    every: str = "1h"
    """The interval of its means."""
    schedule: str = "Hourly"
    """When it runs."""
    window: str | None = None
    """How much time one run covers; by the schedule without it."""


@dataclass(frozen=True)
class Plan:
    """What would be written."""

    workspace: Workspace
    """Where."""
    repository: Path
    """The pipelines repository."""
    draft: VapDraft
    """The VAP."""
    entry: Entry
    """Its entry in pipelines_config.yml."""
    changes: tuple[Change, ...]
    """The files."""


@dataclass(frozen=True)
class Created:
    """What became of it."""

    draft: VapDraft
    """The VAP."""
    actions: Mapping[Path, Action]
    """What was done with each file."""
    trial: trial_run.TrialRun
    """The run of the test's window."""


def plan_vap(workspace: Workspace, wanted: Wanted) -> Plan:
    """Read the datastreams and plan all files; nothing is written.

    Raises:
        UsageError: there is no such datastream, or a name or interval is not allowed.
        ConfigurationError: pipelines_config.yml cannot take the entry.
    """
    require_name(wanted.name)
    try:
        every = pd.Timedelta(wanted.every)
    except ValueError as error:
        raise UsageError(
            f"{wanted.every!r} is no interval", next="write it like --every 10min, 1h or 1d"
        ) from error
    repository = read_config(workspace).repository
    assert repository is not None
    streams = tuple(read_datastream(workspace, repository, name) for name in wanted.datastreams)
    begin = max(stream.begin for stream in streams).floor("D")
    end = max(begin + pd.Timedelta("1D"), begin + every)
    window = Window(
        begin.to_pydatetime().replace(tzinfo=timezone.utc),
        end.to_pydatetime().replace(tzinfo=timezone.utc),
    )
    location = wanted.datastreams[0].split(".", 1)[0]
    draft = VapDraft(wanted.name, streams, wanted.every, location, window)
    entry = Entry(
        wanted.name,
        "VAP",
        location,
        {"config_file_path": f"pipelines/{wanted.name}/config/pipeline.yaml"},
        schedule=wanted.schedule,
        settings={"window": wanted.window} if wanted.window else None,
    )
    contents = {**vap_files(draft), **repository_files(repository)}
    planned = changes.plan(repository, contents)
    config = workspace.config.read_text("utf-8")
    planned += changes.plan(workspace.root, {CONFIG: add_entry(config, entry)})
    return Plan(workspace, repository, draft, entry, tuple(planned))


def create(plan: Plan, worker: WorkerProcess, *, approve: Approve | None) -> Created:
    """Write the files, run the test's window, and keep its product as the expected one.

    Raises:
        UsageError: a file would be overwritten, and nobody is there to ask.
        ConfigurationError: the pipeline fails.
        PythonEnvironmentError: the worker cannot be started.
    """
    actions = changes.apply(plan.changes, approve, additions=(CONFIG,))
    draft = plan.draft
    config = Config(
        draft.name, plan.entry.config, "VAP", "Cron", str(plan.entry.keys["config_file_path"])
    )
    keep = plan.workspace.state / trial_run.PREVIEW / draft.name
    products = [stream.file for stream in draft.datastreams]
    trial = trial_run.run_window(worker, config, draft.window, products, keep)
    expected = plan.repository / "pipelines" / draft.name / "test" / "data" / "expected"
    shutil.rmtree(expected, ignore_errors=True)
    kept = changes.apply(
        changes.plan(expected, {path.name: path.read_bytes() for path in trial.data}),
        lambda change: True,
    )
    return Created(draft, {**actions, **kept}, trial)
