"""Questions and differences on a terminal, for the commands ``new …``."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import typer
from rich.markup import escape

from tidegate.cli.view import View
from tidegate.errors import UsageError
from tidegate.scaffold.changes import Approve, Change
from tidegate.scaffold.questions import Answers, Question

_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def answers(given: dict[str, str | None], *, yes: bool) -> Answers:
    """Answers from options; on a terminal, the others are asked until they are valid."""
    known = {key: value for key, value in given.items() if value is not None}

    def ask(question: Question) -> str:
        choices = f" [{'/'.join(question.choices)}]" if question.choices else ""
        default = question.proposal or None
        while True:
            answer = str(typer.prompt(f"{question.text}{choices}", default=default, err=True))
            if not question.choices or answer in question.choices:
                return answer
            typer.echo(f"say one of: {', '.join(question.choices)}", err=True)

    return Answers(known, ask if has_terminal() else None, yes)


def approval(out: View, *, overwrite: bool, yes: bool) -> Approve | None:
    """How a file that exists is replaced: at once with ``--overwrite``, or after a question."""
    if overwrite:
        return lambda change: True
    if yes or not has_terminal():
        return None

    def approve(change: Change) -> bool:
        for line in change.diff():
            colour = _DIFF_COLOURS.get(line[:1], "white")
            out.err.print(f"[{colour}]{escape(line)}[/]")
        return typer.confirm(f"replace {change.path}?", default=False, err=True)

    return approve


def has_terminal() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def load_extra(module: str) -> ModuleType:
    """Import a module that needs the packages of ``tidegate[new]``.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("tidegate"):
            raise
        raise UsageError(
            f"this command needs the package {error.name}",
            next="install the extra: `pip install 'tidegate[new]'`",
        ) from error
