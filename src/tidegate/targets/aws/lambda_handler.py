"""The function's entry point: ``tidegate.targets.aws.lambda_handler.handler``.

The worker is started first: it imports Tsdat, which takes seconds, while this process imports
boto3. Only the first run waits for it, since Lambda gives an environment ten seconds to get ready.
It is started by the main thread, which lives as long as the environment: Linux kills a worker
together with the thread that started it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.release_notes import installed_packages, package_folders
from tidegate.targets.aws.settings import Settings


def new_worker(settings: Settings) -> WorkerProcess:
    """A worker with the pipelines' packages: in an environment of their own where the image has one
    (``TIDEGATE_WORKER`` is its interpreter), otherwise in the function's own Python."""
    python = os.environ.get("TIDEGATE_WORKER")
    if python:
        return WorkerProcess([python], settings.repository, {"PYTHONPATH": ""})
    path = os.pathsep.join(part for part in sys.path if part)
    return WorkerProcess([sys.executable], settings.repository, {"PYTHONPATH": path})


def pipelines_packages() -> list[str]:
    """The packages that the worker has."""
    python = os.environ.get("TIDEGATE_WORKER")
    folders = package_folders(Path(python)) if python else [Path(part) for part in sys.path if part]
    return installed_packages(folders)


settings = Settings.read()
worker = new_worker(settings)
worker.launch()

from tidegate.targets.aws.function import Function  # noqa: E402

handler = Function(settings, worker, packages=pipelines_packages()).answer
