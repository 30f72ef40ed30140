"""What waits for each group of recipients, and what was sent; kept in the ledger."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from tidegate.runtime.manifest import NoticeSettings
from tidegate.runtime.notices.digest import Digest, Message
from tidegate.runtime.notices.notice import (
    KINDS,
    Notice,
    Problem,
    notices_of,
    subject_of,
    works_again,
)
from tidegate.runtime.open_failures import acknowledged, only_open
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import RunRecord

STATE = "notify"
"""The name of a service's value in the ledger."""
_REPORTED = 1000


@dataclass
class Group:
    """Recipients that the same configs report to."""

    digest: Digest
    """What waits for them."""
    kinds: frozenset[str]
    """What they want to know."""
    open: dict[str, list[list[str]]] = field(default_factory=dict)
    """For each config, what was sent to them: the subject, and the key of the failed run or "".
    The latest thousand."""


def new_group(settings: NoticeSettings, place: str, link: str) -> Group:
    """Recipients with these settings; ``place`` and ``link`` are parts of each message."""
    begin, _, end = settings.quiet.partition("-")
    digest = Digest(
        place,
        timedelta(seconds=settings.at_most_every),
        (time.fromisoformat(begin), time.fromisoformat(end)) if end else None,
        link,
    )
    return Group(digest, frozenset(settings.kinds or KINDS))


@dataclass(frozen=True)
class Due:
    """A message that should be sent now."""

    group: str
    """The name of the group of recipients."""
    message: Message
    """What to send."""
    about: tuple[Notice, ...]
    """What it is about."""


