"""What a sweep sends to people: what has happened since the one before.

The ledger has the failures and the empty variables; the sweep itself finds stale configs and dead
letters. A problem is noted in the ledger before a message about it is sent. If the topic does not
take a message, the sweep fails, and the next one sends it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from tidegate.runtime.manifest import NoticeSettings
from tidegate.runtime.notices.digest import Message
from tidegate.runtime.notices.notice import Notice, Problem, notices_of
from tidegate.runtime.notices.outbox import Group, Outbox, new_group
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import dumps, loads
from tidegate.targets.aws.swept_config import PERIOD, SweptConfig

_MARGIN = 120
"""By how much the clocks of functions, and the time that a claim takes, may differ, s."""
_JITTER = 60
"""By how much the time between two sweeps may differ, s."""
_MOST_SUCCEEDED = 500
"""The latest runs of a config that are looked at for empty variables."""
_AT_ONCE = 8


@dataclass(frozen=True)
class SweptProblem:
    """A problem of a config that a sweep has found, and what to say when it is over."""

    problem: Problem
    """The problem."""
    end: str
    """The sentence when it is over."""


@dataclass(frozen=True)
class _Noted:
    """What earlier sweeps have noted."""

    until: datetime | None = None
    """When the last one looked at the ledger."""
    runs: tuple[str, ...] = ()
    """The runs that it noted, with their attempts; the next one finds them again."""
    problems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By the config's id: what its problems are about, and the sentences when they are over."""


class SweepMessages:
    """The messages of one stack's sweep; ``name`` is that of its function.

    ``place`` and ``link`` are parts of each message.
    """

    def __init__(
        self,
        ledger: Ledger,
        publish: Callable[[Message], None],
        log: Any,
        *,
        name: str,
        place: str,
        link: str,
    ) -> None:
        self._ledger = ledger
        self._publish = publish
        self._log = log
        self._name = name
        self._about = place, link

    def send(
        self,
        configs: Sequence[SweptConfig],
        found: Mapping[str, Sequence[SweptProblem]],
        now: datetime,
    ) -> None:
        """Send what is due; ``found`` has the problems of those configs that were looked at.

        Raises:
            StorageError, LedgerError: AWS does not answer, or denies it; nothing is lost.
        """
        group_of = {swept.config.id: dumps(swept.notices) for swept in configs}
        settings = {dumps(swept.notices): swept.notices for swept in configs}
        outbox = Outbox(
            {name: self._group(one) for name, one in settings.items()},
            group_of.get,
            lambda: now,
            keep=self._ledger,
            state=f"messages/{self._name}",
        )
        noted = self._read()
        noted = self._add_runs(outbox, configs, noted, now)
        noted = _add_problems(outbox, found, noted)
        outbox.find_recoveries()
        outbox.save()
        self._ledger.set_state(self._state, dumps(noted))
        for due in outbox.due(timedelta(0)):
            self._publish(due.message)
            outbox.note_sent(due)
            outbox.save()

    def _group(self, settings: NoticeSettings) -> Group:
        # Sweeps are not exactly as far apart as their schedule says.
        every = max(0, settings.at_most_every - _JITTER)
        return new_group(replace(settings, at_most_every=every), *self._about)

    @property
    def _state(self) -> str:
        return f"messages/{self._name}/noted"

    def _read(self) -> _Noted:
        text = self._ledger.state(self._state)
        return loads(_Noted, text) if text else _Noted()

    def _add_runs(
        self, outbox: Outbox, configs: Sequence[SweptConfig], noted: _Noted, now: datetime
    ) -> _Noted:
        """Add the notices of runs that have ended since the sweep before."""
        since = noted.until or now - timedelta(seconds=PERIOD)
        known, seen = set(noted.runs), []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for notices in pool.map(lambda one: self._notices(one, since, now), configs):
                for run, notice in notices:
                    seen.append(run)
                    if run not in known:
                        outbox.add(notice)
        return replace(noted, until=now, runs=tuple(dict.fromkeys(seen)))

    def _notices(
        self, swept: SweptConfig, since: datetime, now: datetime
    ) -> list[tuple[str, Notice]]:
        """The notices of a config's runs that may have ended since then, the oldest first.

        Runs are listed by their start, and none lasts longer than an invocation of the function.
        """
        began = since - timedelta(seconds=swept.seconds + _MARGIN)
        found = [
            (f"{record.key[:20]}.{record.attempt}", notice)
            for records in self._records(swept, began)
            for record in records
            for notice in notices_of(record, now)
        ]
        return found[::-1]

    def _records(self, swept: SweptConfig, began: datetime) -> Iterator[Iterator[Any]]:
        config, kinds = swept.config.id, swept.notices.kinds
        if not kinds or "failure" in kinds:
            yield self._ledger.records(config=config, states=("failed",), since=began)
        if not kinds or "empty" in kinds:
            done = self._ledger.records(config=config, states=("succeeded",), since=began)
            yield islice(done, _MOST_SUCCEEDED)
            if next(done, None) is not None:
                self._log.warning(
                    f"{config}: of very many runs, only the latest {_MOST_SUCCEEDED} were looked"
                    " at for empty variables",
                    extra={"action": "many_runs"},
                )


def _add_problems(
    outbox: Outbox, found: Mapping[str, Sequence[SweptProblem]], noted: _Noted
) -> _Noted:
    """Add the problems that are new, and those that are over."""
    now = {config: {one.problem.about: one.end for one in ones} for config, ones in found.items()}
    for config, problems in found.items():
        before = noted.problems.get(config, {})
        for one in problems:
            if one.problem.about not in before:
                outbox.problem(one.problem)
        for about, end in before.items():
            if about not in now[config]:
                outbox.resolved(config, about, end)
    kept = {config: ones for config, ones in noted.problems.items() if config not in found}
    return replace(noted, problems={**kept, **{c: ones for c, ones in now.items() if ones}})
