"""A real Dask scheduler and real Dask workers on this machine, on free ports of the loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.deploy.emulator import guard

WATCHDOG = str(Path(guard.__file__))
READY = 120.0
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class Watched:
    """A process that ends with the tests, however those end."""

    def __init__(self, *command: str, log: Path, cwd: Path, **environment: str) -> None:
        with log.open("ab") as file:
            self._watchdog = subprocess.Popen(
                [sys.executable, WATCHDOG, sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd=cwd,
                env={**os.environ, **SETTINGS, **environment},
            )

    @property
    def pid(self) -> int:
        """The process itself, which the watchdog has started."""
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError, IndexError):
                children = Path(f"/proc/{self._watchdog.pid}/task/{self._watchdog.pid}/children")
                return int(children.read_text().split()[0])
            time.sleep(0.05)
        raise AssertionError("the process did not start")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would, and wait for that."""
        self.signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """End it and all that it has started."""
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait(READY)


@dataclass
class DaskProcesses:
    """A scheduler and its workers."""

    folder: Path
    port: int = 0
    scheduler: Watched | None = None
    workers: list[Watched] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """Start it, at the same address as the one before, and wait until it listens."""
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self.scheduler = self._start("scheduler", "-m", "distributed.cli.dask_scheduler", *where)
        deadline = time.monotonic() + READY
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < deadline, "the scheduler does not listen"
            time.sleep(0.05)

    def start_worker(self, *arguments: str, **environment: str) -> Watched:
        """Start a worker with one thread; does not wait for it."""
        name = f"worker-{len(self.workers)}"
        plain = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        worker = self._start(
            name,
            "-m",
            "distributed.cli.dask_worker",
            self.address,
            *plain,
            *arguments,
            **environment,
        )
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """End all of them."""
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.end()
        self.workers, self.scheduler = [], None

    def _start(self, name: str, *command: str, **environment: str) -> Watched:
        place = self.folder / name  # a local folder of its own, as each machine has
        place.mkdir(exist_ok=True)
        extra = {"TMPDIR": str(place), **environment}
        return Watched(*command, log=self.folder / f"{name}.log", cwd=place, **extra)
