"""What goes from the control process to a Dask worker and back: JSON, of frozen records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tidegate import errors
from tidegate.errors import TidegateError, WorkerLost
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.task import Limits, Outcome, Task


@dataclass(frozen=True)
class Expected:
    """What a Dask worker must have to carry out runs of this service."""

    tidegate: str
    """The version of Tidegate."""
    pipelines_python: str
    """The version of the pipelines' Python."""
    tsdat: str
    """The version of Tsdat."""
    python: tuple[str, ...]
    """The command that starts the pipelines' interpreter."""
    repository: str
    """The pipelines repository."""
    code: str
    """The hash of the repository's code; see ``code_hash``."""
    runs_per_worker: int
    """A worker process is replaced after so many runs."""
    executor: str
    """The id of the executor that asks. It gets worker processes of its own, which have imported
    nothing from before it started: packages may have been installed since."""


@dataclass(frozen=True)
class Request:
    """One run for a Dask worker."""

    task: Task
    """The staged run."""
    limits: Limits
    """Its limits."""
    expected: Expected
    """What the worker must have."""
    permit: str
    """A folder that the worker makes when it begins; it stops the run if the folder is removed."""


class Refused(Exception):
    """A Dask worker cannot carry out runs of this service; the argument is a TidegateError."""

    def __init__(self, error: TidegateError) -> None:
        self.error = error
        super().__init__(str(error))


def request_text(request: Request) -> str:
    """A request as text."""
    return json.dumps(to_json(request))


def read_request(text: str) -> Request:
    """The request in a text; raises ValueError."""
    return from_json(Request, json.loads(text))


def answer_text(outcome: Outcome) -> str:
    """The answer of a run that was carried out."""
    return json.dumps({"outcome": to_json(outcome)})


def error_text(error: TidegateError, *, refused: bool = False) -> str:
    """The answer of a run that was stopped, or of a worker that cannot carry it out."""
    fields = {name: getattr(error, name) for name in ("what", "why", "next", "where")}
    return json.dumps({"refused" if refused else "error": {"type": type(error).__name__, **fields}})


def read_answer(text: str) -> Outcome:
    """The outcome in a worker's answer.

    Raises:
        Refused: the worker cannot carry out runs of this service.
        TidegateError: what the worker raised.
        WorkerLost: the answer cannot be read.
    """
    try:
        answer = json.loads(text)
        if "outcome" in answer:
            return from_json(Outcome, answer["outcome"])
    except (ValueError, TypeError) as error:
        raise WorkerLost("the answer of a Dask worker cannot be read", why=str(error)) from error
    if "refused" in answer:
        raise Refused(_read_error(answer["refused"]))
    raise _read_error(answer.get("error") or {})


def _read_error(error: dict[str, Any]) -> TidegateError:
    kind = getattr(errors, str(error.get("type")), WorkerLost)
    fields = {name: str(error.get(name, "")) for name in ("why", "next", "where")}
    made: TidegateError = kind(str(error.get("what", "unknown error")), **fields)
    return made
