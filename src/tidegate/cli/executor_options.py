"""The options ``--executor`` and ``--dask-…`` of the commands that carry runs out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tidegate.errors import UsageError
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments

_OPTIONS: dict[str, Any] = {
    "executor": Annotated[
        Literal["process", "dask"] | None,
        typer.Option(
            "--executor",
            help="What carries runs out: processes on this machine, or Dask; else the config's.",
        ),
    ],
    "dask_scheduler": Annotated[
        str | None,
        typer.Option("--dask-scheduler", help="The address of a Dask scheduler that runs."),
    ],
    "dask_cluster": Annotated[
        Literal["local", "slurm", "pbs", "lsf"] | None,
        typer.Option("--dask-cluster", help="Start Dask: on this machine, or as jobs."),
    ],
    "dask_options": Annotated[
        Path | None,
        typer.Option("--dask-options", help="A YAML file with what each job asks for."),
    ],
    "dask_min": Annotated[
        int | None,
        typer.Option("--dask-min", min=0, help="Keep workers for so many runs at once."),
    ],
    "dask_max": Annotated[
        int | None, typer.Option("--dask-max", min=1, help="At most so many runs at once.")
    ],
}


def takes_executor(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets their values as ``executor``, ExecutorArguments."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "executor"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        arguments = ExecutorArguments(**{name: given.pop(name) for name in _OPTIONS})
        if given.get("target") == "aws" and arguments != NOTHING_SAID:
            raise UsageError(
                "--executor and --dask-… are for runs on this machine",
                why="on AWS, functions carry runs out",
                next="leave them out, or leave out `--target aws`",
            )
        command(**given, executor=arguments)

    del with_options.__wrapped__  # Typer would look at the command itself
    parameters = [*own, *added]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
