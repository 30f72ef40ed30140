"""Loaded by the Dask workers of a local cluster: Ctrl-C is for the service, which ends them."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by Dask when the worker starts."""
    with suppress(ValueError):  # not in the process's main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
