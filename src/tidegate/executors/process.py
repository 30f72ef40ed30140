"""Runs in worker processes on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tidegate.executors.options import ExecutorOptions
from tidegate.runtime.process import WorkerProcess, fork_server_for, is_worn
from tidegate.runtime.protocols import Interrupted
from tidegate.runtime.task import Limits, Outcome, Task

NewWorker = Callable[[Sequence[str], Path], WorkerProcess]


@dataclass(frozen=True)
class _Job:
    """A task that waits for a worker."""

    task: Task
    limits: Limits
    result: Future[Outcome] = field(default_factory=Future)


class ProcessExecutor:
    """Several worker processes; see ``Executor``.

    Each worker has a thread that starts it and feeds it, and that lives as long as the executor:
    Linux kills a worker together with the thread that started it.
    """

    def __init__(self, options: ExecutorOptions, new_worker: NewWorker | None = None) -> None:
        """``new_worker`` makes workers that are not forked from one process."""
        self._runs_per_worker = options.runs_per_worker
        self._server = fork_server_for(options.python, options.repository)
        new_worker = new_worker or partial(WorkerProcess, server=self._server)
        self._workers = [
            new_worker(options.python, options.repository) for _ in range(options.workers)
        ]
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._interrupted = threading.Event()
        self._busy: set[WorkerProcess] = set()

    @property
    def slots(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def capacity(self) -> int:
        """The same: workers do not come and go."""
        return self.slots

    def expect(self, runs: int) -> None:
        """See ``Executor.expect``; there are no more workers to get."""

    def start(self) -> None:
        """Start the threads; a worker process starts with its first task."""
        for number, worker in enumerate(self._workers):
            name = f"tidegate-worker-{number}"
            thread = threading.Thread(target=self._serve, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def perform(self, task: Task, limits: Limits) -> Outcome:
        """Hand a task to a free worker and wait for the outcome; see ``Executor.perform``."""
        job = _Job(task, limits)
        with self._lock:
            if self._interrupted.is_set():
                raise Interrupted
            self._jobs.put(job)
        return job.result.result()

    def interrupt(self) -> None:
        """Kill the workers that are at work; each ``perform`` raises Interrupted."""
        with self._lock:
            self._interrupted.set()
        self._server.interrupt()
        for worker in list(self._busy):
            worker.interrupt()

    def close(self) -> None:
        """Interrupt, and end the threads and workers."""
        self.interrupt()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            while thread.is_alive():
                self.interrupt()  # again: a worker may have been starting when it was called
                thread.join(0.1)
        self._threads.clear()
        self._server.close()

    def _serve(self, worker: WorkerProcess) -> None:
        while (job := self._jobs.get()) is not None:
            self._run(worker, job)
            if is_worn(worker, job.limits.memory, self._runs_per_worker):
                worker.close()
        worker.close()

    def _run(self, worker: WorkerProcess, job: _Job) -> None:
        self._busy.add(worker)
        try:
            if self._interrupted.is_set():
                raise Interrupted
            outcome = worker.perform(job.task, job.limits)
        except BaseException as error:
            self._busy.discard(worker)
            job.result.set_exception(Interrupted() if self._interrupted.is_set() else error)
        else:
            self._busy.discard(worker)
            job.result.set_result(outcome)
