"""What the pages read: a session and its ledger, and answers that are kept for a moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.day_summaries import Unwritten
from tidegate.runtime.jobs import OPEN, Job
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.protocols import Ledger
from tidegate.web.reader import ProductReader
from tidegate.workspace import session
from tidegate.workspace.jobs import jobs_of
from tidegate.workspace.overview import Attention, ConfigState, config_states, needs_attention
from tidegate.workspace.session import RunOptions, Session, TargetOptions
from tidegate.workspace.summary_refresh import SummaryRefresh

T = TypeVar("T")
logger = logging.getLogger(__name__)

_OVERVIEW_SECONDS = 2.0
_QUEUES_SECONDS = 20.0
_PLACE_SECONDS = 300.0
_WAIT = 0.15
_JOBS = 20


class Site:
    """The session of a dashboard. Safe to use from several threads; ``close`` it at the end.

    Raises:
        TidegateError: the config is not valid, or the target cannot be used.
    """

    def __init__(
        self,
        target: TargetOptions,
        *,
        read_only: bool = False,
        python: str | None = None,
        wait_for_all: bool = False,
        earlier: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.target = target
        self.read_only = read_only
        self.earlier = earlier.absolute() if earlier else None
        """A copy of the products from before a change, to compare with."""
        self._wait_for_all = wait_for_all
        self._run_options = RunOptions(python=python)
        self.now = now
        self._kept: dict[str, tuple[float, Any]] = {}
        self._kept_later: dict[str, tuple[float, Any]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._config_time = self._file_time()
        self._session = session.open_for_reading(target, self._run_options)
        self._context = self._session.ledger()
        self.ledger: Ledger = self._context.__enter__()
        """The ledger, open as long as the site is."""
        self._refresh = SummaryRefresh(self.ledger, self._session.reads_at_once)
        self.unwritten = Unwritten()
        """Summaries of days that the ledger does not take from this reader."""
        self._waiting_error: TidegateError | None = None
        self.reader = ProductReader(lambda: self.session)
        """Reads products, for pages about what is in them."""

    def close(self) -> None:
        """Close the ledger, and end the worker that reads products."""
        self.reader.close()
        self._context.__exit__(None, None, None)

    @property
    def title(self) -> str:
        """What this is a dashboard of."""
        target = self.target
        name = target.workspace.root.name
        return name if target.target == "local" else f"{name}, branch {target.branch} on AWS"

    @property
    def session(self) -> Session:
        """The session, with the config file as it is now; the last valid one if it has problems."""
        with self._lock:
            changed = self._file_time()
            if changed != self._config_time:
                self._config_time = changed
                try:
                    self._session = session.open_for_reading(self.target, self._run_options)
                except Exception as error:  # shown on the overview, until the file is corrected
                    self._config_problem = str(error)
                else:
                    self._config_problem = ""
            return self._session

    _config_problem = ""

    @property
    def manifest(self) -> Manifest:
        """The configs."""
        return self.session.manifest

    def _file_time(self) -> int:
        try:
            return self.target.workspace.config.stat().st_mtime_ns
        except OSError:
            return 0

    def kept(self, name: str, seconds: float, make: Callable[[], T]) -> T:
        """What ``make`` returns, made at most once in so many seconds; several readers share it."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            until, value = self._kept.get(name, (0.0, None))
            if time.monotonic() > until:
                value = make()
                now = time.monotonic()
                with self._lock:  # remove what is too old: names differ by the days asked for
                    self._kept = {n: kept for n, kept in self._kept.items() if kept[0] >= now}
                    self._kept[name] = (now + seconds, value)
            result: T = value
            return result

    def later(
        self,
        name: str,
        seconds: float,
        make: Callable[[], T],
        until: T,
        *,
        wait: float = _WAIT,
    ) -> T:
        """As ``kept``, but made in the background: returns ``until`` as long as nothing was made.

        While the value is made again, the last one is returned. A call waits at most ``wait``
        seconds for a new value; with ``wait_for_all`` it waits until the value is made.
        """
        with self._lock:
            begun, value = self._kept_later.get(name, (0.0, until))
            due = not begun or time.monotonic() - begun > seconds
            if due:
                self._kept_later[name] = (time.monotonic(), value)
        if due:

            def work() -> None:
                try:
                    made = make()
                except Exception as error:  # it is tried again when it is asked for again
                    logger.warning("%s: %s", name, error)
                    return
                with self._lock:
                    self._kept_later[name] = (time.monotonic(), made)

            thread = threading.Thread(target=work, name=f"tidegate-{name}", daemon=True)
            thread.start()
            thread.join(None if self._wait_for_all else wait)  # mostly, that is enough
        with self._lock:
            found: T = self._kept_later[name][1]
        return found

    def forget(self) -> None:
        """Make everything again: something was changed from here."""
        with self._lock:
            self._kept.clear()

    def states(self) -> list[ConfigState]:
        """How all configs are doing."""

        def make() -> list[ConfigState]:
            # On AWS each config's queue is asked with two requests.
            seconds = _QUEUES_SECONDS if self.target.target == "aws" else 0.0
            waiting = self.kept("waiting", seconds, self._read_waiting)
            return config_states(self.session, self._refresh, self.now(), waiting)

        return self.kept("states", _OVERVIEW_SECONDS, make)

    def _read_waiting(self) -> dict[str, int]:
        try:
            found = self.session.waiting()
        except StorageError as error:  # such as credentials that may not look at queues
            self._waiting_error = error
            return {}
        self._waiting_error = None
        return found

    def limits(self) -> list[str]:
        """What these pages show slowly or not at all, for lack of permissions; a sentence each."""
        slow = self._refresh.error or self.unwritten.error
        found = [("Pages take longer, because their summaries are not stored", slow)]
        found.append(("How many runs wait is not known", self._waiting_error))
        return [
            f"{text}: {error.what}; {error.next or error.why}" for text, error in found if error
        ]

    def jobs(self) -> list[Job]:
        """The jobs that are under way or paused; none where the target has no jobs."""
        return self.kept("jobs", _OVERVIEW_SECONDS, self._read_jobs)

    def _read_jobs(self) -> list[Job]:
        jobs = jobs_of(self.session)
        return [job for job in jobs.latest(_JOBS) if job.state in OPEN] if jobs else []

    def attention(self) -> list[Attention]:
        """What needs a person; what is wrong with the place is looked at in the background."""
        found = needs_attention(self.states(), self._place_problems())
        if self._config_problem:
            text = f"the config has problems; the last valid one is shown. {self._config_problem}"
            found.insert(0, Attention("place", text))
        return found

    def _place_problems(self) -> list[str]:
        nothing: list[str] = []
        return self.later("place", _PLACE_SECONDS, self._read_place, nothing)

    def _read_place(self) -> list[str]:
        try:
            return self.session.place_problems()
        except Exception as error:
            return [f"the workspace could not be looked at: {error}"]