class Outbox:
    """Takes what happens, from all threads, and says which messages are due.

    ``group_of`` gives the name of a config's group. What waits and what was sent is kept in the
    ledger ``keep``, under the name ``state``.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        group_of: Callable[[str], str | None],
        now: Callable[[], datetime],
        *,
        keep: Ledger | None = None,
        state: str = STATE,
    ) -> None:
        self._groups = dict(groups)
        self._group_of = group_of
        self._now = now
        self._keep = keep
        self._state = state
        self._lock = threading.Lock()
        self._kept: str | None = None
        self._restore()

    def record(self, record: RunRecord) -> None:
        """A run has ended: a failure is a notice; so is success after a failure that was sent."""
        if record.state in ("succeeded", "empty"):
            title = works_again(record.run.title)
            self.resolved(record.run.config, subject_of(record.run), title)
        for notice in notices_of(record, self._now()):
            self.add(notice)

    def add(self, notice: Notice) -> None:
        """Something that a person should know; for recipients who want this kind."""
        with self._lock:
            for group in self._groups_of(notice.config):
                if notice.kind in group.kinds:
                    group.digest.add(notice)

    def problem(self, problem: Problem) -> None:
        """A problem was found, or one is over."""
        if problem.over:
            self.resolved(problem.config, problem.about, problem.text)
        else:
            now = self._now()
            self.add(Notice(problem.kind, problem.config, problem.text, now, problem.about))

    def resolved(self, config: str, subject: str, text: str) -> None:
        """What failed, or was stale, works again; for those who had a message about it."""
        with self._lock:
            for group in self._groups_of(config):
                if group.digest.forget(config, subject):
                    continue
                reported = group.open.get(config, [])
                if not reported:
                    continue
                reported[:] = [entry for entry in reported if entry[0] != subject]
                self._drop_closed(reported)
                self._note_recovery(group, config, subject, text)

    def find_recoveries(self) -> None:
        """Find what was sent and is over, for those who do not see the end of each run.

        While one failure of a config is open, no other of its failures is looked at.
        """
        with self._lock:
            for group in self._groups.values():
                for config, reported in group.open.items():
                    closed = self._drop_closed(reported)
                    if closed:
                        subject, run = closed[-1]
                        record = self._keep.record(run) if self._keep is not None else None
                        text = works_again(record.run.title if record else subject)
                        self._note_recovery(group, config, subject, text)

    def _note_recovery(self, group: Group, config: str, subject: str, text: str) -> None:
        if not group.open.get(config) and "recovery" in group.kinds:
            group.digest.add(Notice("recovery", config, text, self._now(), subject))

    def _drop_closed(self, reported: list[list[str]]) -> list[list[str]]:
        """Remove the failures that are not open, up to the first that is, and return them."""
        closed: list[list[str]] = []
        runs = [entry for entry in reported if entry[1]]
        if runs:
            is_open = self._open_check()
            for entry in runs:
                if is_open(entry[1]):
                    break
                reported.remove(entry)
                closed.append(entry)
        return closed

    def _open_check(self) -> Callable[[str], bool]:
        """Says by a run's key whether its failure is open, as all commands define it.

        What is acknowledged is read once, not for each run.
        """
        keep = self._keep
        if keep is None:
            return lambda run: True
        known = acknowledged(keep)

        def is_open(run: str) -> bool:
            record = keep.record(run) if run else None
            return record is None or any(only_open(keep, iter((record,)), known))

        return is_open

    def due(self, gather: timedelta) -> Iterator[Due]:
        """The messages to send now; ``gather`` is how long a notice waits for others."""
        for name, group in self._groups.items():
            with self._lock:
                if not group.digest.due(self._now(), gather):
                    continue
                group.digest.drop_closed(self._open_check())
                if not group.digest.waiting:
                    continue
                due = Due(name, group.digest.message(), tuple(group.digest.waiting))
            yield due

    def note_sent(self, due: Due) -> None:
        """Note that a message was sent."""
        now = self._now()
        with self._lock:
            group = self._groups[due.group]
            later = [notice for notice in group.digest.waiting if notice not in due.about]
            group.digest.sent(now)
            group.digest.waiting = later
            for notice in due.about:
                if notice.kind in ("failure", "silence"):
                    reported = group.open.setdefault(notice.config, [])
                    reported[:] = [entry for entry in reported if entry[0] != notice.subject]
                    reported.append([notice.subject, notice.run])
                    del reported[:-_REPORTED]

    def note_not_sent(self, due: Due) -> None:
        """Note that a message was refused: it is due after the pause, with all that came since."""
        with self._lock:
            self._groups[due.group].digest.last_sent = self._now()

    def save(self) -> None:
        """Keep what waits and what was sent; raises LedgerError or StorageError."""
        if self._keep is None:
            return
        with self._lock:
            data = {name: _group_data(group) for name, group in self._groups.items()}
        text = json.dumps(data, sort_keys=True)
        if text != self._kept:
            self._keep.set_state(self._state, text)
            self._kept = text

    def _groups_of(self, config: str) -> Sequence[Group]:
        if not config:
            return list(self._groups.values())
        name = self._group_of(config)
        return [self._groups[name]] if name in self._groups else []

    def _restore(self) -> None:
        self._kept = self._keep.state(self._state) if self._keep is not None else None
        kept = json.loads(self._kept or "{}")
        for name in kept.keys() & self._groups.keys():
            _fill_group(self._groups[name], kept[name])
        for name in kept.keys() - self._groups.keys():  # `notify:` was changed
            self._move(kept[name])

    def _move(self, data: Mapping[str, Any]) -> None:
        """What was kept for other recipients goes to those who the same configs report to now."""
        for notice in data["waiting"]:
            self.add(from_json(Notice, notice))
        for config, reported in data["open"].items():
            for group in self._groups_of(config):
                group.open.setdefault(config, []).extend(map(list, reported))


def _group_data(group: Group) -> dict[str, Any]:
    digest = group.digest
    return {
        "open": {config: reported for config, reported in group.open.items() if reported},
        "waiting": [to_json(notice) for notice in digest.waiting],
        "dropped": dict(digest.dropped),
        "last_sent": digest.last_sent.isoformat() if digest.last_sent else None,
    }


def _fill_group(group: Group, data: Mapping[str, Any]) -> None:
    group.open = {config: list(reported) for config, reported in data["open"].items()}
    group.digest.waiting = [from_json(Notice, notice) for notice in data["waiting"]]
    group.digest.dropped = Counter(data.get("dropped", {}))
    if data["last_sent"]:
        group.digest.last_sent = datetime.fromisoformat(data["last_sent"])
