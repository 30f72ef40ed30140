"""Questions on a real terminal: what a person types, and what it leads to."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate import cli
from tidegate.cli import asking
from tidegate.scaffold.questions import Question

WHICH = Question("zone", "Which time zone?", "--zone", ("UTC", "local"), "UTC")


@contextmanager
def typing(text: str) -> Iterator[None]:
    """Standard input and standard error are a terminal, on which a person has typed a text.

    No fixture: pytest sets both streams again when a test begins.
    """
    person, terminal = pty.openpty()
    os.write(person, text.encode())
    with (
        open(terminal, closefd=False) as reads,
        open(terminal, "w", closefd=False) as writes,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", reads)
        patch.setattr(sys, "stderr", writes)
        yield
    os.close(person)
    os.close(terminal)


@pytest.mark.parametrize(("typed", "answer"), [("local\n", "local"), ("\n", "UTC")])
def test_a_question_is_answered_or_its_proposal_taken(typed: str, answer: str) -> None:
    with typing(typed):
        assert asking.answers({}, yes=False).to(WHICH) == answer


def test_what_is_no_answer_is_asked_again() -> None:
    with typing("Mars\nlocal\n"):
        assert asking.answers({}, yes=False).to(WHICH) == "local"


@pytest.mark.functional
@pytest.mark.parametrize(
    ("typed", "code", "replaced"), [("y\n", 0, True), ("\n", 0, False), ("\x04", 1, False)]
)
def test_a_file_is_replaced_only_if_a_person_agrees(
    tmp_path: Path, typed: str, code: int, replaced: bool
) -> None:
    folder = tmp_path / "mine"
    assert cli.main(["new", "workspace", str(folder)]) == 0
    file = folder / "pipelines_config.yml"
    whole = file.read_text()
    file.write_text(whole + "# mine\n")
    with typing(typed):
        assert cli.main(["new", "workspace", str(folder)]) == code
    assert (file.read_text() == whole) == replaced
