"""Failures that were the same on a fresh worker: alike ones need no fresh worker any more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tidegate.runtime.runs import Failure

ALIKE = 3
"""So many failures of one kind at one place are trusted, whatever their messages say."""


@dataclass(frozen=True)
class ConfirmedFailures:
    """The last failures that a fresh worker has confirmed, of all configs and releases."""

    found: deque[tuple[str, str, Failure]] = field(default_factory=lambda: deque(maxlen=100))
    """Config, release and failure."""

    def add(self, config: str, release: str, failure: Failure) -> None:
        """A run has failed in the same way on a fresh worker."""
        self.found.append((config, release, failure))

    def covers(self, config: str, release: str, failure: Failure) -> bool:
        """Whether a failure was confirmed with the same message, or often enough by alike ones.

        Messages may name the file. Alike are failures of one kind, with the same exception, at the
        same line of the repository.
        """
        of_config = [found[2] for found in self.found if found[:2] == (config, release)]
        if failure in of_config:
            return True
        alike = [found for found in of_config if _nature(found) == _nature(failure)]
        return bool(failure.where) and len(alike) >= ALIKE


def _nature(failure: Failure) -> tuple[str, str, str]:
    exception = failure.message.partition(":")[0]
    return failure.kind, failure.where, exception
