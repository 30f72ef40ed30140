"""``tidegate new ingest``: from sample files to a pipeline that has run on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.errors import ConfigurationError, UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.process import WorkerProcess
from tidegate.scaffold import changes
from tidegate.scaffold.changes import Action, Approve, Change
from tidegate.scaffold.config_entry import Entry, add_entry
from tidegate.scaffold.ingest import files, trial_run
from tidegate.scaffold.ingest.draft import Choices, make_draft
from tidegate.scaffold.ingest.formats import RawFile, joined, read_file
from tidegate.scaffold.ingest.records import Draft
from tidegate.scaffold.ingest.times import find_time
from tidegate.scaffold.questions import Answers, Question
from tidegate.workspace.folder import CONFIG, Workspace
from tidegate.workspace.loading import read_config

NAME = re.compile(r"[a-z][a-z0-9_]*")
_REQUIREMENTS = "requirements.txt"
_READS = {"read_excel": "openpyxl"}


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    name: str
    """The pipeline's name."""
    samples: Sequence[Path]
    """The sample files."""
    location: str | None = None
    """The location_id."""
    dataset: str | None = None
    """The dataset_name; the pipeline's name without it."""
    input_path: str | None = None
    """The folder below ``input/``."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of columns."""


@dataclass(frozen=True)
class Plan:
    """What would be written."""

    workspace: Workspace
    """Where."""
    repository: Path
    """The pipelines repository."""
    draft: Draft
    """The ingest."""
    entry: Entry
    """Its entry in pipelines_config.yml."""
    changes: tuple[Change, ...]
    """The files."""


@dataclass(frozen=True)
class Created:
    """What became of it."""

    draft: Draft
    """The ingest."""
    actions: Mapping[Path, Action]
    """What was done with each file."""
    trial: trial_run.TrialRun
    """The run of the sample."""


def plan_ingest(workspace: Workspace, wanted: Wanted, answers: Answers) -> Plan:
    """Read the samples and plan all files; nothing is written.

    Raises:
        UsageError: a sample cannot be read, or a name is not allowed.
        Unanswered: the samples leave something open, and nobody answers.
        ConfigurationError: pipelines_config.yml cannot take the entry.
    """
    require_name(wanted.name)
    reading = read_config(workspace)
    repository = reading.repository
    assert repository is not None
    raw = [read_file(path, answers) for path in wanted.samples]
    require_alike(raw)
    sample = joined([file.sample for file in raw])
    time = find_time(sample, answers)
    location = wanted.location or answers.to(_LOCATION)
    if not re.fullmatch(r"[A-Za-z0-9_]+", location):
        raise UsageError(
            f"{location!r} cannot be a location_id",
            next="use letters, digits and underscores, such as --location morro",
        )
    choices = Choices(
        name=wanted.name,
        location=location,
        dataset=wanted.dataset or wanted.name,
        input_path=(wanted.input_path or f"{wanted.name}/{location}").strip("/") + "/",
        suffix="".join(raw[0].path.suffixes[-1:]),
        units=_units(raw[0], wanted.units),
    )
    draft = make_draft(sample, time, choices)
    entry = Entry(
        draft.name,
        "Ingest",
        location,
        {
            "input_bucket_path": draft.input_path,
            "config_file_path": f"{files.folder_of(draft.name)}/config/pipeline.yaml",
        },
    )
    contents = files.ingest_files(draft, files.sample_contents([file.path for file in raw]))
    contents |= repository_files(repository, draft.reader.method)
    planned = changes.plan(repository, contents)
    config = workspace.config.read_text("utf-8")
    planned += changes.plan(workspace.root, {CONFIG: add_entry(config, entry)})
    return Plan(workspace, repository, draft, entry, tuple(planned))


_LOCATION = Question(
    "location",
    "where is the instrument? A short name, which becomes the product's location_id",
    "--location NAME",
    proposal="site",
)


