"""What a Dask worker does with a run: check that it can, then have a worker process carry it out.

A Dask worker is a process of Tidegate's environment. User code runs in a Tidegate worker process in
the pipelines' environment, as on one machine, so that limits, isolation and replacement are the
same. Each run has a *permit*: a folder in its work folder that this worker makes as it begins. Dask
may start a task twice, and the second one finds the folder there. The control process removes it
to stop the run; it is gone too when a control process that was started again has cleaned up.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate import __version__
from tidegate.errors import (
    ConfigurationError,
    NodeLost,
    PythonEnvironmentError,
    StorageError,
    TidegateError,
)
from tidegate.executors.dask.code_hash import code_hash
from tidegate.executors.dask.messages import (
    Expected,
    Refused,
    Request,
    answer_text,
    error_text,
    read_request,
)
from tidegate.runtime.process import WorkerProcess, fork_server_for, is_worn
from tidegate.runtime.task import Outcome

VISIBLE_WITHIN = 10.0
"""How long to wait for a folder that another machine has just made, s; NFS caches what it knows."""
SAME_CODE_WITHIN = 75.0
"""How long to wait for changed code: NFS may serve the old one for a minute, s."""
_LOOK = 0.5
_IDLE = 600.0


def carry_out(text: str) -> str:
    """Carry out the request in a text, and answer with a text (``messages``); never raises."""
    try:
        request = read_request(text)
    except ValueError as error:
        what = "this Dask worker cannot read its task"
        return error_text(ConfigurationError(what, why=str(error), next=_SAME), refused=True)
    try:
        _check_versions(request.expected)
        with _begun(request), _pools.used(request) as pool:
            return answer_text(pool.perform(request))
    except Refused as refused:
        return error_text(refused.error, refused=True)
    except TidegateError as error:
        return error_text(error)
    except Exception as error:  # a bug: a run that is tried again, and not a traceback in Dask
        what = f"the Dask worker on {platform.node()} failed"
        return error_text(NodeLost(what, why=f"{type(error).__name__}: {error}"))


_SAME = "start the Dask workers and the scheduler from the environment in which `tidegate` runs"


def _check_versions(expected: Expected) -> None:
    if expected.tidegate != __version__:
        raise Refused(
            ConfigurationError(
                f"the Dask worker on {platform.node()} has Tidegate {__version__}",
                why=f"this service is Tidegate {expected.tidegate}",
                next=_SAME,
            )
        )


@contextmanager
def _begun(request: Request) -> Iterator[None]:
    """Inside the block this worker, and no other, is at work on the request."""
    work, permit = Path(request.task.work), Path(request.permit)
    deadline = time.monotonic() + VISIBLE_WITHIN
    while not (work / "store").is_dir():
        if time.monotonic() > deadline:
            raise Refused(
                ConfigurationError(
                    f"the Dask worker on {platform.node()} does not see {work.parent}",
                    why="the work folder must be on a disk that all machines share",
                    next="put the workspace on the shared disk, under the same path everywhere",
                )
            )
        time.sleep(0.2)
    try:
        permit.mkdir()
    except FileExistsError:
        raise NodeLost("Dask started the same run twice; the second one did nothing") from None
    except OSError as error:
        raise StorageError(f"cannot write to {work}", why=error.strerror or str(error)) from error
    yield


class _Pool:
    """The worker processes of one executor, on this Dask worker."""

    def __init__(self, request: Request) -> None:
        self.expected = request.expected
        """What this machine must have."""
        self.work = Path(request.task.work).parent
        """The work folder of the service."""
        self._server = fork_server_for(self.expected.python, Path(self.expected.repository))
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        self._checked = False
        self.busy = 0
        """How many runs are under way."""
        self.ended = time.monotonic()
        """When a run ended last."""

    def perform(self, request: Request) -> Outcome:
        """Carry out a run; raises as ``Executor.perform``, or Refused."""
        worker = self._take()
        try:
            with _watch.over(request.permit, worker):
                self._check(worker)
                outcome = worker.perform(request.task, request.limits)
            if is_worn(worker, request.limits.memory, self.expected.runs_per_worker):
                worker.close()
            return outcome
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End the processes; none is at work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()
        self._server.close()

    def _take(self) -> WorkerProcess:
        expected = self.expected
        with self._lock:
            if self._idle:
                return self._idle.pop()
        # Dask's threads live as long as its worker, so they may start processes.
        return WorkerProcess(expected.python, Path(expected.repository), server=self._server)

    def _give_back(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._idle.append(worker)

    def _check(self, worker: WorkerProcess) -> None:
        """Raise Refused if this machine has other code or another Tsdat."""
        if not self._checked:
            self._check_code()
        try:
            worker.start()
        except PythonEnvironmentError as error:
            raise Refused(
                PythonEnvironmentError(
                    f"the Dask worker on {platform.node()} cannot start the pipelines' Python",
                    why=f"{error.what}: {error.why}",
                    next="put the pipelines' environment on the shared disk (`tidegate env`), or"
                    " name one with `--python`",
                )
            ) from error
        self._check_tsdat(worker)
        self._checked = True

    def _check_tsdat(self, worker: WorkerProcess) -> None:
        expected = self.expected
        has = worker.ready.get("python", ""), worker.ready.get("tsdat", "")
        if has != (expected.pipelines_python, expected.tsdat):
            worker.close()
            raise Refused(
                PythonEnvironmentError(
                    f"on {platform.node()}, {' '.join(expected.python)} is Python {has[0]} with"
                    f" Tsdat {has[1]}",
                    why=f"on the service's machine it is Python {expected.pipelines_python} with"
                    f" Tsdat {expected.tsdat}",
                    next="put the pipelines' environment on the shared disk (`tidegate env`)",
                )
            )

    def _check_code(self) -> None:
        expected = self.expected
        repository = Path(expected.repository)
        deadline = time.monotonic() + SAME_CODE_WITHIN
        while code_hash(repository) != expected.code:
            if not repository.is_dir() or time.monotonic() > deadline:
                raise Refused(
                    ConfigurationError(
                        f"{platform.node()} has no {repository}, or other code in it",
                        why="all machines must run the same code",
                        next="put the pipelines repository on the shared disk, under the same path",
                    )
                )
            time.sleep(2.0)


class _Pools:
    """The pools of this Dask worker: several services may use it, and each starts executors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[Expected, _Pool] = {}

    @contextmanager
    def used(self, request: Request) -> Iterator[_Pool]:
        """The pool for a request; those that are not used any more are closed."""
        with self._lock:
            if request.expected not in self._pools:
                self._pools[request.expected] = _Pool(request)
            pool = self._pools[request.expected]
            pool.busy += 1
            over = [other for other, one in self._pools.items() if self._is_over(one, pool)]
            closed = [self._pools.pop(other) for other in over]
        for one in closed:
            one.close()
        try:
            yield pool
        finally:
            with self._lock:
                pool.busy -= 1
                pool.ended = time.monotonic()

    def _is_over(self, pool: _Pool, newest: _Pool) -> bool:
        if pool.busy:
            return False
        return pool.work == newest.work or time.monotonic() - pool.ended > _IDLE


class _Watch:
    """A thread that stops the runs whose permit is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[str, WorkerProcess] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, permit: str, worker: WorkerProcess) -> Iterator[None]:
        """Inside the block, ``worker`` is interrupted once ``permit`` is gone."""
        with self._lock:
            self._watched[permit] = worker
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tidegate-permits", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._watched[permit]

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK)
            with self._lock:
                watched = dict(self._watched)
            gone = [permit for permit in watched if not os.path.isdir(permit)]
            with self._lock:
                for permit in gone:
                    if self._watched.get(permit) is watched[permit]:
                        watched[permit].interrupt()


_pools = _Pools()
_watch = _Watch()
