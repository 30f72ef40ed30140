"""Questions on a real terminal: what a person types, and what it leads to."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidegate import cli
from tidegate.cli import asking
from tidegate.scaffold.questions import Question

WHICH = Question("zone", "Which time zone?", "--zone", ("UTC", "local"), "UTC")


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Types on a terminal that standard input and standard error are connected to."""
    person, terminal = pty.openpty()
    with (
        open(terminal, closefd=False) as reads,
        open(terminal, "w", closefd=False) as writes,
    ):
        monkeypatch.setattr(sys, "stdin", reads)
        monkeypatch.setattr(sys, "stderr", writes)
        yield lambda text: (os.write(person, text.encode()), None)[1]
    os.close(person)
    os.close(terminal)


@pytest.mark.parametrize(("typed", "answer"), [("local\n", "local"), ("\n", "UTC")])
def test_a_question_is_answered_or_its_proposal_taken(
    types: Callable[[str], None], typed: str, answer: str
) -> None:
    types(typed)
    assert asking.answers({}, yes=False).to(WHICH) == answer


def test_what_is_no_answer_is_asked_again(types: Callable[[str], None]) -> None:
    types("Mars\nlocal\n")
    assert asking.answers({}, yes=False).to(WHICH) == "local"


@pytest.mark.parametrize(
    ("typed", "code", "replaced"), [("y\n", 0, True), ("\n", 0, False), ("\x04", 1, False)]
)
def test_a_file_is_replaced_only_if_a_person_agrees(
    types: Callable[[str], None], tmp_path: Path, typed: str, code: int, replaced: bool
) -> None:
    folder = tmp_path / "mine"
    assert cli.main(["new", "workspace", str(folder)]) == 0
    file = folder / "pipelines_config.yml"
    whole = file.read_text()
    file.write_text(whole + "# mine\n")
    types(typed)
    assert cli.main(["new", "workspace", str(folder)]) == code
    assert (file.read_text() == whole) == replaced
