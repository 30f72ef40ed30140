"""Turns the results of runs into messages, by recipient; unsent notices are kept over restarts."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tidegate.config import NotifySettings, PipelinesConfig
from tidegate.config.values import quiet_hours
from tidegate.errors import TidegateError
from tidegate.notify.digest import GATHER, Digest, Message
from tidegate.notify.notice import KINDS, Notice, NoticeKind
from tidegate.notify.sending import load_channels
from tidegate.runtime.open_failures import acknowledged, only_open
from tidegate.runtime.product_checks import empty_warnings
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.listener import Problem
from tidegate.workspace.loading import LoadedWorkspace

logger = logging.getLogger(__name__)

EVERY = 3600
"""The shortest time between two messages to the same recipients, s, unless the config says."""
_TICK = 5.0
_STATE = "notify"

Send = Callable[[Message], tuple[str, ...]]
Say = Callable[[str], None]


@dataclass
class Group:
    """Recipients that the same configs report to."""

    digest: Digest
    """What waits for them."""
    send: Send
    """Sends a message; returns what did not take it."""
    kinds: frozenset[str]
    """What they want to know."""
    open: dict[str, list[list[str]]] = field(default_factory=dict)
    """For each config, what was sent to them: the subject, and the key of the failed run or ""."""


class Notifier:
    """Takes records and notices of all threads; sends on a thread of its own."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        group_of: Callable[[str], str | None],
        *,
        keep: Ledger | None = None,
        say: Say = lambda text: None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._groups = dict(groups)
        self._group_of = group_of
        self._keep = keep
        self._say = say
        self._now = now
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._kept: str | None = None
        self._restore()

    def record(self, record: RunRecord) -> None:
        """A run has ended: a failure is a notice; so is success after a failure that was sent."""
        config, subject = record.run.config, ", ".join(record.run.subjects)
        if record.state == "failed" and record.failure is not None:
            failure = record.failure
            text = f"{record.run.title} failed: {failure.message}"
            if failure.next:
                text += f" — {failure.next}"
            self.add(Notice("failure", config, text, self._now(), subject, record.key))
        elif record.state in ("succeeded", "empty"):
            self.resolved(config, subject, f"{record.run.title} works again")
            for text in empty_warnings(record.products):
                self.add(Notice("empty", config, text, self._now(), subject))

    def add(self, notice: Notice) -> None:
        """Something that a person should know; sent to recipients who want this kind."""
        with self._lock:
            for group in self._groups_of(notice.config):
                if notice.kind in group.kinds:
                    group.digest.add(notice)

    def resolved(self, config: str, subject: str, text: str) -> None:
        """What failed, or was stale, works again; sent to those who had a message about it."""
        with self._lock:
            for group in self._groups_of(config):
                if group.digest.forget(config, subject):
                    continue
                reported = group.open.get(config, [])
                if not reported:
                    continue
                reported[:] = [entry for entry in reported if entry[0] != subject]
                if reported:
                    is_open = self._open_check()
                    while reported and not is_open(reported[0][1]):
                        reported.pop(0)
                if not reported and "recovery" in group.kinds:
                    group.digest.add(Notice("recovery", config, text, self._now(), subject))

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

    def problem(self, problem: Problem) -> None:
        """The service has found a problem, or one is over."""
        subject = problem.kind
        if problem.over:
            self.resolved(problem.config, subject, problem.text)
        else:
            self.add(Notice(problem.kind, problem.config, problem.text, self._now(), subject))

    def start(self) -> None:
        """Send from now on, on a thread of its own: a mail server that hangs holds up no run."""
        self._thread = threading.Thread(target=self._work, name="tidegate-notify", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what may be sent, then nothing more; the rest is kept for the next start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30.0)
        self.send_due(timedelta(0))

    def send_due(self, gather: timedelta = GATHER) -> None:
        """Send all messages that are due; one that cannot be sent is tried again later."""
        for name, group in self._groups.items():
            with self._lock:
                if not group.digest.due(self._now(), gather):
                    continue
                group.digest.drop_closed(self._open_check())
                if not group.digest.waiting:
                    continue
                message, about = group.digest.message(), list(group.digest.waiting)
            try:
                failed = group.send(message)
            except Exception as error:  # a plugin of Apprise's may raise anything
                logger.warning("notifications: %s", type(error).__name__)
                failed = (name,)
            if failed:
                self._say(f"a notification could not be sent to {', '.join(failed)}")
            with self._lock:
                self._note_sent(group, about, everywhere=not failed)
        self._save()

    def _note_sent(self, group: Group, about: Sequence[Notice], *, everywhere: bool) -> None:
        now = self._now()
        if not everywhere:
            # Tried again after the pause, with all that has come since.
            group.digest.last_sent = now
            return
        later = [notice for notice in group.digest.waiting if notice not in about]
        group.digest.sent(now)
        group.digest.waiting = later
        for notice in about:
            if notice.kind in ("failure", "silence"):
                reported = group.open.setdefault(notice.config, [])
                reported[:] = [entry for entry in reported if entry[0] != notice.subject]
                reported.append([notice.subject, notice.run])

    def _work(self) -> None:
        while not self._stop.wait(_TICK):
            self.send_due()

    def _groups_of(self, config: str) -> list[Group]:
        if not config:
            return list(self._groups.values())
        name = self._group_of(config)
        return [self._groups[name]] if name in self._groups else []

    # What was sent and what waits survives a restart.

    def _save(self) -> None:
        if self._keep is None:
            return
        with self._lock:
            data = {name: _group_data(group) for name, group in self._groups.items()}
        text = json.dumps(data, sort_keys=True)
        try:
            if text != self._kept:
                self._keep.set_state(_STATE, text)
                self._kept = text
        except Exception as error:
            logger.warning("the state of notifications was not kept: %s", error)

    def _restore(self) -> None:
        text = self._keep.state(_STATE) if self._keep is not None else None
        kept = json.loads(text or "{}")
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
        "open": group.open,
        "waiting": [to_json(notice) for notice in digest.waiting],
        "last_sent": digest.last_sent.isoformat() if digest.last_sent else None,
    }


