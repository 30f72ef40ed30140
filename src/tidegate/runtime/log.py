"""The log of a run: one JSON object a line, with all that user code prints, logs or warns.

It collects Python's ``sys.stdout`` and ``sys.stderr``, the ``logging`` and ``warnings`` modules,
and the file descriptors 1 and 2, which C libraries and child processes write to. Output to the
descriptors goes to a pipe, which the process that started the worker reads (``output.py``); it is
added to the log afterwards.
"""

from __future__ import annotations

import ctypes
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO, cast

LOG = "log.jsonl"
"""The name of a run's log inside its work folder."""
RAW = "output.txt"
"""The name of the file with the output to the file descriptors 1 and 2."""
LIMIT = 8 * 1024 * 1024
"""A run's log is cut off after so many bytes: a print in a loop must not fill the disk."""
MOST_LINES = 20_000
"""Of the output to the file descriptors, this many lines are kept: half from each end."""
LEFT_OUT = "of output are left out here]"
"""The end of a line in the place of output that was not kept."""
LONGEST = 100_000
"""A longer message is cut off after so many characters."""


class RunLog:
    """Appends lines to a run's log; used by one process, by any of its threads."""

    def __init__(self, path: Path, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)
        self._lock = threading.RLock()
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._left = LIMIT - path.stat().st_size
        self.errors = 0
        """How many lines of level ERROR or CRITICAL were written."""
        self.first_error = ""
        """The message of the first of them."""

    def write(self, level: str, action: str, message: str, **more: Any) -> None:
        """Add one line; ``action`` says in one word what happened."""
        if len(message) > LONGEST:
            message = f"{message[:LONGEST]} … and {len(message) - LONGEST} characters more"
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "level": level,
            **self._fields,
            "action": action,
            "message": message,
            **more,
        }
        text = json.dumps(line, default=str) + "\n"
        with self._lock:
            if level in ("ERROR", "CRITICAL"):
                self.errors += 1
                self.first_error = self.first_error or message
            if self._left <= 0 or self._file.closed:
                return
            self._left -= len(text)
            if self._left <= 0:
                line.update(action="cut", message=f"the log is cut off after {LIMIT} bytes")
                text = json.dumps(line, default=str) + "\n"
            with suppress(OSError):  # a full disk is reported when products are written
                self._file.write(text)
                self._file.flush()

    def absorb(self, raw: Path) -> None:
        """Add the output to the file descriptors, and delete its file."""
        with suppress(OSError):
            with raw.open("rb") as file:
                content = file.read(LIMIT)
            lines = [li for li in content.decode("utf-8", "replace").splitlines() if li.strip()]
            if len(lines) > MOST_LINES:
                half = MOST_LINES // 2
                cut = lines[half:-half]
                notes = [li for li in cut if li.endswith(LEFT_OUT)]  # how many bytes were dropped
                note = f"[{len(cut) - len(notes)} lines {LEFT_OUT}"
                lines = [*lines[:half], *notes, note, *lines[-half:]]
            for line in lines:
                self.write("INFO", "output", line)
            raw.unlink()

    def close(self) -> None:
        """Close the file; later writes are dropped."""
        with self._lock, suppress(OSError):
            self._file.close()


class _Stream(io.TextIOBase):
    """Replaces ``sys.stdout``: each line that is printed becomes a line of the log.

    It is used for all runs of the process, since user code that is imported once may keep it:
    ``from sys import stdout``, ``logging.StreamHandler()``.
    """

    encoding = "utf-8"

    def __init__(self, level: str, fd: int) -> None:
        self._log: RunLog | None = None
        self._level, self._fd = level, fd
        self._rest: list[str] = []
        self._length = 0

    @property
    def buffer(self) -> io.FileIO:
        """For bytes, which go to the file descriptor."""
        return io.FileIO(self._fd, "w", closefd=False)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def reconfigure(self, **_: Any) -> None:
        """As in ``sys.stdout``; there is nothing to configure."""

    def close(self) -> None:
        """Does nothing: user code must not close it."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        head, newline, tail = text.rpartition("\n")
        if newline:
            for line in "".join((*self._rest, head)).split("\n"):
                self._line(line)
            self._rest, self._length = [], 0
        if self._length <= LIMIT:
            self._rest.append(tail)
            self._length += len(tail)
        return len(text)

    def _line(self, line: str) -> None:
        if self._log is not None and line.strip():
            self._log.write(self._level, "print", line)

    @contextmanager
    def write_to(self, log: RunLog) -> Iterator[None]:
        """Write to ``log`` inside the block, including a last line without a newline."""
        self._log, self._rest, self._length = log, [], 0
        try:
            yield
        finally:
            self._line("".join(self._rest))
            self._log, self._rest, self._length = None, [], 0


_OUT, _ERR = _Stream("INFO", 1), _Stream("WARNING", 2)


class _Handler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            self._log.write(record.levelname, "log", message, logger=record.name)
        except Exception:  # a broken log call in user code must not fail the run
            self._log.write("WARNING", "log", f"a log call failed: {record.msg!r}")


@contextmanager
def capture(log: RunLog, output: int, level: str = "INFO") -> Iterator[None]:
    """Collect everything that user code prints, logs or warns in ``log``, inside the block.

    The file descriptors 1 and 2 lead to ``output``.
    """
    with _descriptors(output), _streams(log), _logging(log, level), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning(log)
        yield


@contextmanager
def _descriptors(output: int) -> Iterator[None]:
    _flush()
    saved = [os.dup(1), os.dup(2)]
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        yield
    finally:
        _flush()
        for fd, old in zip((1, 2), saved):
            os.dup2(old, fd)
            os.close(old)


def _flush() -> None:
    """Flush the buffers of Python's own streams, and of C."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


@contextmanager
def _streams(log: RunLog) -> Iterator[None]:
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, _OUT), cast(TextIO, _ERR)
    try:
        with _OUT.write_to(log), _ERR.write_to(log):
            yield
    finally:
        sys.stdout, sys.stderr = saved


@contextmanager
def _logging(log: RunLog, level: str) -> Iterator[None]:
    root = logging.getLogger()
    saved = root.handlers[:], root.level, root.manager.disable
    root.handlers = [_Handler(log)]
    with suppress(ValueError):
        root.setLevel(level)
    try:
        yield
    finally:
        root.handlers, root.manager.disable = saved[0], saved[2]
        root.setLevel(saved[1])  # this also clears what loggers have cached about the level


def _show_warning(log: RunLog) -> Any:
    def show(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        log.write(
            "WARNING", "warning", f"{category.__name__}: {message}", where=f"{filename}:{lineno}"
        )

    return show
