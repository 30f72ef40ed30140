"""Jobs in a workspace: what one would take, starting it, and following it until it ends."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice

from tidegate.errors import UsageError
from tidegate.runtime.jobs import Job, stages_of
from tidegate.runtime.runs import Run
from tidegate.runtime.scope import Only, Scope
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.job_queue import JobQueue
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.sightings import Sightings
from tidegate.workspace import commands
from tidegate.workspace.executor_choice import (
    NOTHING_SAID,
    ExecutorArguments,
    choose_executor,
    from_record,
    to_record,
)
from tidegate.workspace.job_estimate import JobEstimate, estimate_job
from tidegate.workspace.loading import LoadedWorkspace
from tidegate.workspace.local_session import LocalSession
from tidegate.workspace.session import Ended, Say, Session

_LOOK = 0.5


@dataclass(frozen=True)
class JobRequest:
    """What a job is asked to do."""

    configs: tuple[str, ...]
    """The ids of its configs."""
    begin: datetime | None = None
    """Only data from this time on."""
    end: datetime | None = None
    """Only data before this time."""
    only: Only | None = None
    """Only what is missing, stale or failed."""
    with_vaps: bool = False
    """Whether the VAPs that read these data are made again too."""
    limit: int | None = None
    """How many of its runs go on at once, at most."""
    who: str = ""
    """Who asks."""


class LocalJobs:
    """The jobs of a workspace."""

    def __init__(self, session: LocalSession) -> None:
        self._session = session
        self._loaded: LoadedWorkspace = session.loaded

    # --- before it starts -------------------------------------------------------------------

    def new_job(self, request: JobRequest) -> Job:
        """A job as it would begin; it is not on record yet."""
        with self._session.ledger() as ledger:
            stages, vaps = stages_of(
                self._session.manifest, ledger, request.configs, with_vaps=request.with_vaps
            )
        return Job(
            secrets.token_hex(3),
            _now(),
            stages,
            request.begin,
            request.end,
            request.only,
            request.limit,
            request.who,
            to_record(self._session.run_options.executor),
            vaps,
        )

    def estimate(self, job: Job, counted: Callable[[int], None]) -> JobEstimate:
        """What a job takes, from the runs on record; ``counted`` gets how many runs were found."""
        scopes = [self._scope(job, id) for id in job.configs]
        with self._session.ledger() as ledger:
            planner = self._planner(ledger)
            output = self._loaded.workspace.output
            return estimate_job(scopes, job.asked, ledger, planner, output, counted)

    def runs(self, job: Job) -> Iterator[Run]:
        """All runs of a job that has not begun, one at a time."""
        with self._session.ledger() as ledger:
            for id in job.configs:
                for batch in self._planner(ledger).batches(self._scope(job, id), job.asked):
                    yield from batch.runs

    def start(self, job: Job) -> None:
        """Put a job on record: a service that runs goes to work on it, or the next one."""
        with self._session.ledger() as ledger:
            ledger.jobs.add(job)

    def _scope(self, job: Job, id: str) -> Scope:
        return Scope(self._session.manifest.config(id), job.begin, job.end, job.only)

    def _planner(self, ledger: SqliteLedger) -> Planner:
        inputs = FolderInputs(self._loaded.workspace.input)
        sightings = Sightings(
            inputs, self._loaded.manifest.configs, ledger, self._session.run_options.say
        )
        return Planner(
            self._loaded.manifest, ledger, inputs, sightings, self._loaded.workspace.output
        )

    # --- on record --------------------------------------------------------------------------

    def latest(self, limit: int) -> list[Job]:
        """Open jobs, then the others; of each, those that were asked for last come first."""
        with self._session.ledger() as ledger:
            open_jobs = ledger.jobs.open()[::-1]
            known = {job.id for job in open_jobs}
            others = (job for job in ledger.jobs.latest(limit + len(known)) if job.id not in known)
            return [*open_jobs, *islice(others, max(0, limit - len(open_jobs)))]

    def find(self, prefix: str) -> Job:
        """The one job with an id that begins so; raises UsageError if there is none, or several."""
        with self._session.ledger() as ledger:
            named = re.fullmatch(r"[0-9a-f]+", prefix)
            found = ledger.jobs.beginning_with(prefix) if named else []
        if len(found) != 1:
            what = "there is no job" if not found else "the ids of several jobs begin with"
            raise UsageError(f"{what} {prefix}", next="`tidegate jobs` lists them")
        return found[0]

    def pause(self, id: str) -> Job:
        """Start no more runs of a job; those at work end."""
        with self._session.ledger() as ledger:
            return _changed(JobQueue(ledger).pause(id, _now()), "paused")

    def resume(self, id: str) -> Job:
        """Let a job go on; what the command line says about the executor is kept with it."""
        said = to_record(self._session.run_options.executor)
        with self._session.ledger() as ledger:
            job = _changed(JobQueue(ledger).resume(id, _now()), "running")
            if said:
                ledger.jobs.update(id, lambda job: replace(job, executor=said))
        return replace(job, executor=said or job.executor)

    def cancel(self, id: str) -> Job:
        """End a job early; those of its runs that are at work end."""
        with self._session.ledger() as ledger:
            return _changed(JobQueue(ledger).cancel(id, _now()), "cancelled")

    def at_once(self) -> int:
        """How many runs go on at once where this process carries them out."""
        options = self._session.run_options
        return choose_executor(self._loaded, options.executor, options.workers, options.say).most

    def names_executor(self) -> bool:
        """Whether the command line says which executor to use."""
        return self._session.run_options.executor != NOTHING_SAID

    def at_work(self) -> bool:
        """Whether a service, or a command that runs something, is at work in the workspace."""
        return self._loaded.workspace.busy()

    def _executor(self, id: str) -> ExecutorArguments:
        """What this command line says about the executor, or else the one that began the job."""
        said = self._session.run_options.executor
        if said != NOTHING_SAID:
            return said
        with self._session.ledger() as ledger:
            job = ledger.jobs.get(id)
        return from_record(job.executor) if job is not None else said

    # --- until it ends ----------------------------------------------------------------------

    @contextmanager
    def carrying_out(
        self, id: str, seen: Callable[[Job], None], ended: Ended, say: Say
    ) -> Iterator[JobWork]:
        """Carry a job out, or follow it where a service does; ``seen`` gets it twice a second."""
        if self.at_work():
            yield JobWork(self._session, id, seen, say, None)
            return
        listener = Listener(record=ended, message=say)
        workers = self._session.run_options.workers
        executor = self._executor(id)
        with commands.service(self._loaded, workers, listener, executor=executor) as service:
            stop = service.stop
            work = JobWork(self._session, id, seen, say, lambda: service.carry_out_job(id))
            work.stop_service = stop
            yield work


class JobWork:
    """A job that is being carried out: ``session.Job``."""

    def __init__(
        self,
        session: LocalSession,
        id: str,
        seen: Callable[[Job], None],
        say: Say,
        carry_out: Callable[[], None] | None,
    ) -> None:
        """``carry_out`` does the work in this process; None: a service does it."""
        self._session = session
        self._id = id
        self._seen = seen
        self._say = say
        self._carry_out = carry_out
        self._stopped = threading.Event()
        self.by_service = carry_out is None
        """Whether a service carries it out."""
        self.stop_service: Callable[[], None] = lambda: None
        """Stops the work in this process."""

    def run(self) -> None:
        """Return when the job has ended or was paused, or after ``stop``."""
        if self._carry_out is None:
            self._follow()
            return
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), name="tidegate-job-watch")
        watcher.start()
        try:
            self._carry_out()
        finally:
            over.set()
            watcher.join()

    def stop(self) -> None:
        """Stop, or stop waiting; from any thread."""
        self._stopped.set()
        self.stop_service()

    def _watch(self, over: threading.Event) -> None:
        with self._session.ledger() as ledger:
            while not over.wait(_LOOK):
                self._look(ledger)

    def _follow(self) -> None:
        with self._session.ledger() as ledger:
            while not self._stopped.wait(_LOOK):
                job = self._look(ledger)
                if job is None or job.state != "running":
                    return
                if not self._session.loaded.workspace.busy():
                    self._say("the service has ended; the next one goes on with the job")
                    return

    def _look(self, ledger: SqliteLedger) -> Job | None:
        job = ledger.jobs.get(self._id)
        if job is not None:
            self._seen(job)
        return job


def jobs_of(session: Session) -> LocalJobs | None:
    """The jobs of a session's workspace; None where its target has none."""
    return LocalJobs(session) if isinstance(session, LocalSession) else None


def _changed(job: Job | None, wanted: str) -> Job:
    if job is None:
        raise UsageError("the job is gone", next="`tidegate jobs` lists them")
    if job.state != wanted:
        raise UsageError(
            f"the job {job.id} is {job.state}",
            next="only a job that is running or paused can be changed; ask for a new one",
        )
    return job


def _now() -> datetime:
    return datetime.now(timezone.utc)


def named(names: Sequence[str], ids: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """The ids of all configs that are named, each once."""
    return tuple(dict.fromkeys(id for name in names for id in ids(name)))
