"""The connection to a Dask cluster: one that runs already, or one that is started and ended here.

dask and distributed are imported here, and by ``jobs``, ``scaling`` and ``reporting``.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import dask
import distributed
from distributed import Client, LocalCluster

from tidegate.errors import ClusterError, ConfigurationError, TidegateError
from tidegate.executors.dask.messages import Refused
from tidegate.executors.dask.reporting import TOPIC, carry_out_and_report
from tidegate.executors.dask.scaling import Scaling
from tidegate.executors.options import ExecutorChoice, Say
from tidegate.runtime.wording import quantity

CONNECT = 10.0
_RECONNECT = 5.0
_NO_WORKER = 60.0
_HUNG = "60s"


@dataclass(eq=False)
class _Pending:
    """A request that was not answered yet."""

    ended: Callable[[str | BaseException], None]
    """Called with the answer, or with what went wrong."""
    deadline: float
    """When it is given up, by the monotonic clock."""
    future: Any = None
    """Dask's handle; Dask forgets the request when it is dropped."""
    error: Exception | None = None
    """Why it could not be sent."""
    finished: bool = False
    """Whether Dask said a while ago that it has ended."""


class DaskCluster:
    """A cluster that can be given runs. Any thread may use it."""

    def __init__(self, client: Client, cluster: Any, maximum: int, say: Say) -> None:
        """``cluster`` is the one that was started, or None."""
        self._client = client
        self._address = client.scheduler.address
        self._cluster = cluster
        self._say = say
        self._there = True
        self._reconnect_at = 0.0
        self._no_worker_since: float | None = None
        self._pending: dict[str, _Pending] = {}
        self._receive_answers()
        self.maximum = maximum
        """How many runs there can be at once."""
        self.wanted = 0
        """How many runs wait or go on."""
        self.find_idle: Callable[[list[str], bool], list[str]] | None = None
        """Set by the executor; see ``idle``."""

    @property
    def dashboard(self) -> str:
        """The address of Dask's dashboard; "" if there is none."""
        link: str = self._client.dashboard_link or ""
        if self._cluster is not None:  # it listens on this machine only, unless it was said
            link = re.sub(r"//[^/]*:", "//127.0.0.1:", link)
        return link

    def expect(self, runs: int) -> None:
        """Have workers for so many runs, within the limits."""
        self.wanted = runs

    def idle(self, addresses: list[str], *, retire: bool = False) -> list[str]:
        """Those workers that have no run; ``retire``: they get none any more."""
        return self.find_idle(addresses, retire) if self.find_idle else []

    # --- runs -------------------------------------------------------------------------------

    def submit(
        self,
        text: str,
        *,
        name: str,
        address: str,
        within: float,
        ended: Callable[[str | BaseException], None],
    ) -> Callable[[], object]:
        """Have one worker carry out a request (``messages``); returns at once.

        ``ended`` is called with the answer, or with what went wrong: TimeoutError after ``within``
        seconds. Returns a function that makes Dask forget the request.
        """
        key = f"{name}-{uuid.uuid4().hex[:8]}"
        pending = _Pending(ended, time.monotonic() + within)
        self._pending[key] = pending
        try:
            pending.future = self._client.submit(
                carry_out_and_report,
                text,
                key,
                key=key,
                pure=False,
                workers=[address],
                allow_other_workers=False,
            )
        except Exception as error:  # it has lost the scheduler
            pending.error = error
        return lambda: self._pending.pop(key, None)

    def _receive_answers(self) -> None:
        """Have answers sent to this process."""
        with suppress(Exception):  # it has lost the scheduler again
            self._client.subscribe_topic(TOPIC, self._answered)

    def _answered(self, event: tuple[float, tuple[str, str]]) -> None:
        key, answer = event[1]
        pending = self._pending.pop(key, None)  # others are of another service, or were withdrawn
        if pending is not None:
            pending.ended(answer)

    def _end_others(self) -> None:
        """End those requests that were not answered by an event and will not be."""
        now = time.monotonic()
        for key, pending in list(self._pending.items()):
            outcome = _outcome(pending, now)
            if outcome is not None and self._pending.pop(key, None) is not None:
                pending.ended(outcome)

    # --- workers ----------------------------------------------------------------------------

    def workers(self) -> Mapping[str, int]:
        """The addresses of the workers and their threads; none while there is no scheduler."""
        self._end_others()
        found: Mapping[str, int] = {}
        there = self._client.status == "running"
        if there:
            try:
                found = self._client.sync(self._client.scheduler.ncores, callback_timeout=CONNECT)
            except (OSError, TimeoutError, asyncio.TimeoutError):
                there = False
        if not there:
            self._reconnect()
        if there != self._there:
            self._there = there
            if there:
                self._receive_answers()
            state = "is back" if there else "cannot be reached; runs wait until it is back"
            self._say(f"the Dask scheduler {self._address} {state}")
        self._say_if_no_worker(bool(found))
        return found

    def _reconnect(self) -> None:
        """Connect again if Dask's client has given up."""
        if self._client.status != "closed" or time.monotonic() < self._reconnect_at:
            return
        self._reconnect_at = time.monotonic() + _RECONNECT
        with suppress(OSError, TimeoutError, asyncio.TimeoutError):
            self._client = _connect(self._address, timeout=2.0)
            self._receive_answers()

    def _say_if_no_worker(self, found: bool) -> None:
        if found or not self.wanted or not self._there:
            self._no_worker_since = None
            return
        self._no_worker_since = self._no_worker_since or time.monotonic()
        if time.monotonic() - self._no_worker_since > _NO_WORKER:
            self._say(
                f"no Dask worker has joined {self._address} yet; {quantity(self.wanted, 'run')}"
                " wait: see docs/dask.md, No worker joins"
            )
            self._no_worker_since = time.monotonic() + 10 * _NO_WORKER

    def unsuitable(self, addresses: Sequence[str]) -> dict[str, TidegateError]:
        """Those workers that have other versions of Python or Dask, and what to do."""
        if not addresses:
            return {}
        try:
            answers = self._client.sync(
                self._client.scheduler.broadcast,
                msg={"op": "versions", "packages": []},
                workers=list(addresses),
                on_error="return",
                callback_timeout=CONNECT,
            )
        except (OSError, TimeoutError, asyncio.TimeoutError):
            return {}  # it is gone again, or will be asked by its first run
        found = {}
        for address, answer in answers.items():
            if isinstance(answer, dict) and (text := _difference(answer)):
                found[address] = _other_versions(f"the Dask worker {address}", text)
        return found

    def close(self) -> None:
        """Disconnect, and end the cluster if it was started here."""
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(Exception):  # what is left ends by itself when it finds no scheduler
                    part.close(timeout=5)


