"""What readers ask for with a button: carried out in turn, and on record with who and when."""

from __future__ import annotations

import json
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from tidegate.errors import LedgerError, StorageError, TidegateError, UsageError
from tidegate.runtime.open_failures import acknowledge
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import check_aware, from_json, to_json
from tidegate.runtime.runs import Run, RunRecord
from tidegate.runtime.scope import Only, Scope
from tidegate.runtime.wording import quantity
from tidegate.web.site import Site
from tidegate.workspace import rerun, session
from tidegate.workspace.jobs import JobRequest, LocalJobs, jobs_of
from tidegate.workspace.session import Job, RunOptions, Session

logger = logging.getLogger(__name__)

_STATE = "web actions"
_KEPT = 500
_LONGEST_NAME = 80

What = Literal["retry", "reprocess", "acknowledge", "pause", "resume", "cancel"]
ActionState = Literal["requested", "running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Action:
    """Something that a reader asked for."""

    id: str
    """Random."""
    what: What
    """What it is."""
    about: str
    """The key of the run, the config with the days, or the id of the job."""
    who: str
    """Who asked: the name that the reader gave, and the address."""
    when: datetime
    """When."""
    state: ActionState = "requested"
    """How far it is. stopped: the dashboard was stopped before it had ended."""
    result: str = ""
    """What came of it, in words."""

    def __post_init__(self) -> None:
        check_aware(self)


Choose = Callable[[Session], Sequence[Run]]


@dataclass(frozen=True)
class _Work:
    """How an action is carried out."""

    choose: Choose
    """Chooses the runs, where there are no jobs."""
    request: JobRequest | None = None
    """The job to make, where there are jobs."""
    job: str = ""
    """The id of the job to go on with."""


def read_actions(ledger: Ledger) -> list[Action]:
    """What was asked for, the oldest first; the latest 500."""
    return _from_text(ledger.state(_STATE))


def _from_text(text: str | None) -> list[Action]:
    return [from_json(Action, data) for data in json.loads(text or "[]")]


def _to_text(actions: Sequence[Action]) -> str:
    return json.dumps([to_json(action) for action in actions])


class Actions:
    """Carries out what readers ask for, one after the other, on a thread of its own."""

    def __init__(self, site: Site, *, python: str | None = None, workers: int = 1) -> None:
        self._site = site
        self._python = python
        self._workers = workers
        self._queue: queue.Queue[tuple[Action, _Work] | None] = queue.Queue()
        self._job: Job | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def at_work(self) -> bool:
        """Whether runs are being carried out."""
        return self._job is not None

    def start(self) -> None:
        """Start the thread; what was left by an earlier dashboard is marked as stopped."""
        if self._site.read_only:
            return
        try:
            if any(action != _stopped(action) for action in read_actions(self._site.ledger)):
                self._site.ledger.change_state(
                    _STATE, lambda text: _to_text([_stopped(one) for one in _from_text(text)])
                )
        except LedgerError as error:  # a reader who may only read sees the pages all the same
            logger.warning("actions that were left could not be marked: %s", error)
        self._thread = threading.Thread(target=self._work, name="tidegate-actions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the runs that are at work."""
        self._stopping = True
        if self._job is not None:
            self._job.stop()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(60.0)

    # What can be asked for.

    def retry(self, key: str, who: str) -> Action:
        """Run a run again; raises UsageError when there is none, or its config is gone."""
        record = self._record(key)
        rerun.named_config(self._site.manifest, record.run.config)

        def choose(opened: Session) -> list[Run]:
            with opened.ledger() as ledger:
                return rerun.to_retry(opened.manifest, ledger, [record.key], self._site.now())

        return self._put("retry", record.key, who, _Work(choose))

    def acknowledge(self, key: str, who: str) -> Action:
        """Note that a failure is known; raises UsageError when the run has not failed."""
        record = self._record(key)
        if record.state != "failed":
            raise UsageError("the run has not failed", next="only failures can be acknowledged")
        now = self._site.now()
        acknowledge(self._site.ledger, record.key, who, now)
        self._site.forget()
        return self._note(
            Action(secrets.token_hex(6), "acknowledge", record.key, who, now, "done", "noted")
        )

    def reprocess(
        self,
        config: str,
        begin: datetime | None,
        end: datetime | None,
        only: Only | None,
        who: str,
    ) -> Action:
        """Run a part of a config again; raises UsageError when there is no such config."""
        rerun.named_config(self._site.manifest, config)
        if begin is not None and end is not None and begin >= end:
            raise UsageError("the last day is before the first", next="swap them")

        def choose(opened: Session) -> list[Run]:
            found = rerun.named_config(opened.manifest, config)
            scope = Scope(found, begin, end, only)
            with opened.ledger() as ledger:
                return rerun.to_reprocess(
                    scope,
                    ledger,
                    opened.manifest.release(found),
                    lambda: opened.raw_files(found),
                    self._site.now(),
                )

        days = f"{begin:%Y-%m-%d}" if begin else "the first day"
        days += f" to before {end:%Y-%m-%d}" if end else " on"
        more = f", only {only}" if only else ""
        request = JobRequest((config,), begin, end, only, who=who)
        return self._put("reprocess", f"{config}, {days}{more}", who, _Work(choose, request))

    def change_job(self, what: Literal["pause", "resume", "cancel"], id: str, who: str) -> Action:
        """Pause, resume or cancel a job; raises UsageError when there is none, or it has ended."""
        jobs = jobs_of(self._site.session)
        if jobs is None:
            raise UsageError("there are no jobs here", next="they are on local workspaces only")
        job = jobs.find(id)
        if what == "resume":
            jobs.resume(job.id)
            return self._put("resume", f"job {job.id}", who, _Work(lambda opened: (), job=job.id))
        changed = jobs.pause(job.id) if what == "pause" else jobs.cancel(job.id)
        self._site.forget()
        action = Action(secrets.token_hex(6), what, f"job {job.id}", who, self._site.now())
        return self._note(replace(action, state="done", result=changed.state))

    # Carrying out.

    def _record(self, key: str) -> RunRecord:
        record = self._site.ledger.record(key)
        if record is None:
            raise UsageError(f"there is no run {key[:12]}", next="the list of runs has them all")
        return record

    def _put(self, what: What, about: str, who: str, work: _Work) -> Action:
        action = Action(secrets.token_hex(6), what, about, who, self._site.now())
        self._note(action)
        self._queue.put((action, work))
        return action

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            action, work = item
            try:
                self._note(_stopped(action) if self._stopping else self._result(action, work))
            except (LedgerError, StorageError):  # the next action may work
                logger.exception("what came of an action could not be noted")
            self._site.forget()

    def _result(self, action: Action, work: _Work) -> Action:
        """Carry out an action; what came of it."""
        try:
            return self._carry_out(action, work)
        except TidegateError as error:
            return replace(action, state="failed", result=str(error))
        except Exception as error:
            logger.exception("an action failed")
            text = f"Tidegate has failed, and not your data or your pipelines: {error!r}"
            return replace(action, state="failed", result=text)

    def _carry_out(self, action: Action, work: _Work) -> Action:
        options = RunOptions(python=self._python, workers=self._workers, wait=0.0)
        opened = session.open_session(self._site.target, options)
        jobs = jobs_of(opened)
        if jobs is not None and (work.request is not None or work.job):
            return self._carry_out_job(action, jobs, work)
        runs = work.choose(opened)
        self._note(replace(action, state="running", result=quantity(len(runs), "run")))
        outcomes: list[str] = []

        def ended(record: RunRecord) -> None:
            if record.state != "retrying":
                outcomes.append(record.state)
                self._site.forget()

        with opened.carrying_out(runs, ended, lambda text: None) as job:
            self._job = job
            job.run()
            self._job = None
        failed = outcomes.count("failed")
        text = f"{quantity(len(runs), 'run')}"
        text += f", {failed} failed" if failed else ""
        if len(outcomes) < len(runs):
            text += f", {len(runs) - len(outcomes)} requested; the list of runs shows them"
        return replace(action, state="stopped" if self._stopping else "done", result=text)

    def _carry_out_job(self, action: Action, jobs: LocalJobs, work: _Work) -> Action:
        """Make the job, or go on with it: the service works on it if one runs, else we do."""
        id = work.job
        if work.request is not None:
            job = jobs.new_job(work.request)
            job = replace(job, expected=jobs.estimate(job, lambda count: None).expected)
            jobs.start(job)
            id = job.id
        self._site.forget()
        if jobs.at_work():
            return replace(action, state="done", result=f"job {id}: the service carries it out")
        self._note(replace(action, state="running", result=f"job {id}"))
        with jobs.carrying_out(
            id, lambda job: None, lambda record: self._site.forget(), lambda text: None
        ) as carrying:
            self._job = carrying
            carrying.run()
            self._job = None
        job = jobs.find(id)
        text = f"job {id} is {job.state}: {job.counts.ended} of {quantity(job.total, 'run')}"
        text += f", {job.counts.failures} failed" if job.counts.failures else ""
        return replace(action, state="stopped" if job.state == "running" else "done", result=text)

    # The record.

    def _note(self, action: Action) -> Action:
        def add(text: str | None) -> str:
            others = [other for other in _from_text(text) if other.id != action.id]
            return _to_text([*others, action][-_KEPT:])

        self._site.ledger.change_state(_STATE, add)
        return action


def _stopped(action: Action) -> Action:
    if action.state not in ("requested", "running"):
        return action
    return replace(action, state="stopped", result="the dashboard was stopped; ask again")


def reader_name(given: str, address: str) -> str:
    """Who asked, for the record: the name that was given, with the address.

    Raises:
        UsageError: no name was given.
    """
    name = " ".join(given.split())[:_LONGEST_NAME]
    if not name:
        raise UsageError("a name is missing", next="enter your name: it is recorded")
    return f"{name} ({address})" if address else name
