"""``tidegate try``: the runs that a person asks for, tried, and compared with what is on record."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from tidegate.errors import StorageError, TidegateError, UsageError
from tidegate.quality.comparison import Comparison
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json
from tidegate.runtime.related_files import related_run
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.testing import MemoryLedger
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.outside_inputs import OutsideInputs
from tidegate.testing.pipelines import Pipelines
from tidegate.testing.trial import Trial, empty_folder, now, try_run
from tidegate.workspace.rerun import window_run

COMPARE = "tidegate.quality.comparison.compare_products"


@dataclass(frozen=True)
class TryRequest:
    """What a person wants to try."""

    config: str
    """The config's id, such as ``lidar/humboldt``."""
    files: tuple[str, ...] = ()
    """Raw files; for an ingest whose inputs are not files, its arguments."""
    begin: str | None = None
    """A VAP's first time."""
    end: str | None = None
    """A VAP's first time after it."""
    clump: bool = False
    """All files in one run."""
    compare: bool = False
    """Compare the products with those on record."""


@dataclass(frozen=True)
class Tried:
    """One run that was tried."""

    trial: Trial
    """What became of it."""
    differences: Mapping[str, Comparison | None] = field(default_factory=dict)
    """Where that was asked: by key, how a product differs from the one on record; None where there
    is none on record."""
    not_made: tuple[str, ...] = ()
    """Where that was asked: products on record of the same input that it did not make."""


def try_runs(
    pipelines: Pipelines, worker: WorkerProcess, request: TryRequest, folder: Path
) -> Iterator[Tried]:
    """Carry out what was asked, one run after the other; products are left in ``folder``.

    Raises:
        TidegateError: it cannot be carried out at all. What the pipeline does is in the result.
    """
    config = pipelines.config(request.config)
    empty_folder(folder)
    workspace = pipelines.workspace
    source = None
    if workspace is not None:
        # The folder for work is only used to publish, which nothing here does.
        source = FolderOutputs(workspace.output, folder)
    with _ledger(pipelines) as ledger:
        config, runs, inputs = _plan(pipelines, worker, config, request, ledger)
        for number, run in enumerate(runs):
            place = folder if len(runs) == 1 else folder / str(number + 1)
            trial = try_run(worker, config, run, inputs, place, source)
            shutil.rmtree(place / "work", ignore_errors=True)
            yield _compare(pipelines, worker, trial, ledger) if request.compare else Tried(trial)


def output_folder(pipelines: Pipelines, config: str) -> Path:
    """Where the products of a config's trials are left: the same folder each time.

    Raises:
        StorageError: it cannot be made, or belongs to somebody else.
    """
    root = Path(tempfile.gettempdir()) / f"tidegate-try-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        status = root.lstat()
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {root}", why=str(error), next="name one with --output"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StorageError(f"{root} belongs to somebody else", next="name a folder with --output")
    identity = str(pipelines.workspace.root if pipelines.workspace else pipelines.repository)
    name = sha256(os.fsencode(identity)).hexdigest()[:8]
    return root / name / config.replace("/", "-")


@contextmanager
def _ledger(pipelines: Pipelines) -> Iterator[Ledger]:
    """What is on record; nothing where there is no ledger yet, and none is made."""
    workspace = pipelines.workspace
    if workspace is None or not workspace.ledger.exists():
        yield MemoryLedger()
        return
    with SqliteLedger(workspace.ledger) as ledger:
        yield ledger


# --- planning ----------------------------------------------------------------------------------


