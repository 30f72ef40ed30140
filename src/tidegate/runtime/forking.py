"""Workers as copies of a process that has imported Tsdat. Linux only.

A copy is ready at once, where a worker that imports Tsdat needs seconds of a processor, and it
shares the memory of what was imported.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

DESCRIPTORS = 4
"""How many file descriptors a request for a worker carries."""
LONGEST = 1 << 16
"""The longest message, in bytes."""
_STUCK = 30.0
_MOST_NAMES = LONGEST // 2


class ForkedProcess:
    """A worker that a ``ForkServer`` has forked; like ``subprocess.Popen``."""

    def __init__(
        self, pid: int, stdin: IO[bytes], stdout: IO[bytes], ended: int, server: ForkServer
    ) -> None:
        """``ended`` is where the server writes the exit code."""
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = ended
        self._server = server
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while the process runs."""
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; raises ``subprocess.TimeoutExpired``."""
        code = self._wait(_STUCK if timeout is None else timeout)
        if code is None and timeout is None:
            self._server.kill()  # it does not answer; its workers end with it
            code = self._wait(_STUCK)
        if code is None:
            raise subprocess.TimeoutExpired("worker", timeout or _STUCK)
        return code

    def _wait(self, timeout: float) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
                text = os.read(self._ended, 32)
                # Nothing: the server was killed, and the worker with it.
                self.returncode = int(text) if text else -signal.SIGKILL
                os.close(self._ended)
            return self.returncode


class ForkServer:
    """Starts the server with the first ``fork``, and again after it died. For several threads.

    The thread that calls ``fork`` first must live as long as it does: Linux kills the server, and
    the workers with it, together with the thread that started it.
    """

    def __init__(self, command: Sequence[str], folder: Path, start: float) -> None:
        """``command`` starts it, but for the number of its socket; ``start`` is how long it may
        take to import Tsdat, s."""
        self._command = list(command)
        self._folder = folder
        self._start = start
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._imported: set[str] = set()
        self._usable = sys.platform == "linux"
        self.interrupted = False
        """Whether no worker may start any more, as a copy or by itself."""

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        process = self._process
        return process.pid if process is not None else None

    def fork(self, output: int, environment: Mapping[str, str]) -> ForkedProcess | None:
        """A new worker, which writes what its runs print to the descriptor ``output``.

        None if there can be none: then a worker has to be started as a process of its own.
        """
        with self._lock:
            for _ in range(2):  # again: the server may have died since the last time
                if not self._usable:
                    return None
                try:
                    if self._control is None:
                        self._launch(environment)
                    return self._fork(output)
                except (OSError, ValueError):
                    self._end()
            return None

    def learn(self, packages: Sequence[str]) -> None:
        """Have packages imported for the workers to come, which a worker has imported."""
        with self._lock:
            new = [name for name in packages if name not in self._imported]
            self._imported.update(new)
            if new and self._control is not None:
                message = json.dumps({"import": new}).encode()
                if len(message) < _MOST_NAMES:
                    with contextlib.suppress(OSError):
                        self._control.send(message)

    def kill(self) -> None:
        """Kill the server and its workers, from any thread; no more are forked."""
        self._usable = False
        process = self._process
        if process is not None:
            process.kill()

    def interrupt(self) -> None:
        """Kill the server and its workers, from any thread, for good."""
        self.interrupted = True
        self.kill()

    def close(self) -> None:
        """End the server and its workers."""
        self.kill()
        with self._lock:
            self._end()

    def _launch(self, environment: Mapping[str, str]) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._control, number = mine, its.fileno()
            self._process = subprocess.Popen(
                [*self._command, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
                pass_fds=(number,),
            )
        mine.settimeout(self._start)
        if "ready" not in self._receive():
            # Such as Tsdat that cannot be imported: a worker on its own says why.
            self._usable = False
            raise OSError("no fork server")
        self._imported.clear()

    def _fork(self, output: int) -> ForkedProcess | None:
        assert self._control is not None
        requests, stdin = os.pipe()
        stdout, answers = os.pipe()
        ended, exit_code = os.pipe()
        given = array.array("i", (requests, answers, output, exit_code))
        assert len(given) == DESCRIPTORS
        pid = 0
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, given)
            self._control.sendmsg([b'{"fork": true}'], [rights])
            pid = int(self._receive().get("pid", 0))
        finally:
            for descriptor in (
                requests,
                answers,
                exit_code,
                *(() if pid else (stdin, stdout, ended)),
            ):
                os.close(descriptor)
        if not pid:  # it has threads
            self._usable = False
            return None
        files = os.fdopen(stdin, "wb", buffering=0), os.fdopen(stdout, "rb", buffering=0)
        return ForkedProcess(pid, *files, ended, self)

    def _receive(self) -> dict[str, Any]:
        assert self._control is not None
        data = json.loads(self._control.recv(LONGEST) or b"null")
        if not isinstance(data, dict):
            raise OSError("the fork server has ended")
        return data

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
