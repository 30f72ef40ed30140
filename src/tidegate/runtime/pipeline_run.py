"""Run one pipeline on what is staged in a work folder, in the worker process."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tidegate.errors import ProductError
from tidegate.runtime.links import separate_links
from tidegate.runtime.pipeline_failures import failure_of, is_from_plots, message_of
from tidegate.runtime.product_checks import with_empty
from tidegate.runtime.publish import STORE
from tidegate.runtime.saves import Save, files_below, products_of, record_saves
from tidegate.runtime.task import Outcome, Task
from tidegate.runtime.tsdat_adapter import instantiate

logger = logging.getLogger("tidegate")


def _inputs(task: Task) -> list[str]:
    """What the pipeline is run with: files, the begin and end of a window, or other texts.

    Before Tsdat 0.6, a VAP is run with ``datastream::begin::end`` for each of its datastreams.
    """
    retrievers = sys.modules.get("tsdat.io.retrievers")
    streams = task.config.tsdat.datastreams if task.config.tsdat else ()
    if task.run.window is None or not hasattr(retrievers, "unpack_datastream_date_str"):
        return list(task.arguments)
    return ["::".join((stream, *task.arguments)) for stream in streams]


def run(task: Task, loaded: Callable[[], None] = lambda: None) -> Outcome:
    """Run one pipeline on what is staged in ``task.work``; failures are returned, not raised.

    The working directory is the repository's root. Products are left below ``store/``.
    """
    work, began, home = Path(task.work), time.monotonic(), os.getcwd()
    staged = files_below(work / STORE)
    seconds: dict[str, float] = {}
    saves: list[Save] = []
    plots_failed = ""
    with _environment(task, work):
        try:
            pipeline = instantiate(task.config.config_file, work / STORE)
            loaded()  # what follows belongs to this run alone
            record_saves(pipeline.storage, work, staged, saves)
            seconds["load"] = time.monotonic() - began
            pipeline.run(_inputs(task))
        except BaseException as error:
            os.chdir(home)  # the pipeline may have left it, and what follows names files from here
            logger.error("%s", message_of(error), exc_info=error)
            if not (saves and is_from_plots(error)):
                return Outcome(failure=failure_of(error), seconds=seconds)
            plots_failed = message_of(error)
        finally:
            _close_figures()
    ran = time.monotonic()
    seconds["run"] = ran - began - seconds.get("load", 0.0)
    try:
        unchanged = {
            key for key, stamp in files_below(work / STORE).items() if staged.get(key) == stamp
        }
        warnings = separate_links(work / STORE, unchanged)
    except (ProductError, OSError) as error:
        logger.error("%s", message_of(error))
        return Outcome(failure=failure_of(error), seconds=seconds)
    retrieved = frozenset(map(str, getattr(pipeline.retriever, "data_vars", None) or ()))
    products = tuple(
        with_empty(product, retrieved) for product in products_of(work / STORE, staged, saves)
    )
    seconds["sum up"] = time.monotonic() - ran
    return Outcome(products=products, plots_failed=plots_failed, warnings=warnings, seconds=seconds)


class _environment:
    """The run's variables, the arrival's names in place of staged paths, and its own TMPDIR."""

    def __init__(self, task: Task, work: Path) -> None:
        self._variables = {
            **task.config.environment,
            "PIPELINE_NAME": task.config.pipeline,
            "CONFIG_ID": task.config.name,
            "TMPDIR": str(work / "tmp"),
        }

    def __enter__(self) -> None:
        self._saved = dict(os.environ)
        self._directory = os.getcwd()
        os.environ.update(self._variables)
        tempfile.tempdir = None  # so that TMPDIR is looked up again

    def __exit__(self, *exc: object) -> None:
        os.environ.clear()
        os.environ.update(self._saved)
        os.chdir(self._directory)
        tempfile.tempdir = None


def _close_figures() -> None:
    """User hooks leave figures open: tens of MB a run in real repositories."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
