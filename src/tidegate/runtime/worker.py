"""Runs as JSON lines, in the pipelines' own environment: ``python -m tidegate.runtime.worker``.

One line in, one line out:

    {"op": "run", "task": {…}}                →  {"outcome": {…}, "changed": ["umask", …]}
    {"op": "describe", "file": "pipelines/…"} →  {"pipeline": {…}} or {"error": {…}}
    {"op": "summarize", "path": "/….nc"}      →  {"summary": {…}}, null if it cannot be read
    {"op": "call", "function": "tidegate.quality.…", "arguments": {…}} →  {"result": …}

With ``"fork": true`` a request is carried out in a copy of this process, which ends with it: Tsdat
need not be imported again, and no code or state of the repository is left for the next request.
Packages that the copy imported are imported here afterwards, so that the next copy has them.
If that copy died, the answer is ``{"died": exit code, or minus the signal}``.

``changed`` names what the run has changed in its process; the worker should then be replaced. What
it has started has ended. A worker that a fork server has forked (``fork_server.py``) also says
which packages its first run has imported, so that the server has them for the next worker.

The first line out is ``{"ready": {…}}``, once Tsdat is imported. A line in another form is answered
with an error, and the next one is read. Standard output is used for this protocol only: what user
code prints goes to the run's log, or to a pipe with the number that is the second argument.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import importlib
import json
import os
import platform
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from tidegate.runtime import pipeline_run, tsdat_adapter
from tidegate.runtime.error_records import error_data
from tidegate.runtime.log import LOG, RunLog, capture
from tidegate.runtime.process_state import adopt_orphans, end_children, process_state, restore
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.summary import summarize_file
from tidegate.runtime.task import Outcome, Task
from tidegate.runtime.wording import quantity


def main() -> int:
    """Import Tsdat, and serve until standard input ends."""
    _watch_parent()
    adopt_orphans()
    streams = _take_standard_streams()
    prepare()
    try:
        tsdat = tsdat_adapter.load()
    except BaseException as error:
        _answer(streams[1], {"error": error_data(error)})
        return 3
    return _serve(streams, tsdat)


def prepare() -> None:
    """Set up what workers have in common, before Tsdat is imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service handles Ctrl-C
    faulthandler.enable()
    _be_expendable()
    sys.path.insert(0, os.getcwd())
    _take_fonts()


def serve_as_copy(tsdat: str) -> int:
    """Serve until standard input ends, in a copy of a process that has imported Tsdat."""
    _watch_parent()
    adopt_orphans()
    _seed_random_numbers()
    return _serve(_take_standard_streams(), tsdat, set(sys.modules))


def _serve(streams: tuple[BinaryIO, BinaryIO], tsdat: str, imported: set[str] | None = None) -> int:
    """Answer requests. The first answer about a run lists the packages that were not in
    ``imported`` before, if that is given."""
    requests, answers = streams
    _output()
    _answer(answers, {"ready": versions(tsdat)})
    me = os.getpid()
    for line in requests:
        answer = respond(line)
        if os.getpid() != me:
            os._exit(0)  # a fork that user code made: its parent answers
        wanted = answer.pop("imported", ())
        if imported is not None and "outcome" in answer:
            answer["imported"], imported = _imported_packages(imported), None
        _answer(answers, answer)
        if wanted:
            import_all(wanted)
    return 0


def versions(tsdat: str) -> dict[str, str]:
    """What a worker says when it is ready."""
    return {"python": platform.python_version(), "tsdat": tsdat}


def _seed_random_numbers() -> None:
    """Copies of a process would all draw the same; Python's own `random` is seeded by Python."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def respond(line: bytes) -> dict[str, Any]:
    """The answer to one line; never raises."""
    try:
        request = json.loads(line)
        op = request["op"]
        if request.get("fork"):
            return _respond_in_fork(json.dumps({**request, "fork": False}).encode())
        if op == "run":
            return _run(from_json(Task, request["task"]))
        if op == "describe":
            with _quiet():
                return {"pipeline": to_json(tsdat_adapter.describe(str(request["file"])))}
        if op == "summarize":
            with _quiet():
                return {"summary": to_json(summarize_file(Path(request["path"])))}
        if op == "call":
            with _quiet():
                return {"result": to_json(_call(str(request["function"]), request["arguments"]))}
        raise ValueError(f"unknown op {op!r}")
    except BaseException as error:
        return {"error": error_data(error)}


def _run(task: Task) -> dict[str, Any]:
    """The outcome of a run, and what it has changed in this process."""
    before = process_state()
    me = os.getpid()

    def loaded() -> None:
        # What modules set when they are imported is no leak, and is kept. The run's variables and
        # its working directory are undone by the adapter.
        kept = {name: before[name] for name in ("environment", "working directory")}
        before.update({**process_state(), **kept})

    outcome = to_json(perform(task, loaded))
    if os.getpid() != me:
        os._exit(0)  # a fork that user code made
    end_children()
    return {"outcome": outcome, "changed": restore(before)}


def perform(task: Task, loaded: Callable[[], None] = lambda: None) -> Outcome:
    """Carry out a task in this process; what it prints goes to its log."""
    work = Path(task.work)
    log = RunLog(
        work / LOG,
        {"run": task.run.key[:12], "pipeline": task.config.pipeline, "config": task.config.name},
    )
    level = task.config.environment.get("LOG_LEVEL") or os.environ.get("LOG_LEVEL", "INFO")
    _reset_peak_memory()
    try:
        with capture(log, _output(), level.upper()):
            outcome = pipeline_run.run(task, loaded)
    finally:
        log.close()
    warnings = outcome.warnings
    # A failure, of the plots too, is logged as an error itself.
    if log.errors and not outcome.plots_failed and outcome.failure is None:
        first = " ".join(log.first_error.split())[:200]
        warnings += (f"the log has {quantity(log.errors, 'error')}; the first: {first}",)
    return replace(outcome, warnings=warnings, peak_memory=_peak_memory())


@functools.lru_cache(maxsize=None)
def _output() -> int:
    """The pipe for what a run writes to the file descriptors 1 and 2; its number is an argument."""
    if not sys.argv[2:] or not sys.argv[2].isdigit():  # not started by `process.WorkerProcess`
        return os.open(os.devnull, os.O_WRONLY)
    os.set_inheritable(int(sys.argv[2]), False)
    return int(sys.argv[2])


def _call(name: str, arguments: dict[str, Any]) -> Any:
    """Call a function of Tidegate's that reads datasets, which only this environment can."""
    module, _, function = name.rpartition(".")
    if not module.startswith("tidegate."):
        raise ValueError(f"{name!r} is not a function of Tidegate")
    return getattr(importlib.import_module(module), function)(**arguments)


