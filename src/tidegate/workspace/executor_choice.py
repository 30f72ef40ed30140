"""Which executor carries out the runs of a workspace: by the command line, else by the config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from tidegate.config.dask_settings import DaskSettings
from tidegate.errors import UsageError
from tidegate.executors import DaskOptions, ExecutorChoice
from tidegate.executors.options import ClusterKind
from tidegate.workspace.loading import LoadedWorkspace, Say


@dataclass(frozen=True)
class ExecutorArguments:
    """What the command line says; None: nothing."""

    executor: str | None = None
    """The executor's name."""
    dask_scheduler: str | None = None
    """The address of a Dask scheduler."""
    dask_cluster: ClusterKind | None = None
    """The kind of cluster to start."""
    dask_options: Path | None = None
    """The file with what a job asks for."""
    dask_min: int | None = None
    """The fewest runs at once for which workers are kept."""
    dask_max: int | None = None
    """The most runs at once."""


NOTHING_SAID = ExecutorArguments()


def to_record(arguments: ExecutorArguments) -> dict[str, str]:
    """What was said, to be kept with a job; a file's name from any folder."""
    said = {name: value for name, value in vars(arguments).items() if value is not None}
    return {
        name: str(value.absolute() if isinstance(value, Path) else value)
        for name, value in said.items()
    }


def from_record(record: Mapping[str, str]) -> ExecutorArguments:
    """What was said, from what was kept with a job."""
    types: Mapping[str, type] = {"dask_options": Path, "dask_min": int, "dask_max": int}
    known = [field.name for field in fields(ExecutorArguments) if field.name in record]
    return ExecutorArguments(**{name: types.get(name, str)(record[name]) for name in known})


def choose_executor(
    loaded: LoadedWorkspace, arguments: ExecutorArguments, workers: int, say: Say
) -> ExecutorChoice:
    """The executor to use.

    Raises:
        UsageError: options that exclude each other, or a file of options that cannot be used.
    """
    model = loaded.config.require()
    settings = model.dask or DaskSettings()
    dask_given = ExecutorArguments(arguments.executor) != arguments
    name = arguments.executor or ("dask" if dask_given else model.executor) or "process"
    if name != "dask" and dask_given:
        raise UsageError("the options --dask-… are for `--executor dask`", next="leave them out")
    if arguments.dask_scheduler and arguments.dask_cluster:
        raise UsageError(
            "--dask-scheduler and --dask-cluster exclude each other",
            why="one is for a cluster that runs, the other for one that Tidegate starts",
            next="leave one out",
        )
    file = arguments.dask_options
    if file is None and settings.options is not None:
        file = loaded.workspace.root / settings.options
    scheduler = arguments.dask_scheduler or (None if arguments.dask_cluster else settings.scheduler)
    minimum = settings.min if arguments.dask_min is None else arguments.dask_min
    maximum = settings.max if arguments.dask_max is None else arguments.dask_max
    if maximum is not None and maximum < max(1, minimum or 0):
        raise UsageError(f"at most {maximum} runs are fewer than --dask-min, or than one")
    dask = DaskOptions(
        scheduler,
        arguments.dask_cluster or settings.cluster or "local",
        read_options(file) if file is not None and name == "dask" else {},
        minimum,
        maximum,
    )
    return ExecutorChoice(name, workers, dask, loaded.workspace.state, say)


def read_options(file: Path) -> Mapping[str, Any]:
    """The keys and values of a YAML file; raises UsageError."""
    example = "write keys and values, for example `walltime: 02:00:00` (docs/dask.md)"
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"there is no file {file}",
            why="it should say what a job asks for",
            next=f"correct its name, or {example}",
        ) from None
    except OSError as error:
        what, why = f"cannot read {file}", error.strerror or str(error)
        raise UsageError(what, why=why, next="name a file that you can read") from error
    except UnicodeDecodeError as error:
        why = f"byte {error.start + 1} is not UTF-8 text"
        raise UsageError(f"cannot read {file}", why=why, next=example) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            f"{file} is not valid YAML",
            why=str(getattr(error, "problem", "") or error),
            next=example,
            where=f"{file}:{mark.line + 1}" if mark is not None else "",
        ) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(
            f"{file} has no keys with values",
            next="write, for example, `queue: short` and `walltime: 02:00:00` (docs/dask.md)",
        )
    return found
