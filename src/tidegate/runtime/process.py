"""A worker process and the pipe to it: start, perform, watch over time and memory, replace.

Used on every target: user code never runs in the process that holds a claim, so a segfault, a
hang or a leak ends a run, not the service or the function.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidegate.errors import (
    ConfigurationError,
    PythonEnvironmentError,
    RunOutOfMemory,
    RunTimeout,
    TidegateError,
    WorkerLost,
)
from tidegate.runtime.error_records import error_of
from tidegate.runtime.forking import ForkedProcess, ForkServer
from tidegate.runtime.log import RAW
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.memory import descendants, resident_memory
from tidegate.runtime.output import RunOutput
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.summary import Summary
from tidegate.runtime.task import Limits, Outcome, Task

PACKAGE = Path(__file__).resolve().parent.parent

# Loads this very package by its place, without putting that place on sys.path: the service's other
# packages (its own pydantic above all) must stay out of the pipelines' environment.
BOOT = """\
import importlib.util, sys
place = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "tidegate", place + "/__init__.py", submodule_search_locations=[place])
module = sys.modules["tidegate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from tidegate.runtime.worker import main
sys.exit(main())
"""
BOOT_FORK_SERVER = BOOT.replace("runtime.worker", "runtime.fork_server")

ENVIRONMENT = {
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
"""Set in a worker's environment before anything is imported: no display, one BLAS thread."""

START = 120.0
"""How long a worker may take to import Tsdat, s; slow disks take their time."""
RUNS_PER_WORKER = 500
"""A worker is replaced after so many runs, so that leaks in user code stay bounded."""
TOO_LARGE = 0.6
"""A worker is replaced earlier if, between two runs, it holds more than this part of its memory
limit: the next run would soon be stopped for what earlier runs have left behind."""
_MEMORY_CHECK = 0.1
_DYING = 10.0
"""How long a worker that has closed its answers may take to end, s; a crash may dump its memory."""


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which AWS's libraries find no credentials.

    They look in variables, in files, and ask addresses that other variables name, or that of a
    virtual machine. Source: AWS SDKs and Tools Reference Guide, "AWS SDKs and Tools
    standardized credential providers".
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    kept["AWS_CONFIG_FILE"] = kept["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    return kept


class WorkerProcess:
    """One worker. Not for several threads at once.

    The thread that starts it must live as long as it does: Linux kills a worker together with the
    thread that started it, so that no worker outlives a service that dies.
    """

    def __init__(
        self,
        python: Sequence[str],
        repository: Path,
        environment: Mapping[str, str] | None = None,
        *,
        fork: bool = False,
        credentials: bool = True,
        server: ForkServer | None = None,
    ) -> None:
        """``fork``: carry each request out in a copy of the process, so that none sees what another
        has imported or changed; for development, where the code changes between runs. Without
        ``credentials``, the process is not given those for AWS: a build on AWS may deploy, and the
        code of a repository that it only describes must not. ``server`` forks the process, if it
        can: see ``fork_server_for``."""
        self._python = list(python)
        self._repository = repository
        self._environment = dict(environment or {})
        self._fork = fork
        self._credentials = credentials
        self._server = server
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._buffer = b""
        self._output: int | None = None
        """Where this process reads what the worker's file descriptors 1 and 2 get during a run."""
        self.ready: Mapping[str, str] = {}
        """The versions of the worker's Python and Tsdat."""
        self.runs = 0
        """How many tasks this process was given."""

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process else None

    def start(self, timeout: float | None = None) -> None:
        """Start the process if there is none, and wait until it has imported Tsdat.

        Raises:
            PythonEnvironmentError: the interpreter or Tsdat cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.launch()
        if not self.ready:
            self._wait_until_ready(START if timeout is None else timeout)

    def launch(self) -> None:
        """Start the process without waiting: it imports Tsdat while the caller does other things.

        Raises:
            PythonEnvironmentError: the interpreter cannot be started.
            WorkerLost: the executor was interrupted meanwhile.
        """
        given = os.environ if self._credentials else without_credentials(os.environ)
        environment = {**given, **ENVIRONMENT, **self._environment}
        for name in ("TSDAT_STORAGE_ROOT", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        output, written = os.pipe()
        try:
            forked = self._server.fork(written, environment) if self._server else None
            self._process = forked or subprocess.Popen(
                [*self._python, "-c", BOOT, str(PACKAGE), str(written)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._repository,
                env=environment,
                start_new_session=True,
                pass_fds=(written,),
            )
        except OSError as error:
            os.close(output)
            raise _broken(self._python[0], str(error)) from error
        finally:
            os.close(written)
        os.set_blocking(output, False)
        self._output = output
        self.runs, self.ready = 0, {}
        if self._server is not None and self._server.interrupted:
            self.kill()  # it may have begun to start before that
            raise WorkerLost("the worker was interrupted while it started")

    def _wait_until_ready(self, timeout: float) -> None:
        try:
            answer = self._answer(time.monotonic() + timeout, None)
        except (WorkerLost, RunTimeout) as error:
            raise _broken(self._python[0], error.what) from error
        if not isinstance(answer.get("ready"), dict):
            self.kill()
            raise _broken(self._python[0], error_of(answer).what)
        self.ready = answer["ready"]

    def perform(self, task: Task, limits: Limits | None = None) -> Outcome:
        """Carry a task out; starts the process if there is none, or if the task wants a fresh one.
        The config sets the limits, unless they are given.

        Raises:
            RunTimeout, RunOutOfMemory: a limit was exceeded; the process was killed.
            WorkerLost: the process died, or broke the protocol and was killed.
        """
        if task.fresh and self.runs and not self._fork:
            self.close()
        self.start()
        self.runs += 1
        limits = limits or Limits.of(task.config)
        output = RunOutput()
        try:
            request = {"op": "run", "task": to_json(task)}
            answer = self._ask(request, limits.timeout, limits.memory, output)
        finally:
            output.write_to(Path(task.work) / RAW)
        if "outcome" not in answer:
            self.kill()
            raise WorkerLost("the worker could not read its task", why=error_of(answer).what)
        try:
            outcome = from_json(Outcome, answer["outcome"])
        except ValueError as error:
            self.kill()
            raise WorkerLost("the worker's answer cannot be read", why=str(error)) from error
        if self._server and answer.get("imported"):
            self._server.learn(answer["imported"])
        if answer.get("changed") and not self._fork:
            self.kill()  # what the run has changed in the process must not reach the next run
        return replace(outcome, used_worker=self.runs > 1 and not self._fork)

    def describe(self, config_file: str) -> Pipeline | TidegateError:
        """What Tsdat says of a config file, or why it rejects it."""
        self.start()
        try:
            answer = self._ask({"op": "describe", "file": config_file}, START, None)
        except (WorkerLost, RunTimeout) as error:
            return ConfigurationError(f"Tsdat fails on {config_file}", why=error.what)
        if "pipeline" not in answer:
            return error_of(answer)
        try:
            return from_json(Pipeline, answer["pipeline"])
        except ValueError as error:
            self.kill()
            return ConfigurationError(f"Tsdat fails on {config_file}", why=str(error))

    def summarize(self, path: Path) -> Summary | None:
        """What is in a netCDF file; None for one that cannot be read, or kills the worker."""
        self.start()
        try:
            answer = self._ask({"op": "summarize", "path": str(path)}, START, None)
        except (WorkerLost, RunTimeout):
            return None
        summary = answer.get("summary")
        try:
            return from_json(Summary, summary) if summary is not None else None
        except ValueError:
            self.kill()
            return None

    def call(self, function: str, arguments: Mapping[str, Any], timeout: float = START) -> Any:
        """The result of a function of Tidegate's that is called in the worker, as JSON has it.

        For what only the pipelines' environment can do, such as reading a netCDF file.

        Raises:
            TidegateError: it failed, took too long, or the worker died.
        """
        self.start()
        request = {"op": "call", "function": function, "arguments": arguments}
        answer = self._ask(request, timeout, None)
        if "result" not in answer:
            raise error_of(answer)
        return answer["result"]

    def close(self) -> None:
        """End the process; it is killed if it does not end within 2 s."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self.kill()

    def interrupt(self) -> None:
        """Kill the process, from any thread: a ``perform`` that waits for it raises WorkerLost."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the process and all processes that it started."""
        process, self._process, self._buffer = self._process, None, b""
        if process is None:
            return
        started = descendants(process.pid)[1:]  # some may be in a session of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pid in started:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self._output is not None:
            os.close(self._output)
            self._output = None
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _ask(
        self,
        request: Mapping[str, Any],
        timeout: float,
        memory: int | None,
        output: RunOutput | None = None,
    ) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        deadline = time.monotonic() + timeout
        self._check_silent()
        try:
            asked = {**request, "fork": True} if self._fork else request
            self._send(json.dumps(asked).encode() + b"\n", deadline)
            answer = self._answer(deadline, memory, output)
        except RunTimeout as error:
            raise RunTimeout(
                f"the run was stopped after {timeout:g} s",
                next="raise `timeout` for this config, or look in the run's log for what takes so"
                " long",
            ) from error
        if "died" in answer:
            raise _died(int(answer["died"]))
        return answer

    def _check_silent(self) -> None:
        """Unexpected output must not be taken for the answer to the next request."""
        assert self._process is not None
        assert self._process.stdout is not None
        if self._buffer or _readable(self._process.stdout.fileno(), 0.0):
            if self._process.poll() is not None:
                raise self._lost()
            self.kill()
            raise WorkerLost(
                "the worker broke its protocol", why="it sent an answer without a request"
            )

    def _send(self, data: bytes, deadline: float) -> None:
        """Write to the worker, which may hang and not read."""
        assert self._process is not None
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while data:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.kill()
                    raise RunTimeout("no answer in time")
                try:
                    data = data[os.write(pipe, data) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise self._lost() from error

    def _answer(
        self, deadline: float, memory: int | None, output: RunOutput | None = None
    ) -> dict[str, Any]:
        """The next line from the worker, within its limits; its output is collected meanwhile."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._output is not None
        answers, printed = self._process.stdout.fileno(), self._output
        collected = output or RunOutput()
        check_at = time.monotonic() + _MEMORY_CHECK
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            selector.register(printed, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._stop(collected)
                    raise RunTimeout("no answer in time")
                ready = [key.fd for key, _ in selector.select(min(left, _MEMORY_CHECK))]
                if printed in ready and not collected.read(printed):
                    selector.unregister(printed)  # the worker has closed it, or is dead
                if answers in ready:
                    block = os.read(answers, 1 << 20)
                    if not block:
                        raise self._lost(collected)
                    self._buffer += block
                elif not ready and self._process.poll() is not None and not selector.select(0):
                    # A process that it started can hold the pipe open for longer than it lives.
                    raise self._lost(collected)
                elif memory is not None and time.monotonic() >= check_at:
                    self._check_memory(memory, collected)
                    check_at = time.monotonic() + _MEMORY_CHECK
        collected.drain(printed)
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.kill()
            raise WorkerLost("the worker broke its protocol", why=repr(line[:200]))
        return answer

    def _stop(self, output: RunOutput) -> None:
        """Kill the process, and keep what it had printed."""
        self.interrupt()
        if self._output is not None:
            output.drain(self._output)
        self.kill()

    def _check_memory(self, limit: int, output: RunOutput) -> None:
        assert self._process is not None
        used = resident_memory(self._process.pid)
        if self._fork:  # the run is the child's; the process that it is a copy of only waits
            used -= resident_memory(self._process.pid, children=False)
        if used > limit:
            self._stop(output)
            raise RunOutOfMemory(
                f"the run was stopped when it used {used:.0f} MB; its limit is {limit} MB",
                next="raise `memory` for this config, or give it smaller files",
            )

    def _lost(self, output: RunOutput | None = None) -> WorkerLost:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING)
        code = self._process.returncode
        self._stop(output or RunOutput())
        return _died(code)


def fork_server_for(python: Sequence[str], repository: Path) -> ForkServer:
    """What forks the workers of one repository that the same interpreter carries out."""
    command = [*python, "-c", BOOT_FORK_SERVER, str(PACKAGE)]
    return ForkServer(command, repository, START)


def is_worn(worker: WorkerProcess, memory: int, runs: int | None = None) -> bool:
    """Whether an idle worker should be replaced: after so many ``runs`` (``RUNS_PER_WORKER``), or
    if it has grown too large for its limit of ``memory`` MB."""
    if worker.pid is None:
        return False
    return (
        worker.runs >= (runs or RUNS_PER_WORKER) or resident_memory(worker.pid) > TOO_LARGE * memory
    )


def _readable(fd: int, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _died(code: int | None) -> WorkerLost:
    return WorkerLost(
        f"the worker process {_ending(code)}",
        next="it is tried again; if it happens again, look for a crash in compiled code",
    )


def _ending(code: int | None) -> str:
    if code is None:
        return "stopped answering"
    if code >= 0:
        return f"ended by itself with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _broken(python: str, why: str) -> PythonEnvironmentError:
    return PythonEnvironmentError(
        f"no worker can be started with {python}",
        why=why,
        next="`tidegate env` makes an environment from the repository's requirements.txt",
    )
