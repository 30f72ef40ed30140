"""The real ``tidegate up``, as a process that tells of each run as a line of JSON."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidegate.runtime.records import from_json
from tidegate.runtime.runs import RunRecord
from tidegate.workspace.folder import Workspace


@dataclass(frozen=True)
class Report:
    """A run that has ended."""

    at: float
    """When the service reported it, s since 1970: it is published and recorded by then."""
    record: RunRecord
    """What is on record."""


class Running:
    """``tidegate up`` over a workspace, from when it is made until its ``with`` block ends."""

    def __init__(self, workspace: Workspace, *options: str, workers: int = 1) -> None:
        command = [sys.executable, "-m", "tidegate", "up", str(workspace.root), *options]
        command += ["--python", sys.executable, "--workers", str(workers), "--json"]
        self._complaints = (workspace.root / "complaints.txt").open("ab")
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self.began = time.time()
        """When the process was started, s since 1970."""
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._complaints, cwd=workspace.root
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            at = time.time()
            self._reports.put(Report(at, from_json(RunRecord, json.loads(line))))
        self._reports.put(None)

    def next(self, timeout: float = 120.0) -> Report:
        """The next run that has ended, which must have succeeded."""
        report = self._reports.get(timeout=timeout)
        if report is None:
            text = Path(self._complaints.name).read_text()
            raise RuntimeError(f"the service ended by itself:\n{text}")
        if report.record.state != "succeeded":
            raise RuntimeError(
                f"{report.record.run.title}: {report.record.state} {report.record.failure}"
            )
        return report

    def next_ones(self, count: int) -> list[Report]:
        """So many runs that have ended."""
        return [self.next() for _ in range(count)]

    def rest(self, timeout: float = 600.0) -> None:
        """Wait until the process ends by itself, as with ``--once``."""
        self.process.wait(timeout)

    def cpu(self) -> float:
        """Processor time of the control process and its workers so far, s."""
        total = 0.0
        me = psutil.Process(self.process.pid)
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self._reader.join(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self._complaints.close()


def arrive(workspace: Workspace, raw: Path, root: Path) -> float:
    """Let a raw file that lies below ``root`` arrive by a rename; returns when, s since 1970."""
    place = workspace.input / raw.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    now = time.time()
    raw.replace(place)
    return now