def _respond_in_fork(line: bytes) -> dict[str, Any]:
    """Have a copy of this process carry a request out; however that ends, this one goes on."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on: there are threads. Ours only sleeps, and holds no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _watch_parent()
            _seed_random_numbers()
            me = os.getpid()
            before = set(sys.modules)
            answer = {**respond(line), "imported": _imported_packages(before)}
            if os.getpid() == me:  # else it is a fork that user code made
                with os.fdopen(writing, "wb", buffering=0) as pipe:
                    _answer(pipe, answer)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        data, status = _read_line(reading, child)
    finally:
        os.close(reading)
    end_children()  # of the copy
    if not data.endswith(b"\n"):
        return {"died": -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}
    answer = json.loads(data)
    assert isinstance(answer, dict)
    return answer


def _imported_packages(before: set[str]) -> list[str]:
    """Modules imported since then that are not the repository's own, which may change."""
    here = os.getcwd() + os.sep
    found = []
    for name in [name for name in sys.modules if name not in before]:
        file = str(getattr(sys.modules[name], "__file__", None) or here)
        if not file.startswith(here) or f"{os.sep}site-packages{os.sep}" in file:
            found.append(name)
    return found


def import_all(names: list[str]) -> None:
    """Import modules; one that cannot be imported will be where it is needed, or fail there."""
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)


def _read_line(pipe: int, child: int) -> tuple[bytes, int]:
    """What ``child`` writes up to the end of its line or its life, and its status at the end."""
    data, ended, status = b"", 0, 0
    while not data.endswith(b"\n"):
        # Asked before reading: what it started may hold the pipe open for longer than it lived.
        ended, status = (ended, status) if ended else os.waitpid(child, os.WNOHANG)
        if select.select([pipe], [], [], 0.0 if ended else 0.05)[0]:
            block = os.read(pipe, 1 << 20)
            if not block:
                break
            data += block
        elif ended:
            break
    return data, status if ended else os.waitpid(child, 0)[1]


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for the protocol, and give user code nothing to read and nowhere to write."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return requests, answers


def _answer(answers: BinaryIO, answer: dict[str, Any]) -> None:
    data = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[answers.write(data) :]


class _quiet:
    """Nothing that Tsdat prints while it describes reaches anyone: the answer says it all."""

    def __enter__(self) -> None:
        self._saved = os.dup(2), sys.stdout, sys.stderr
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        sys.stdout = sys.stderr = open(os.devnull, "w")

    def __exit__(self, *exc: object) -> None:
        sys.stdout.close()
        os.dup2(self._saved[0], 2)
        os.close(self._saved[0])
        sys.stdout, sys.stderr = self._saved[1], self._saved[2]


def die_with_parent() -> None:
    """Have Linux kill this process together with the thread that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _watch_parent() -> None:
    """A worker whose service was killed must not go on: nobody would hear its answer."""
    parent = os.getppid()
    die_with_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="tidegate-parent").start()


def _be_expendable() -> None:
    """No core dumps that fill the disk; and when memory runs out, it goes before the service."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path("/proc/self/oom_score_adj").write_text("500")


def _take_fonts() -> None:
    """An image has matplotlib's list of fonts, which it only takes from where it may write."""
    baked = os.environ.get("MPLCONFIGDIR", "")
    if not os.path.isdir(baked) or os.access(baked, os.W_OK):
        return
    mine = os.path.join(tempfile.gettempdir(), f"tidegate-matplotlib-{os.getuid()}")
    with contextlib.suppress(OSError):
        shutil.copytree(baked, mine, dirs_exist_ok=True)
        os.environ["MPLCONFIGDIR"] = mine


def _reset_peak_memory() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far


def _peak_memory() -> float:
    """The peak of this process's resident memory since it was reset, MB; 0 where not known."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
