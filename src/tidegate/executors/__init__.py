"""The executors: what carries out staged runs. ``EXECUTORS`` says how to open each by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from tidegate.executors.options import DaskOptions, ExecutorChoice, ExecutorOptions
from tidegate.executors.process import ProcessExecutor
from tidegate.runtime.protocols import Executor

NewExecutor = Callable[[ExecutorOptions], Executor]
"""Makes an executor, which is not started yet."""


@contextmanager
def _processes(choice: ExecutorChoice) -> Iterator[NewExecutor]:
    yield ProcessExecutor


@contextmanager
def _dask(choice: ExecutorChoice) -> Iterator[NewExecutor]:
    from tidegate.executors.dask.extra import check_installed

    check_installed(choice.dask)
    from tidegate.executors.dask.clusters import open_cluster
    from tidegate.executors.dask.executor import DaskExecutor

    with open_cluster(choice) as cluster:
        yield lambda options: DaskExecutor(cluster, options, say=choice.say)


EXECUTORS: Mapping[str, Callable[[ExecutorChoice], AbstractContextManager[NewExecutor]]] = {
    "process": _processes,
    "dask": _dask,
}
"""Each opens what its executors share, such as a cluster, which stays when code is taken over."""

__all__ = ["EXECUTORS", "DaskOptions", "ExecutorChoice", "ExecutorOptions", "ProcessExecutor"]