def _outcome(pending: _Pending, now: float) -> str | BaseException | None:
    """The answer to a request as Dask knows it, or what went wrong; None while that is open."""
    if pending.error is not None:
        return pending.error
    if now > pending.deadline:
        return TimeoutError()
    status = pending.future.status if pending.future is not None else "pending"
    if status == "cancelled":
        return asyncio.CancelledError()
    if status == "error":
        return _explained(pending.future.exception(timeout=CONNECT))
    if status != "finished":
        return None
    if not pending.finished:  # its event may still be on its way
        pending.finished = True
        return None
    try:
        answer: str = pending.future.result(timeout=CONNECT)
    except Exception as error:  # the worker that had it is gone
        return error
    return answer


def _explained(error: BaseException) -> BaseException:
    """The error of a request: a worker that cannot import Tidegate is one to be refused."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(cause, ImportError) for cause in causes):
        what = "the Dask scheduler or worker cannot import Tidegate"
        return Refused(ConfigurationError(what, why=str(causes[-1]), next=_SAME))
    return error


# --- opening -------------------------------------------------------------------------------------


@contextmanager
def open_cluster(choice: ExecutorChoice) -> Iterator[DaskCluster]:
    """Connect to a cluster, or start one, which ends with the block.

    Raises:
        ClusterError: there is no scheduler at the address, or the cluster cannot be started.
        UsageError: the options for jobs are wrong.
    """
    options, say = choice.dask, choice.say
    _quiet()
    started, threads, maximum = None, 1, choice.most
    if options.scheduler is not None:
        client = _first_connection(options.scheduler)
    else:
        if options.cluster == "local":
            started = _local()
        else:
            from tidegate.executors.dask.jobs import open_jobs

            started, threads = open_jobs(choice)
        client = _connect(started, timeout=CONNECT)
    cluster = DaskCluster(client, started, maximum, say)
    try:
        if started is not None:
            usual = maximum if options.cluster == "local" and options.maximum is None else 0
            minimum = usual if options.minimum is None else options.minimum
            Scaling.begin(started, cluster, minimum=minimum, maximum=maximum, threads=threads)
        at = f"; dashboard: {cluster.dashboard}" if cluster.dashboard else ""
        say(f"Dask scheduler: {client.scheduler.address}{at}")
        yield cluster
    finally:
        cluster.close()


def _local() -> LocalCluster:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dashboard's usual port may be taken
        return LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:8787",
            preload=["tidegate.executors.dask.local_worker"],
        )


def _connect(to: Any, timeout: float) -> Client:
    return Client(to, timeout=timeout, set_as_default=False, name="tidegate")


def _first_connection(address: str) -> Client:
    try:
        client = _connect(address, CONNECT)
    except (OSError, ValueError, TimeoutError, asyncio.TimeoutError) as error:
        raise ClusterError(
            f"there is no Dask scheduler at {address}",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next="start one with `dask scheduler`; it prints its address, such as tcp://head:8786",
        ) from error
    scheduler = client.sync(client.scheduler.versions, packages=[])
    if text := _difference(scheduler):
        client.close()
        raise ClusterError("the Dask scheduler has other versions", why=text, next=_SAME)
    return client


_SAME = "start the Dask scheduler and workers from the environment in which `tidegate` runs"


def _other_versions(who: str, text: str) -> TidegateError:
    return ConfigurationError(f"{who} has other versions", why=text, next=_SAME)


def _difference(versions: Mapping[str, Any]) -> str:
    """In which versions a scheduler or worker differs from this process; "" if in none."""
    packages = versions.get("packages", {})
    here = {"Python": platform.python_version(), "distributed": distributed.__version__}
    there = {
        "Python": ".".join(str(packages.get("python", "")).split(".")[:3]),
        "distributed": str(packages.get("distributed")),
    }
    differ = [
        f"{name} {there[name]}, and the service has {here[name]}"
        for name in here
        if there[name].split(".")[:2] != here[name].split(".")[:2]
    ]
    return "; ".join(differ)


def _quiet() -> None:
    """Dask's own messages about what the executor reports itself are left out."""
    for name in ("distributed", "tornado", "bokeh"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    dask.config.set({"distributed.scheduler.worker-ttl": _HUNG})
