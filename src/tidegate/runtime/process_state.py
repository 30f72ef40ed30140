"""What a run can leave in its process: changed settings, threads, child processes.

The worker notes it before a run and compares afterwards; that takes well under a millisecond.
Settings are set back, since many pipelines change those of matplotlib in each run. For the rest,
the process is replaced.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_MODULES = tuple(
    (name, sys.modules[name])
    for name in (
        "builtins", "datetime", "glob", "importlib", "io", "json", "logging", "math", "os",
        "os.path", "pathlib", "pickle", "re", "shutil", "signal", "socket", "subprocess", "sys",
        "tempfile", "threading", "time",
    )
    if name in sys.modules
)  # fmt: skip
"""Modules that Tsdat and the worker use. User code can replace their functions for all."""
_SIGNALS = tuple(signal.valid_signals())
_IDLE = ("concurrent/futures/thread.py", "multiprocessing/pool.py", "tqdm/_monitor.py")


def process_state() -> dict[str, Any]:
    """The state by name; two of them can be compared."""
    state: dict[str, Any] = {}
    for name, read in _READERS.items():
        try:
            state[name] = read()
        except Exception as error:  # such as a module that user code has damaged
            state[name] = type(error).__name__
    return state


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what has changed.

    What was None belongs to a module that was not imported yet. Threads may have ended.
    """
    changed = [
        name
        for name, value in before.items()
        if name != "threads"
        and value is not None
        and not _COMPARISONS.get(name, _equal)(value, after.get(name))
    ]
    if set(after["threads"]) - set(before["threads"]):
        changed.append("threads")
    return changed


def restore(before: dict[str, Any]) -> list[str]:
    """Set back what has changed since ``before``; returns the names of what cannot be set back."""
    changed = differences(before, process_state())
    for name in changed:
        if name in _SETTERS:
            with suppress(Exception):  # such as a module that user code has damaged
                _SETTERS[name](before[name])
    return differences(before, process_state()) if changed else []


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    try:
        return bool(one == other)
    except Exception:  # such as an array, which has no single truth value
        return False


def _functions() -> Any:
    return {name: dict(vars(module)) for name, module in _MODULES}


def _same_functions(before: Any, after: Any) -> bool:
    """Whether modules have the same functions; their other values may differ."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return _equal(before, after)
    return before.keys() == after.keys() and all(
        _same_values(names, after[module])
        or _equal(_callables_of(names), _callables_of(after[module]))
        for module, names in before.items()
    )


def _same_values(before: dict[str, Any], after: dict[str, Any]) -> bool:
    try:
        return before == after  # identical objects are not compared, so it takes next to no time
    except Exception:  # such as an array, which has no single truth value
        return False


def _callables_of(names: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if callable(value)}


def _limits() -> Any:
    import resource

    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _signals() -> Any:
    return (
        {number: signal.getsignal(number) for number in _SIGNALS},
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    )


def _numpy() -> Any:
    numpy = sys.modules.get("numpy")
    return dict(numpy.geterr()) if numpy is not None else None


def _decimal() -> Any:
    import decimal

    now = decimal.getcontext()
    limits = now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp
    return limits, {trap.__name__: on for trap, on in now.traps.items()}


def _set_decimal(value: Any) -> None:
    import decimal

    (prec, rounding, emin, emax, capitals, clamp), traps = value
    signals = [signal for signal in decimal.getcontext().traps if traps[signal.__name__]]
    decimal.setcontext(
        decimal.Context(prec, rounding, emin, emax, capitals, clamp, flags=[], traps=signals)
    )


def _set_socket_timeout(value: Any) -> None:
    import socket

    socket.setdefaulttimeout(value[0])


def _socket_timeout() -> Any:
    import socket

    return (socket.getdefaulttimeout(),)


def _matplotlib() -> Any:
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None:
        return None
    return {k: v for k, v in dict.items(matplotlib.rcParams) if not k.startswith("backend")}


def _threads() -> tuple[int, ...]:
    """Threads that may do something; those of a pool that wait for work are harmless."""
    frames = sys._current_frames()
    return tuple(
        thread.ident
        for thread in threading.enumerate()
        if thread.ident is not None and not _is_idle(frames.get(thread.ident))
    )


def _is_idle(frame: Any) -> bool:
    while frame is not None and frame.f_code.co_filename.endswith(("threading.py", "queue.py")):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.endswith(_IDLE)


_READERS: dict[str, Callable[[], Any]] = {
    "functions of Python": _functions,
    "resource limits": _limits,
    "umask": _umask,
    "working directory": os.getcwd,
    "environment": lambda: dict(os.environ),
    "signal handlers": _signals,
    "recursion limit": sys.getrecursionlimit,
    "numpy.seterr": _numpy,
    "decimal context": _decimal,
    "socket timeout": _socket_timeout,
    "matplotlib.rcParams": _matplotlib,
    "threads": _threads,
}


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"functions of Python": _same_functions}


_SETTERS: dict[str, Callable[[Any], object]] = {
    "umask": os.umask,
    "recursion limit": sys.setrecursionlimit,
    "numpy.seterr": lambda value: sys.modules["numpy"].seterr(**value),
    "decimal context": _set_decimal,
    "socket timeout": _set_socket_timeout,
    # Not by `rcParams.update`, which checks each value; these were valid.
    "matplotlib.rcParams": lambda value: dict.update(sys.modules["matplotlib"].rcParams, value),
}


def end_children() -> None:
    """Kill the processes that this one has started, and what they have started. Linux only.

    Needs ``adopt_orphans``, or else a process that was left by its parent is not found.
    """
    for _ in range(20):  # again: one that is killed leaves its own children to this process
        children = _children()
        if not children:
            return
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, 0)


def adopt_orphans() -> None:
    """Become the parent of all processes below this one that lose their own parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError, ValueError):
            found += map(int, task.read_text().split())
    return found
