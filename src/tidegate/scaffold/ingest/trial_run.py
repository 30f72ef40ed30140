"""The sample through the drafted pipeline: its products, their QC, and whether they hold the
sample's own numbers."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd

from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Inputs
from tidegate.runtime.runs import Product, Run, RunRecord, Window
from tidegate.runtime.testing import MemoryInputs
from tidegate.scaffold.ingest.records import Draft, Variable
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.outside_inputs import OutsideInputs
from tidegate.testing.samples import SampleProducts, product_key
from tidegate.testing.trial import Trial, try_run
from tidegate.workspace import environment
from tidegate.workspace.environment_options import find_interpreter
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import read_config

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrialRun:
    """What a run of the sample made."""

    record: RunRecord
    """What would be recorded: warnings, failed plots."""
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
        UsageError: a sample's name does not count as that of a raw file.
    """
    files = {f"{config.input_path or ''}{sample.name}": sample for sample in samples}
    inputs = OutsideInputs(FolderInputs(samples[0].parent), files)
    run = Run(config.id, tuple(inputs.input(key) for key in files))
    described = _describe(worker, config)
    return _try(worker, replace(config, tsdat=described), run, inputs, SampleProducts({}), keep)


def run_window(
    worker: WorkerProcess, config: Config, window: Window, products: Iterable[Path], keep: Path
) -> TrialRun:
    """Run a VAP for a window over products; its own products are left in ``keep``.

    Raises:
        ConfigurationError: Tsdat rejects the pipeline, or the run fails.
        PythonEnvironmentError: the worker cannot be started.
    """
    described = _describe(worker, config)
    source = SampleProducts({product_key(worker, described, file): file for file in products})
    run = Run(config.id, window=window, products=source.refs())
    return _try(worker, replace(config, tsdat=described), run, MemoryInputs(), source, keep)


def _describe(worker: WorkerProcess, config: Config) -> Pipeline:
    described = worker.describe(config.config_file)
    if not isinstance(described, Pipeline):
        raise described
    return described


def _try(
    worker: WorkerProcess,
    config: Config,
    run: Run,
    inputs: Inputs,
    source: SampleProducts,
    keep: Path,
) -> TrialRun:
    with tempfile.TemporaryDirectory(prefix="tidegate-sample-") as folder:
        trial = try_run(worker, config, run, inputs, Path(folder), source)
        failure = trial.record.failure
        if failure is not None or not trial.products:
            raise ConfigurationError(
                f"the pipeline fails on its sample: {failure.message}"
                if failure
                else "the pipeline makes no product of its sample",
                where=failure.where if failure else config.config_file,
                next=f"correct the pipeline, then `tidegate test {config.pipeline}`",
            )
        return TrialRun(trial.record, tuple(_keep(trial, keep)))


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


def _keep(trial: Trial, keep: Path) -> list[tuple[Product, Path]]:
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    kept = []
    for made in trial.products:
        place = keep / made.name
        shutil.copyfile(made.file, place)
        kept.append((made.product, place))
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
