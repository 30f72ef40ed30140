"""A process that has imported Tsdat, and forks workers: they need not import it again.

It is asked over a socket, the number of which is the second argument; see ``forking.ForkServer``.
One message in, one message out, both JSON:

    {"fork": true} with four file descriptors  →  {"pid": …}, or {"refused": reason}
    {"import": [names of packages]}            →  nothing

The descriptors are the worker's requests, its answers, what its runs print, and where its exit code
is written when it has ended. The first message out is ``{"ready": {…}}``, or ``{"error": {…}}``.

Nothing of the repository is imported here, and no thread is started: a copy of a process with
threads is safe only while they hold no locks.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from tidegate.runtime import tsdat_adapter, worker
from tidegate.runtime.error_records import error_data
from tidegate.runtime.forking import DESCRIPTORS, LONGEST


def main() -> int:
    """Fork workers until the socket is closed; also the ``main`` of each worker."""
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
    worker.die_with_parent()
    worker.prepare()
    try:
        tsdat = tsdat_adapter.load()
    except BaseException as error:
        _send(control, {"error": error_data(error)})
        return 3
    _send(control, {"ready": worker.versions(tsdat)})
    server = _Server(control)
    while server.serve():
        pass
    return worker.serve_as_copy(tsdat) if server.is_worker else 0


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ended: dict[int, int] = {}
        """By process: where its exit code is written."""
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.is_worker = False
        """Whether this process is a copy, which works."""

    def serve(self) -> bool:
        """Wait for a message or the end of a worker; False once there is nothing more to do."""
        asked = self._control.fileno()
        ready, _, _ = select.select([asked, self._woken], [], [])
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, LONGEST)
            self._reap()
        if asked not in ready:
            return True
        data, descriptors = _receive(self._control)
        if not data:
            return False
        request = json.loads(data)
        if "import" in request:
            worker.import_all(request["import"])
            gc.collect()
            gc.freeze()  # so that the collector does not touch, and copy, what workers share
            return True
        return self._fork(descriptors)

    def _fork(self, descriptors: list[int]) -> bool:
        requests, answers, output, ended = descriptors
        if len(os.listdir("/proc/self/task")) > 1:
            _send(self._control, {"refused": "a package has started threads"})
            for descriptor in descriptors:
                os.close(descriptor)
            return True
        pid = os.fork()
        if pid == 0:
            self.is_worker = True
            os.setpgid(0, 0)
            self._become_worker(requests, answers, output)
            os.close(ended)
            return False
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # here too: whoever gets the number may kill the group at once
        self._ended[pid] = ended
        for descriptor in (requests, answers, output):
            os.close(descriptor)
        _send(self._control, {"pid": pid})
        return True

    def _reap(self) -> None:
        for pid in list(self._ended):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                ended = self._ended.pop(pid)
                with contextlib.suppress(OSError):
                    os.write(ended, str(code).encode())
                os.close(ended)

    def _become_worker(self, requests: int, answers: int, output: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for descriptor in (self._woken, self._wake, *self._ended.values()):
            os.close(descriptor)
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        os.close(requests)
        os.close(answers)
        sys.argv[2] = str(output)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the service has ended
        control.send(json.dumps(message).encode())


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; no bytes if the other end was closed."""
    found = array.array("i")
    try:
        data, more, _, _ = control.recvmsg(LONGEST, socket.CMSG_LEN(DESCRIPTORS * found.itemsize))
    except OSError:
        return b"", []
    for level, kind, content in more:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return data, list(found)