def _fill_group(group: Group, data: Mapping[str, Any]) -> None:
    group.open = {config: list(reported) for config, reported in data["open"].items()}
    group.digest.waiting = [from_json(Notice, notice) for notice in data["waiting"]]
    if data["last_sent"]:
        group.digest.last_sent = datetime.fromisoformat(data["last_sent"])


def notifier_of(
    model: PipelinesConfig,
    folder: Path,
    *,
    place: str,
    link: str = "",
    keep: Ledger | None = None,
    say: Say = lambda text: None,
) -> Notifier | None:
    """The notifier that a config asks for; None when it has no ``notify:``.

    Raises:
        ConfigurationError: an address is missing or not known.
        UsageError: Apprise is not installed.
    """
    groups: dict[str, Group] = {}
    names: dict[str, str] = {}
    for config, settings in settings_in_use(model).items():
        names[config] = settings.model_dump_json()
        if names[config] not in groups:
            groups[names[config]] = _group(settings, folder, place, link)
    if not groups:
        return None
    return Notifier(groups, names.get, keep=keep, say=say)


class Notifications:
    """The notifier of a workspace while it is entered; another one when ``notify:`` has changed.

    Nothing is sent as long as the config has no ``notify:``.

    Raises:
        ConfigurationError: an address is missing or not known.
        UsageError: Apprise is not installed.
    """

    def __init__(self, loaded: LoadedWorkspace, say: Say) -> None:
        self._loaded = loaded
        self._say = say
        self._lock = threading.Lock()
        self._ledger = ExitStack()
        self._keep: Ledger | None = None
        self._notifier: Notifier | None = None

    def __enter__(self) -> Notifications:
        self._notifier = self._started()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
        self._ledger.close()

    def record(self, record: RunRecord) -> None:
        """See ``Notifier.record``."""
        with self._lock:
            if self._notifier is not None:
                self._notifier.record(record)

    def problem(self, problem: Problem) -> None:
        """See ``Notifier.problem``."""
        with self._lock:
            if self._notifier is not None:
                self._notifier.problem(problem)

    def use(self, loaded: LoadedWorkspace) -> None:
        """Use the settings of a config that was read again; if they are wrong, the old ones."""
        before, self._loaded = self._loaded, loaded
        if settings_in_use(before.config.require()) == settings_in_use(loaded.config.require()):
            return
        try:
            self._new()
        except TidegateError as error:
            self._loaded = before
            self._say(f"`notify:` has changed, and cannot be used: {error}")
            return
        with self._lock:
            self._close()  # it keeps what waits, and the next one finds that
            self._notifier = self._started()
        self._say("`notify:` has changed, and is used from now on")

    def _started(self) -> Notifier | None:
        notifier = self._new()
        if notifier is not None:
            notifier.start()
        return notifier

    def _new(self) -> Notifier | None:
        model, root = self._loaded.config.require(), self._loaded.workspace.root
        if not settings_in_use(model):
            return None
        if self._keep is None:
            self._keep = self._ledger.enter_context(self._loaded.ledger())
        link = f"what failed: tidegate runs --failed -w {root}"
        return notifier_of(model, root, place=root.name, link=link, keep=self._keep, say=self._say)

    def _close(self) -> None:
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None


def settings_in_use(model: PipelinesConfig) -> dict[str, NotifySettings]:
    """Each config's ``notify:``: its own, else its pipeline's, else the one at the top."""
    found: dict[str, NotifySettings] = {}
    for pipeline in model.pipelines:
        for name, entry in pipeline.configs.items():
            settings = entry.notify or pipeline.notify or model.notify
            if settings is not None:
                found[f"{pipeline.name}/{name}"] = settings
    return found


def _group(settings: NotifySettings, folder: Path, place: str, link: str) -> Group:
    channels = load_channels(settings.to, folder)
    digest = Digest(
        place,
        timedelta(seconds=settings.at_most_every or EVERY),
        quiet_hours(settings.quiet) if settings.quiet else None,
        link,
    )
    kinds: Sequence[NoticeKind] = settings.on or KINDS
    return Group(digest, channels.send, frozenset(kinds))
