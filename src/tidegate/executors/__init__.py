"""The executors: what carries out staged runs. ``EXECUTORS`` says how to make each by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.executors.options import ExecutorOptions
from tidegate.executors.process import ProcessExecutor
from tidegate.runtime.protocols import Executor

EXECUTORS: Mapping[str, Callable[[ExecutorOptions], Executor]] = {
    "process": ProcessExecutor,
}

__all__ = ["EXECUTORS", "ExecutorOptions", "ProcessExecutor"]
