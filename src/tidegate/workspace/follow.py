"""Follows requested runs in the ledger until they have ended.

Someone else carries them out: a service on this machine, or functions on AWS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import FINISHED, Run, RunRecord

_MOST_AT_ONCE = 50


class Carrier(Protocol):
    """Who carries the runs out."""

    def problem(self, waiting: Sequence[Run], quiet: float) -> str:
        """Why it is no use to wait for these runs any longer; "" if they will be carried out.

        ``quiet`` is for how long none of them has made progress, s.
        """

    def is_lost(self, run: Run) -> bool:
        """Whether that run will never be carried out."""


@dataclass
class Following:
    """Waits for the ends of runs."""

    runs: Sequence[Run]
    """The runs, as they were requested: with ``again`` and ``arrived``."""
    carrier: Carrier
    """Who carries them out."""
    ended: Callable[[RunRecord], None]
    """Called with the record of each end, and of each attempt that will be repeated."""
    say: Callable[[str], None]
    """Called with a sentence for a person."""
    pause: float = 0.2
    """The shortest time between two looks into the ledger, s."""
    longest_pause: float = 5.0
    """The pause grows up to this while nothing happens, s."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set to wait no longer."""

    def wait(self, ledger: Ledger) -> None:
        """Return when all runs have ended, or there is no use in waiting, or ``stopped`` is set."""
        left = deque({run.key: run for run in self.runs}.values())
        attempts: dict[str, int] = {}
        progress, pause = time.monotonic(), self.pause
        while left and not self.stopped.wait(pause):
            before = len(left), dict(attempts)
            for _ in range(min(len(left), _MOST_AT_ONCE)):
                run = left.popleft()
                if not self._has_ended(run, ledger, attempts):
                    left.append(run)
            if (len(left), attempts) != before:
                progress, pause = time.monotonic(), self.pause
            else:
                pause = min(pause * 1.3, self.longest_pause)
            quiet = time.monotonic() - progress
            if left and (problem := self.carrier.problem(list(left), quiet)):
                self.say(problem)
                return

    def _has_ended(self, run: Run, ledger: Ledger, attempts: dict[str, int]) -> bool:
        lost = self.carrier.is_lost(run)  # asked first: a run that has just ended waits no more
        record = ledger.record(run.key)
        if record is not None and _is_about(record, run):
            if record.state == "retrying" and attempts.get(record.key) != record.attempt:
                attempts[record.key] = record.attempt
                self.ended(record)
            if record.state in FINISHED:
                self.ended(record)
                return True
        if lost:
            self.say(f"{run.title} was dropped: if {run.config} is new, restart the service")
        return lost


def _is_about(record: RunRecord, run: Run) -> bool:
    """Whether a record is about this request, or a later one for the same run."""
    asked, answered = run.arrived, record.run.arrived
    return asked is None or (answered is not None and answered >= asked)
