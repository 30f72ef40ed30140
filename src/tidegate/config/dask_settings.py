"""The keys below ``dask:`` of pipelines_config.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from tidegate.config import values
from tidegate.config.keys import Keys, json_schema, key

Executor = Annotated[Literal["process", "dask"], BeforeValidator(values.choice("process", "dask"))]
_Text = Annotated[str, BeforeValidator(values.text)]
_Kind = Annotated[
    Literal["local", "slurm", "pbs", "lsf"],
    BeforeValidator(values.choice("local", "slurm", "pbs", "lsf")),
]
_Count = Annotated[
    int,
    BeforeValidator(values.whole("of runs", 0, 10_000)),
    json_schema({"minimum": 0, "maximum": 10_000}, "integer"),
]


class DaskSettings(Keys):
    """The Dask cluster that carries runs out."""

    scheduler: _Text | None = key(
        "The address of a Dask scheduler that runs already.", "tcp://head:8786"
    )
    cluster: _Kind | None = key(
        "Without `scheduler`: start Dask on this machine (local), or as jobs of Slurm, PBS or LSF.",
        "slurm",
        default="local",
    )
    options: _Text | None = key(
        "A YAML file with what each job asks for, relative to this file (docs/dask.md).",
        "slurm.yml",
    )
    min: _Count | None = key("For how many runs at once workers are always kept.", 0)
    max: _Count | None = key("How many runs there are at once, at most.", 20)
