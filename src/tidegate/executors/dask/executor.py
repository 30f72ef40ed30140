"""Runs on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tidegate import __version__
from tidegate.errors import (
    ClusterError,
    NodeLost,
    PythonEnvironmentError,
    StorageError,
    TidegateError,
    WorkerLost,
)
from tidegate.executors.dask.clusters import DaskCluster
from tidegate.executors.dask.code_hash import code_hash
from tidegate.executors.dask.messages import (
    Expected,
    Refused,
    Request,
    read_answer,
    request_text,
)
from tidegate.executors.dask.placement import REFUSED_FOR, WorkerTable, margin
from tidegate.executors.dask.remote import SAME_CODE_WITHIN, VISIBLE_WITHIN
from tidegate.executors.options import ExecutorOptions, Say
from tidegate.runtime.process import START
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.publish import STORE
from tidegate.runtime.task import Limits, Outcome, Task

logger = logging.getLogger(__name__)

LATE = START + SAME_CODE_WITHIN + VISIBLE_WITHIN + 60.0
"""A worker that has not answered so long after a run's timeout hangs, s."""
NO_OTHER_WORKER = 20.0
"""How long to wait for another worker when all that are there cannot carry out runs, s."""
_LOOK = 1.0
PRODUCTS_WITHIN = 30.0
"""How long to wait for products that another machine has written, s."""
_VERSIONS = """\
import json, platform, importlib.metadata as m
print(json.dumps([platform.python_version(), m.version("tsdat")]))
"""


@dataclass(eq=False)
class _Job:
    """A run that waits for a worker, or is with one."""

    task: Task
    limits: Limits
    ends: SimpleQueue[_End] = field(default_factory=SimpleQueue)
    """How its attempts have ended; read by the thread that waits for the run."""


@dataclass(eq=False)
class _Attempt:
    """A run that is with a worker."""

    job: _Job
    address: str
    permit: Path
    """See ``Request.permit``."""
    cancel: Callable[[], object] = lambda: None
    """Makes Dask forget the run."""


class _End(NamedTuple):
    attempt: _Attempt | None
    """None if the run was with no worker."""
    answer: str | BaseException
    """The worker's, or why there is none."""


