"""Passes on what the service does: ended runs, messages, problems."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.runs import RunRecord

_REMIND = 600.0


@dataclass(frozen=True)
class Listener:
    """Functions to call when something happens; from any thread, one call at a time."""

    record: Callable[[RunRecord], None] = lambda record: None
    """Called when a run has ended, or will be tried again."""
    message: Callable[[str], None] = lambda text: None
    """Called with something that a person should know."""
    problem: Callable[[Problem], None] = lambda problem: None
    """Called with what an operator should get a message about."""
    waiting: Callable[[int], None] = lambda count: None
    """Called about twice a second with how many runs wait or go on; 0: there is nothing to do."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ended(self, record: RunRecord) -> None:
        """Pass on a record; that nobody reads the output any more is not an error."""
        with self.lock, suppress(OSError):
            self.record(record)

    def say(self, text: str) -> None:
        """Pass on a message."""
        with self.lock, suppress(OSError):
            self.message(text)

    def report_waiting(self, count: int) -> None:
        """Pass on how many runs wait or go on."""
        with self.lock, suppress(OSError):
            self.waiting(count)

    def report(self, problem: Problem) -> None:
        """Say what the problem is, and pass it on."""
        self.say(f"{datetime.now(timezone.utc):%H:%M:%S}  {problem.text}")
        self.problem(problem)


class StorageTrouble:
    """Says that the ledger or the disk is not usable: once, and again every ten minutes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._last = ("", 0.0)

    def report(self, error: StorageError) -> None:
        """Tell a person, unless the same was said a short while ago."""
        text, said = self._last
        if text != str(error) or time.monotonic() - said > _REMIND:
            self._last = (str(error), time.monotonic())
            text = f"{error}\nTidegate waits until this is solved, and then goes on."
            self._listener.report(Problem("disk", "", text))


def internal_error(error: Exception) -> TidegateError:
    """A bug in Tidegate, as an error for a person."""
    return TidegateError(
        "Tidegate has failed, and not your data or your pipelines",
        why=repr(error),
        next="start it again: nothing is lost; please report it with the traceback above",
    )
