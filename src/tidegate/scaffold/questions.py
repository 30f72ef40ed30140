"""What has to be asked: answered by an option, on the terminal, or by a proposal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidegate.errors import UsageError


@dataclass(frozen=True)
class Question:
    """Something that the files do not say."""

    key: str
    """The answer's name, such as ``timezone``."""
    text: str
    """The question, in one sentence."""
    option: str
    """The option that answers it, as it is typed."""
    choices: tuple[str, ...] = ()
    """The possible answers; empty for any text."""
    proposal: str = ""
    """The answer that is taken with --yes; empty where there is none to propose."""


Ask = Callable[[Question], str]
"""Asks a person; returns what was typed, or the proposal."""


class Unanswered(UsageError):
    """A question that nobody was there to answer."""

    def __init__(self, question: Question) -> None:
        self.question = question
        proposal = question.proposal
        accept = f", or --yes to take the proposal ({proposal})" if proposal else ""
        super().__init__(question.text, next=f"answer with {question.option}{accept}")


@dataclass
class Answers:
    """Answers that were given as options, and who is asked for the others."""

    given: Mapping[str, str] = field(default_factory=dict)
    """Answers by the question's key."""
    ask: Ask | None = None
    """Asks on a terminal; None where there is nobody to ask."""
    yes: bool = False
    """Take the proposals without asking."""

    def get(self, key: str) -> str | None:
        """The answer that was given as an option."""
        return self.given.get(key)

    def to(self, question: Question) -> str:
        """The answer to a question.

        Raises:
            UsageError: the answer is not one of the choices.
            Unanswered: there is no answer and nobody to ask.
        """
        answer = self.given.get(question.key)
        if answer is None and question.proposal and self.yes:
            answer = question.proposal
        if answer is None and self.ask is not None:
            answer = self.ask(question)
        if answer is None:
            raise Unanswered(question)
        if question.choices and answer not in question.choices:
            raise UsageError(
                f"{answer!r} is not an answer: {question.text}",
                next=f"say one of: {', '.join(question.choices)}",
            )
        return answer

    def decided(self, question: Question) -> bool:
        """Whether a person gave the answer, and it is not a proposal that was taken unasked."""
        return question.key in self.given or not (self.yes and question.proposal)

    def reason(self, question: Question) -> str:
        """How the answer came about, for the note beside it."""
        return "as you said" if self.decided(question) else "a proposal, taken without asking"