class DaskExecutor:
    """Runs on a Dask cluster; see ``Executor``.

    The cluster is the caller's, and stays open. A thread looks once a second which workers there
    are: a run whose worker is gone is lost, and ``perform`` says so.
    """

    def __init__(self, cluster: DaskCluster, options: ExecutorOptions, *, say: Say) -> None:
        self._cluster = cluster
        self._options = options
        self._say = say
        self._table = WorkerTable(cluster.maximum)
        self._waiting: deque[_Job] = deque()
        self._attempts: set[_Attempt] = set()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._failure: TidegateError | None = None
        self._refused_since: float | None = None
        self._refusals: set[str] = set()
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        self._expected: Expected | None = None
        self._last_refusal: TidegateError = ClusterError("no worker can be used")

    @property
    def slots(self) -> int:
        """How many runs there can be at once, with those that are staged ahead."""
        return self._cluster.maximum + margin(self._cluster.maximum)

    @property
    def capacity(self) -> int:
        """How many runs there should be at once now."""
        with self._lock:
            places = self._table.places(time.monotonic())
        return places + margin(places)

    def expect(self, runs: int) -> None:
        """Let the cluster grow or shrink for so many runs."""
        self._cluster.expect(runs)

    def start(self) -> None:
        """Find out what workers must have, and begin to look for them."""
        options = self._options
        python, tsdat = _versions(options)
        self._expected = Expected(
            tidegate=__version__,
            pipelines_python=python,
            tsdat=tsdat,
            python=options.python,
            repository=str(options.repository),
            code=code_hash(options.repository),
            runs_per_worker=options.runs_per_worker,
            executor=uuid.uuid4().hex,
        )
        self._cluster.find_idle = self._idle
        self._watcher = threading.Thread(target=self._watch, name="tidegate-dask", daemon=True)
        self._watcher.start()

    def perform(self, task: Task, limits: Limits) -> Outcome:
        """Give a task to a Dask worker and wait for the outcome; see ``Executor.perform``.

        Raises:
            ClusterError: none of the cluster's workers can carry out runs.
        """
        job = _Job(task, limits)
        with self._lock:
            if self._stopped.is_set():
                raise Interrupted
            if self._failure is not None:
                raise self._failure
            self._waiting.append(job)
        self._assign()
        outcome = None
        while outcome is None:
            outcome = self._outcome(job.ends.get())
        wait_for_products(outcome, Path(task.work) / STORE)
        return outcome

    def interrupt(self) -> None:
        """Stop what is running now; each ``perform`` raises Interrupted."""
        with self._lock:
            self._stopped.set()
            jobs, attempts = [*self._waiting], [*self._attempts]
            self._waiting.clear()
        for attempt in attempts:
            attempt.job.ends.put(_End(attempt, Interrupted()))
            self._withdraw(attempt)
        for job in jobs:
            job.ends.put(_End(None, Interrupted()))

    def close(self) -> None:
        """Interrupt, and look for workers no more. The cluster stays open."""
        self.interrupt()
        if self._watcher is not None:
            self._watcher.join(2 * _LOOK)

    # --- placing runs -----------------------------------------------------------------------

    def _assign(self) -> None:
        """Give runs that wait to workers that are free."""
        while (attempt := self._next_attempt()) is not None:
            self._submit(attempt)
            if self._stopped.is_set() or attempt not in self._attempts:
                self._withdraw(attempt)  # it was ended before there was anything to withdraw

    def _next_attempt(self) -> _Attempt | None:
        with self._lock:
            if not self._waiting or self._stopped.is_set():
                return None
            address = self._table.take(time.monotonic())
            if address is None:
                return None
            job = self._waiting.popleft()
            permit = Path(job.task.work) / f"begun-{next(self._numbers)}"
            attempt = _Attempt(job, address, permit)
            self._attempts.add(attempt)
            return attempt

    def _submit(self, attempt: _Attempt) -> None:
        assert self._expected is not None
        task, limits = attempt.job.task, attempt.job.limits
        text = request_text(Request(task, limits, self._expected, str(attempt.permit)))

        def ended(answer: str | BaseException) -> None:
            attempt.job.ends.put(_End(attempt, answer))

        attempt.cancel = self._cluster.submit(
            text,
            name=f"{task.config.id}-{task.run.key[:12]}",
            address=attempt.address,
            within=limits.timeout + LATE,
            ended=ended,
        )

    def _outcome(self, end: _End) -> Outcome | None:
        """What came of a run that a worker has answered, or that Dask has given up.

        None if it goes on: it is for another worker. Raises as ``perform``. It is called by the
        thread that waits for the run: Dask's own thread passes on the answers of all runs.
        """
        attempt, answer = end
        if attempt is None:
            assert isinstance(answer, BaseException)
            raise answer
        if not self._end(attempt):
            return None  # it has ended before, in another way
        try:
            if isinstance(answer, BaseException):
                raise answer
            return read_answer(answer)
        except Refused as refused:
            self._refuse(attempt, refused.error)
            return None
        except TimeoutError:
            with self._lock:
                self._table.refuse(attempt.address, time.monotonic() + REFUSED_FOR)
            error: BaseException = _lost(attempt.address, "it did not answer in time")
        except (TidegateError, Interrupted) as raised:
            error = raised
        except BaseException as raised:
            error = _lost(attempt.address, str(raised) or type(raised).__name__)
        finally:
            self._assign()
        if isinstance(error, WorkerLost):
            self._withdraw(attempt)
        raise error

    def _end(self, attempt: _Attempt) -> bool:
        """Whether this is the first way in which an attempt has ended; its place is free then."""
        with self._lock:
            if attempt not in self._attempts:
                return False
            self._attempts.discard(attempt)
            self._table.release(attempt.address)
            return True

    def _withdraw(self, attempt: _Attempt) -> None:
        """Make Dask and the worker stop a run."""
        attempt.cancel()
        with suppress(OSError):  # it has not begun, or is gone with its work folder
            os.rmdir(attempt.permit)

    # --- workers that come, go and cannot be used -------------------------------------------

    def _refuse(self, attempt: _Attempt, error: TidegateError) -> None:
        """A worker cannot carry out runs: the run is the next one for another worker."""
        with self._lock:
            self._reject(attempt.address, error)
            self._waiting.appendleft(attempt.job)
            if self._stopped.is_set():
                attempt.job.ends.put(_End(None, Interrupted()))

    def _reject(self, address: str, error: TidegateError) -> None:
        now = time.monotonic()
        self._table.refuse(address, now + REFUSED_FOR)
        self._last_refusal = error
        if error.what not in self._refusals:
            self._refusals.add(error.what)
            self._say(f"Dask worker {address} is not used: {error}")

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
            except Exception:  # a bug, or something new in Dask: looking goes on
                logger.exception("cannot look at the Dask cluster", extra={"action": "dask"})
            self._stopped.wait(_LOOK)

    def _look(self) -> None:
        """Take over which workers there are now."""
        found = self._cluster.workers()
        with self._lock:
            new, gone = self._table.update(found)
            lost = [attempt for attempt in self._attempts if attempt.address in gone]
        for address, error in self._cluster.unsuitable(new).items():
            with self._lock:
                self._reject(address, error)
        for attempt in lost:
            error = _lost(attempt.address, "it is not in the cluster any more")
            attempt.job.ends.put(_End(attempt, error))
        self._assign()
        self._check_usable()

    def _check_usable(self) -> None:
        """Give up if no worker can be used for a while, and say why."""
        now = time.monotonic()
        with self._lock:
            if not self._table.all_refused(now):
                self._refused_since = None
                return
            self._refused_since = self._refused_since or now
            if now - self._refused_since < NO_OTHER_WORKER:
                return
            error = self._last_refusal
            self._failure = ClusterError(
                "no worker of the Dask cluster can carry out runs",
                why=f"{error.what}: {error.why}" if error.why else error.what,
                next=error.next,
            )
            jobs = [*self._waiting]
            self._waiting.clear()
        for job in jobs:
            job.ends.put(_End(None, self._failure))

    def _idle(self, addresses: list[str], retire: bool) -> list[str]:
        """Those workers that have no run; ``retire``: they get none any more."""
        with self._lock:
            idle = self._table.idle(addresses)
            for address in idle if retire else ():
                self._table.refuse(address, time.monotonic() + REFUSED_FOR)
        return idle


