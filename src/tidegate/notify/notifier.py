"""Turns the results of runs into messages, by recipient; unsent notices are kept over restarts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tidegate.config import NotifySettings, PipelinesConfig
from tidegate.config.notices import notice_settings, settings_in_use
from tidegate.errors import TidegateError
from tidegate.notify.sending import load_channels
from tidegate.runtime.notices.digest import GATHER, Message
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.notices.outbox import Group, Outbox, new_group
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import RunRecord
from tidegate.workspace.loading import LoadedWorkspace

logger = logging.getLogger(__name__)

_TICK = 5.0

Send = Callable[[Message], tuple[str, ...]]
"""Sends a message; returns what did not take it."""
Say = Callable[[str], None]


class Notifier(Outbox):
    """Takes records and notices of all threads; sends on a thread of its own."""

    def __init__(
        self,
        groups: Mapping[str, tuple[Group, Send]],
        group_of: Callable[[str], str | None],
        *,
        keep: Ledger | None = None,
        say: Say = lambda text: None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        super().__init__(
            {name: group for name, (group, _) in groups.items()}, group_of, now, keep=keep
        )
        self._send = {name: send for name, (_, send) in groups.items()}
        self._say = say
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        for due in self.due(gather):
            try:
                failed = self._send[due.group](due.message)
            except Exception as error:  # a plugin of Apprise's may raise anything
                logger.warning("notifications: %s", type(error).__name__)
                failed = (due.group,)
            if failed:
                self._say(f"a notification could not be sent to {', '.join(failed)}")
                self.note_not_sent(due)
            else:
                self.note_sent(due)
        try:
            self.save()
        except Exception as error:
            logger.warning("the state of notifications was not kept: %s", error)

    def _work(self) -> None:
        while not self._stop.wait(_TICK):
            self.send_due()


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
    groups: dict[str, tuple[Group, Send]] = {}
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


def _group(settings: NotifySettings, folder: Path, place: str, link: str) -> tuple[Group, Send]:
    channels = load_channels(settings.to, folder)
    return new_group(notice_settings(settings), place, link), channels.send
