"""Whether the packages of the extra ``tidegate[dask]`` are installed."""

from __future__ import annotations

from importlib.util import find_spec

from tidegate.errors import UsageError
from tidegate.executors.options import DaskOptions


def check_installed(options: DaskOptions) -> None:
    """Raise UsageError if a package that these options need is missing."""
    needed = ["dask", "distributed"]
    if options.scheduler is None and options.cluster != "local":
        needed.append("dask_jobqueue")
    missing = [name.replace("_", "-") for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the executor dask needs {' and '.join(missing)}",
            why="Tidegate was installed without the extra",
            next="pip install 'tidegate[dask]'",
        )