def create(plan: Plan, worker: WorkerProcess, *, approve: Approve | None) -> Created:
    """Write the files, run the sample, and keep its product as the test's expected one.

    Raises:
        UsageError: a file would be overwritten, and nobody is there to ask.
        ConfigurationError: the pipeline fails on its sample, or gives other numbers than it holds.
        PythonEnvironmentError: the worker cannot be started.
    """
    actions = changes.apply(plan.changes, approve, additions=(CONFIG, _REQUIREMENTS))
    config = Config(
        plan.draft.name,
        plan.entry.config,
        "Ingest",
        "S3",
        str(plan.entry.keys["config_file_path"]),
        input_path=plan.draft.input_path,
    )
    folder = plan.repository / files.folder_of(plan.draft.name)
    inputs = folder / "test" / "data" / "input"
    samples = [inputs / name for name in _sample_names(plan)]
    keep = plan.workspace.state / trial_run.PREVIEW / plan.draft.name
    trial = trial_run.run_sample(worker, config, samples, keep)
    apart = trial_run.differences(plan.draft, trial.data)
    if apart:
        raise ConfigurationError(
            "the product does not hold the numbers of the sample",
            why="\n".join(apart),
            where=str(folder / "config" / "retriever.yaml"),
            next="correct how the file is read, then run `tidegate test`",
        )
    expected = changes.plan(
        folder / "test" / "data" / "expected",
        {path.name: path.read_bytes() for path in trial.data},
    )
    # A product holds the time at which it was made: it always differs from the one before.
    kept = changes.apply(expected, lambda change: True)
    (plan.workspace.input / plan.draft.input_path).mkdir(parents=True, exist_ok=True)
    return Created(plan.draft, {**actions, **kept}, trial)


def _sample_names(plan: Plan) -> list[str]:
    return [
        change.path.name
        for change in plan.changes
        if change.path.parent.name == "input" and change.path.parent.parent.name == "data"
    ]


def repository_files(repository: Path, method: str = "") -> dict[str, str | bytes]:
    """What an ingest needs of its repository, where it is not there: packages, storage, pins."""
    contents: dict[str, str | bytes] = {}
    if not (repository / "pipelines" / "__init__.py").exists():
        contents["pipelines/__init__.py"] = '"""The pipelines, one package each."""\n'
    if not (repository / "shared" / "storage.yaml").exists():
        contents["shared/storage.yaml"] = files.STORAGE
    needed = _READS.get(method)
    requirements = repository / _REQUIREMENTS
    if needed and requirements.is_file():
        text = requirements.read_text("utf-8")
        if not re.search(rf"^{needed}\b", text, re.M | re.I):
            contents[_REQUIREMENTS] = text.rstrip("\n") + f"\n{needed}>=3.1,<4\n"
    return contents


def require_name(name: str) -> None:
    """See that a name can be that of a Python package and of a dataset.

    Raises:
        UsageError: it cannot.
    """
    if not NAME.fullmatch(name) or len(name) < 2:
        raise UsageError(
            f"{name!r} cannot be the name of a pipeline",
            next="use small letters, digits and underscores, and begin with a letter",
        )


def require_alike(raw: Sequence[RawFile]) -> None:
    """See that several samples are of one kind.

    Raises:
        UsageError: they differ, or two have the same name.
    """
    first = raw[0]
    names = [column.source for column in first.sample.columns]
    for other in raw[1:]:
        if other.sample.format != first.sample.format or names != [
            column.source for column in other.sample.columns
        ]:
            raise UsageError(
                f"{first.path} and {other.path} are not of one kind",
                why=f"{first.sample.format} with {', '.join(names)}; {other.sample.format} with"
                f" {', '.join(column.source for column in other.sample.columns)}",
                next="make an ingest for each kind of file",
            )
    if len({file.path.name for file in raw}) < len(raw):
        raise UsageError("two samples have the same name", next="give files with different names")


def _units(raw: RawFile, given: Mapping[str, str]) -> Mapping[str, str]:
    known = {column.source for column in raw.sample.columns}
    known |= {column.title for column in raw.sample.columns}
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(
            f"there is no column {unknown[0]!r}",
            why=f"the columns are {', '.join(c.source for c in raw.sample.columns)}",
            next="correct --unit COLUMN=UNIT",
        )
    return given
