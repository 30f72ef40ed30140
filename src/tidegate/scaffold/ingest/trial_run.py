"""The sample through the drafted pipeline: its products, their QC, and whether they hold the
sample's own numbers."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd

from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.publish import STORE, content_hash
from tidegate.runtime.runs import Input, Product, Run, Window
from tidegate.runtime.stage import INPUTS, tsdat_time
from tidegate.runtime.task import Outcome, Task
from tidegate.scaffold.ingest.records import Draft, Variable
from tidegate.workspace import environment
from tidegate.workspace.environment_options import find_interpreter
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import read_config

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrialRun:
    """What a run of the sample made."""

    outcome: Outcome
    """What the worker answered."""
    files: tuple[tuple[Product, Path], ...]
    """The products and where they are kept."""

    @property
    def data(self) -> list[Path]:
        """The data files."""
        return [path for product, path in self.files if product.kind == "data"]


PREVIEW = "preview"
"""The folder below ``.tidegate/`` in which the products of samples are kept."""


def run_sample(
    worker: WorkerProcess, config: Config, samples: Sequence[Path], keep: Path
) -> TrialRun:
    """Run an ingest on sample files; products are left in ``keep``.

    Ledger and outputs of the workspace are not touched.

    Raises:
        ConfigurationError: Tsdat rejects the pipeline, or the run fails.
        PythonEnvironmentError: the worker cannot be started.
    """
    with _work_folder() as work:
        inputs, arguments = [], []
        for sample in samples:
            key = f"{config.input_path or ''}{sample.name}"
            place = work / INPUTS / key
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample, place)
            size, sha256 = content_hash(place)
            inputs.append(Input(key, sha256, size))
            arguments.append(str(place))
        described = _describe(worker, config)
        run = Run(config.id, tuple(inputs))
        task = Task(run, replace(config, tsdat=described), tuple(arguments), str(work))
        return _perform(worker, task, keep)


def run_window(
    worker: WorkerProcess,
    config: Config,
    window: Window,
    products: Mapping[str, Path],
    keep: Path,
) -> TrialRun:
    """Run a VAP for a window over products, by datastream; products are left in ``keep``.

    Raises:
        ConfigurationError: Tsdat rejects the pipeline, or the run fails.
        PythonEnvironmentError: the worker cannot be started.
    """
    with _work_folder() as work:
        described = _describe(worker, config)
        root = work / STORE / described.storage_root
        template = described.data_path or "data/{location_id}/{datastream}"
        for datastream, file in products.items():
            names = {"datastream": datastream, "location_id": datastream.split(".", 1)[0]}
            place = root / template.format(**names) / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        arguments = (tsdat_time(window.begin), tsdat_time(window.end))
        run = Run(config.id, window=window)
        task = Task(run, replace(config, tsdat=described), arguments, str(work))
        return _perform(worker, task, keep)


@contextmanager
def _work_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-sample-") as folder:
        work = Path(folder)
        for name in (INPUTS, STORE, "tmp"):
            (work / name).mkdir()
        yield work


def _describe(worker: WorkerProcess, config: Config) -> Pipeline:
    described = worker.describe(config.config_file)
    if not isinstance(described, Pipeline):
        raise described
    return described


def _perform(worker: WorkerProcess, task: Task, keep: Path) -> TrialRun:
    outcome = worker.perform(task)
    failure = outcome.failure
    if failure is not None or not outcome.products:
        raise ConfigurationError(
            f"the pipeline fails on its sample: {failure.message}"
            if failure
            else "the pipeline makes no product of its sample",
            where=failure.where if failure else task.config.config_file,
            next=f"correct the pipeline, then `tidegate test {task.config.pipeline}`",
        )
    return TrialRun(outcome, tuple(_keep(outcome.products, Path(task.work) / STORE, keep)))


def start_worker(
    workspace: Workspace, repository: Path, python: str | None, say: Say
) -> WorkerProcess:
    """A worker of the pipelines' environment, which starts when it is first used.

    Raises:
        PythonEnvironmentError: the pipelines' environment is missing and cannot be made.
    """
    return WorkerProcess(sample_interpreter(workspace, python, say), repository.absolute())


def sample_interpreter(workspace: Workspace, python: str | None, say: Say) -> tuple[str, ...]:
    """The pipelines' interpreter; before there is one, Tidegate's own where that has Tsdat.

    Raises:
        PythonEnvironmentError: the environment is missing and cannot be made.
    """
    reading = read_config(workspace)
    repository = reading.repository
    assert repository is not None
    found = environment.find(repository, workspace.root, python=python)
    if isinstance(found, environment.Missing) and importlib.util.find_spec("tsdat"):
        say("run with the Tsdat beside Tidegate: the pipelines' own environment is not made yet")
        return (sys.executable,)
    return find_interpreter(workspace, reading, python=python, say=say)


def _keep(products: Sequence[Product], store: Path, keep: Path) -> list[tuple[Product, Path]]:
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    kept = []
    for product in products:
        place = keep / Path(product.key).name
        shutil.copyfile(store / product.key, place)
        kept.append((product, place))
    return kept


def differences(draft: Draft, files: Sequence[Path]) -> list[str]:
    """Where the product does not hold the times and values that were read from the sample.

    The sample was read by Tidegate and the product was made by Tsdat: both must come to the same.
    """
    found: list[str] = []
    expected = pd.DatetimeIndex(draft.time.values)
    order = np.argsort(expected, kind="stable")
    unique = expected[order].duplicated()
    order = order[~unique]
    for file in files[:1] if len(files) == 1 else []:
        with netCDF4.Dataset(file) as product:
            product.set_auto_mask(False)  # it would mask what is outside the valid range
            times = product.variables["time"]
            seconds = np.asarray(times[:], dtype=float)
            origin = netCDF4.num2date(0, times.units).isoformat()
            unit = str(times.units).split()[0].lower().rstrip("s")
            made = pd.Timestamp(origin) + pd.to_timedelta(seconds, unit=unit)
            if len(made) != len(order):
                return [f"time: {len(made)} in the product, {len(order)} in the sample"]
            late = np.abs((made - expected[order]) / pd.Timedelta("1s"))
            if late.max() > 0.001:
                found.append(f"time: up to {late.max():g} s apart")
            for variable in draft.variables:
                found += _difference(variable, product, order)
    return found


def _difference(variable: Variable, product: Any, order: Any) -> list[str]:
    if variable.dtype == "str":
        return []
    if variable.name not in product.variables:
        return [f"{variable.name}: not in the product"]
    found = product.variables[variable.name]
    made = found[:].astype(float)
    made = np.where(made == getattr(found, "_FillValue", np.nan), np.nan, made)
    if variable.dims[0] != "time":
        return []
    expected = np.asarray(variable.values, dtype=float).reshape((-1, *made.shape[1:]))[order]
    if np.allclose(made, expected, rtol=1e-6, atol=1e-9, equal_nan=True):
        return []
    both = np.isfinite(made) & np.isfinite(expected)
    apart = float(np.max(np.abs(made - expected)[both], initial=0.0))
    missing = int(np.isnan(made).sum() - np.isnan(expected).sum())
    return [f"{variable.name}: up to {apart:g} apart, {missing:+d} missing"]
