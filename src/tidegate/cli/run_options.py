"""Options of the commands that carry runs out, added by a decorator that collects their values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tidegate.cli.options import (
    AN_HOUR,
    CPUS,
    HERE,
    MAIN,
    Branch,
    In,
    Json,
    Profile,
    Python,
    Region,
    Target,
    Wait,
    Workers,
)
from tidegate.errors import UsageError
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments
from tidegate.workspace.session import RunOptions, Say, TargetOptions

_Option = tuple[Any, Any]
"""The type of an option, as Typer wants it, and its default."""

_EXECUTOR: Mapping[str, _Option] = {
    "executor": (
        Annotated[
            Literal["process", "dask"] | None,
            typer.Option(
                "--executor",
                help="What carries runs out: processes on this machine, or Dask; else the"
                " config's.",
            ),
        ],
        None,
    ),
    "dask_scheduler": (
        Annotated[
            str | None,
            typer.Option("--dask-scheduler", help="The address of a Dask scheduler that runs."),
        ],
        None,
    ),
    "dask_cluster": (
        Annotated[
            Literal["local", "slurm", "pbs", "lsf"] | None,
            typer.Option("--dask-cluster", help="Start Dask: on this machine, or as jobs."),
        ],
        None,
    ),
    "dask_options": (
        Annotated[
            Path | None,
            typer.Option("--dask-options", help="A YAML file with what each job asks for."),
        ],
        None,
    ),
    "dask_min": (
        Annotated[
            int | None,
            typer.Option("--dask-min", min=0, help="Keep workers for so many runs at once."),
        ],
        None,
    ),
    "dask_max": (
        Annotated[
            int | None, typer.Option("--dask-max", min=1, help="At most so many runs at once.")
        ],
        None,
    ),
}

_RUNS: Mapping[str, _Option] = {
    "directory": (In, HERE),
    "python": (Python, None),
    "workers": (Workers, CPUS),
    "target": (Target, "local"),
    "branch": (Branch, MAIN),
    "profile": (Profile, None),
    "region": (Region, None),
    "wait": (Wait, AN_HOUR),
    "as_json": (Json, False),
    **_EXECUTOR,
}


@dataclass(frozen=True)
class RunArguments:
    """What the options say that all commands have which carry runs out on either target."""

    where: TargetOptions
    """The target."""
    options: RunOptions
    """How runs are carried out; ``say`` is left to the command."""
    as_json: bool
    """Whether JSON is printed."""

    def run_options(self, say: Say, about: str | None = None) -> RunOptions:
        """How runs are carried out; for ``about`` see ``RunOptions``."""
        return replace(self.options, say=say, about=about)


def takes_executor(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--executor`` and ``--dask-…``; the command gets ``executor``, ExecutorArguments."""
    return _adding(command, "executor", _EXECUTOR, lambda values: ExecutorArguments(**values))


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that carry runs out; the command gets ``given``, RunArguments."""
    return _adding(command, "given", _RUNS, _run_arguments)


def _run_arguments(values: dict[str, Any]) -> RunArguments:
    executor = ExecutorArguments(**{name: values[name] for name in _EXECUTOR})
    if values["target"] == "aws" and executor != NOTHING_SAID:
        raise UsageError(
            "--executor and --dask-… are for runs on this machine",
            why="on AWS, functions carry runs out",
            next="leave them out, or leave out `--target aws`",
        )
    where = TargetOptions(
        *(values[name] for name in ("directory", "target", "branch", "profile", "region"))
    )
    options = RunOptions(values["python"], values["workers"], values["wait"], executor=executor)
    return RunArguments(where, options, values["as_json"])


def _adding(
    command: Callable[..., None],
    parameter: str,
    options: Mapping[str, _Option],
    collected: Callable[[dict[str, Any]], object],
) -> Callable[..., None]:
    """A command with more options; it gets what is ``collected`` of their values."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != parameter]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        mine = {name: values.pop(name) for name in options}
        command(**values, **{parameter: collected(mine)})

    del with_options.__wrapped__  # Typer would look at the command itself
    parameters = [*own, *added]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