def _plan(
    pipelines: Pipelines,
    worker: WorkerProcess,
    config: Config,
    request: TryRequest,
    ledger: Ledger,
) -> tuple[Config, list[Run], OutsideInputs]:
    """The runs, and where their files are read from."""
    root = pipelines.workspace.input if pipelines.workspace else pipelines.repository
    nothing = OutsideInputs(FolderInputs(root), {})
    if config.kind == "VAP":
        config = _with_tsdat(worker, config)
        period = request.begin, request.end
        if request.files:
            raise UsageError(
                f"{config.id} is a VAP: it reads products, not files",
                next=f"tidegate try {config.id} --begin 20220405 --end 20220406",
            )
        if None in period:
            raise UsageError(
                f"{config.id} is a VAP: it needs --begin and --end",
                next=f"tidegate try {config.id} --begin 20220405 --end 20220406",
            )
        runs = window_run(Manifest((config,)), ledger, [config.id], period, now())
        return config, runs, nothing
    if request.begin or request.end:
        raise UsageError(f"{config.id} is no VAP", next=f"tidegate try {config.id} FILE")
    if not request.files:
        raise UsageError(f"{config.id} needs a file", next=f"tidegate try {config.id} FILE")
    if config.inputs and not any(Path(file).exists() for file in request.files):
        return config, [Run(config.id, arguments=request.files, arrived=now())], nothing
    files, inputs = _raw_files(root, request.files)
    groups = [files] if request.clump else [(file,) for file in files]
    companions = {file.key: file for file in inputs.companions(config, files)}
    return config, [related_run(config, group, companions, now()) for group in groups], inputs


def _with_tsdat(worker: WorkerProcess, config: Config) -> Config:
    """A VAP with what Tsdat says of it: which datastreams it reads."""
    answer = worker.describe(config.config_file)
    if not isinstance(answer, Pipeline):
        raise answer
    return replace(config, tsdat=answer)


def _raw_files(root: Path, names: tuple[str, ...]) -> tuple[tuple[Input, ...], OutsideInputs]:
    """Files by their keys below the inputs, or by their whole path where they lie elsewhere."""
    outside: dict[str, Path] = {}
    keys = []
    for name in names:
        path = Path(os.path.abspath(name))
        if not path.is_file():
            raise UsageError(f"there is no file {name}", next="name files that exist")
        if root in path.parents:
            keys.append(path.relative_to(root).as_posix())
        else:
            keys.append(path.as_posix().lstrip("/"))
            outside[keys[-1]] = path
    inputs = OutsideInputs(FolderInputs(root), outside)
    return tuple(inputs.input(key) for key in sorted(dict.fromkeys(keys))), inputs


# --- comparing with what is on record ------------------------------------------------------------


def _compare(pipelines: Pipelines, worker: WorkerProcess, trial: Trial, ledger: Ledger) -> Tried:
    if pipelines.workspace is None:
        raise UsageError(
            "there is nothing to compare with",
            why="products are on record in a workspace, and this folder is none",
            next="leave --compare out, or name the workspace with --workspace",
        )
    output = pipelines.workspace.output
    recorded = ledger.products_at(product.product.key for product in trial.products)
    differences: dict[str, Comparison | None] = {}
    for product in trial.products:
        key = product.product.key
        if key not in recorded:
            differences[key] = None
        elif product.product.kind == "data":
            differences[key] = compare(worker, product.file, output / key, {})
    made = {product.product.key for product in trial.products}
    return Tried(trial, differences, tuple(sorted(_on_record(trial, ledger) - made)))


def _on_record(trial: Trial, ledger: Ledger) -> set[str]:
    """The keys that the latest run about the same has published."""
    run = trial.record.run
    if not trial.succeeded or not run.subjects:
        return set()
    before = next(iter(ledger.about(run.config, run.subjects[0])), None)
    return {product.key for product in before.products} if before else set()


def compare(
    worker: WorkerProcess, new: Path, expected: Path, rules: Mapping[str, object]
) -> Comparison:
    """How a product differs from an expected one; ``rules`` is ``quality.comparison.Rules``."""
    arguments = {"new": str(new), "expected": str(expected), "rules": dict(rules)}
    try:
        return from_json(Comparison, worker.call(COMPARE, arguments))
    except (TidegateError, ValueError) as error:
        return Comparison((f"it cannot be compared: {error}",))