def _lost(address: str, why: str) -> NodeLost:
    return NodeLost(
        f"the Dask worker {address} was lost", why=why, next="the run is tried again on another one"
    )


def _versions(options: ExecutorOptions) -> tuple[str, str]:
    """The versions of the pipelines' Python and Tsdat.

    Raises:
        PythonEnvironmentError: the interpreter cannot be started, or has no Tsdat.
    """
    try:
        done = subprocess.run(
            [*options.python, "-c", _VERSIONS],
            capture_output=True,
            text=True,
            check=True,
            start_new_session=True,  # Ctrl-C is for the service
        )
        python, tsdat = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise PythonEnvironmentError(
            f"no worker can be started with {options.python[0]}",
            why=said.strip().splitlines()[-1] if said.strip() else "",
            next="`tidegate env` makes an environment from the repository's requirements.txt",
        ) from error
    return python, tsdat


def wait_for_products(outcome: Outcome, store: Path) -> None:
    """Wait until this machine sees the products: network file systems take their time.

    Raises:
        StorageError: they are not there, or not whole.
    """
    deadline = time.monotonic() + PRODUCTS_WITHIN
    for product in outcome.products:
        path = store / product.key
        while not (path.is_dir() or (path.is_file() and path.stat().st_size == product.size)):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"this machine does not see the product {product.key} of a Dask worker",
                    why=f"{store} must be on a disk that all machines share",
                    next="put the workspace on the shared disk; the run is tried again",
                )
            time.sleep(0.1)
