"""What Tsdat says about config files, asked in a worker process without credentials for AWS.

``python -m tidegate.runtime.descriptions FILES ANSWER`` does it inside an image: a file with a list
of config files, and where to write the answer. The working directory is the repository, and
``TIDEGATE_WORKER`` the interpreter of the pipelines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.runtime.error_records import error_data, error_of
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import from_json, to_json


def describe_files(
    command: Sequence[str], repository: Path, files: Iterable[str]
) -> dict[str, Pipeline | TidegateError]:
    """For each config file, its description by Tsdat, or why Tsdat rejects it.

    ``command`` starts the interpreter beside Tsdat.

    Raises:
        PythonEnvironmentError: the interpreter or Tsdat cannot be started.
    """
    return _ask(command, repository, files)[0]


def _ask(
    command: Sequence[str], repository: Path, files: Iterable[str]
) -> tuple[dict[str, Pipeline | TidegateError], str]:
    """The descriptions, and the version of the Python beside Tsdat."""
    worker = WorkerProcess(command, repository, credentials=False)
    try:
        worker.start()
        python = worker.ready["python"]
        return {file: worker.describe(file) for file in files}, python
    finally:
        worker.close()


def main(arguments: Sequence[str]) -> int:
    """Ask about the listed files; that the environment does not work is an answer, too."""
    files = json.loads(Path(arguments[0]).read_text("utf-8"))
    answer: dict[str, Any]
    try:
        described, python = _ask([os.environ["TIDEGATE_WORKER"]], Path.cwd(), files)
        answer = {"python": python, "files": {f: _data(said) for f, said in described.items()}}
    except TidegateError as error:
        answer = {"error": error_data(error)}
    Path(arguments[1]).write_text(json.dumps(answer), "utf-8")
    return 0


def read_answer(answer: Mapping[str, Any]) -> dict[str, Pipeline | TidegateError]:
    """The descriptions in an answer.

    Raises:
        TidegateError: Tsdat could not be asked.
    """
    if "files" not in answer:
        raise error_of(answer)
    return {
        file: from_json(Pipeline, said["pipeline"]) if "pipeline" in said else error_of(said)
        for file, said in answer["files"].items()
    }


def _data(said: Pipeline | TidegateError) -> dict[str, Any]:
    if isinstance(said, TidegateError):
        return {"error": error_data(said)}
    return {"pipeline": to_json(said)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
