"""The function's entry point: ``tidegate.targets.aws.lambda_handler.handler``.

The worker is started before all else: it imports Tsdat, which takes seconds, while this process
imports boto3. Nothing waits for it here, since Lambda gives an environment ten seconds to get
ready; the first run does. It is started by the main thread, which lives as long as the environment:
Linux ends a worker with the thread that has started it.
"""

from __future__ import annotations

import os
import sys

from tidegate.runtime.process import WorkerProcess
from tidegate.targets.aws.settings import Settings


def new_worker(settings: Settings) -> WorkerProcess:
    """A worker beside Tsdat: in the image's environment for pipelines, which is apart from the
    function's own packages, else in the function's own Python, which finds the same packages."""
    python = os.environ.get("TIDEGATE_WORKER")
    if python:
        return WorkerProcess([python], settings.repository, {"PYTHONPATH": ""})
    path = os.pathsep.join(part for part in sys.path if part)
    return WorkerProcess([sys.executable], settings.repository, {"PYTHONPATH": path})


settings = Settings.read()
worker = new_worker(settings)
worker.launch()

from tidegate.targets.aws.function import Function  # noqa: E402

handler = Function(settings, worker).answer
