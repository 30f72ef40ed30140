"""What Tsdat says about pipelines, in the environment that they run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.errors import PythonEnvironmentError, TidegateError
from tidegate.runtime.descriptions import describe_files
from tidegate.runtime.manifest import Pipeline


def failed_imports(
    answers: Mapping[str, Pipeline | TidegateError],
) -> dict[str, PythonEnvironmentError]:
    """The pipelines' config files with which imports failed because of installed packages."""
    return {
        file: answer
        for file, answer in answers.items()
        if isinstance(answer, PythonEnvironmentError)
    }


def refuse_if_none_can_be_imported(answers: Mapping[str, Pipeline | TidegateError]) -> None:
    """Refuse an environment in which no pipeline's code can be imported.

    If some can be imported the environment is used: each of the others stops for itself alone.

    Raises:
        PythonEnvironmentError: none can be imported, because of installed packages.
    """
    failures = failed_imports(answers)
    if failures and len(failures) == len(answers):
        file, first = next(iter(failures.items()))
        raise PythonEnvironmentError(
            f"the code of the pipelines, such as {file}, cannot be imported in the new environment",
            why=first.why,
            next=first.next,
            where=first.where,
        )


def check_imports(repository: Path, python: Path, files: Sequence[str]) -> None:
    """Import the code that the pipelines' config files name with that interpreter.

    Raises:
        PythonEnvironmentError: see ``refuse_if_none_can_be_imported``; or Tsdat cannot be started.
    """
    refuse_if_none_can_be_imported(describe_files((str(python),), repository, files))
