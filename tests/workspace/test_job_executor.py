"""Which executor the command uses that goes on with a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.runtime.jobs import Job
from tidegate.targets.local.job_queue import JobQueue
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace import jobs as module
from tidegate.workspace.executor_choice import NOTHING_SAID, ExecutorArguments, to_record
from tidegate.workspace.jobs import LocalJobs
from tidegate.workspace.session import RunOptions

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
BEGUN = ExecutorArguments(dask_scheduler="tcp://head:8786", dask_max=20)
OTHER = ExecutorArguments("process")


@dataclass
class Session:
    """What ``LocalJobs`` reads of a session in which no service runs."""

    record: SqliteLedger
    run_options: RunOptions
    loaded: Any = field(
        default_factory=lambda: SimpleNamespace(workspace=SimpleNamespace(busy=lambda: False))
    )

    def ledger(self) -> Any:
        return nullcontext(self.record)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """A ledger with a job that is paused."""
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        ledger.jobs.add(Job("abc123", NOW, (("tiny/one",),), executor=to_record(BEGUN)))
        JobQueue(ledger).pause("abc123", NOW)
        yield ledger


def test_it_uses_the_one_of_the_beginning_unless_another_is_named(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[ExecutorArguments] = []

    @contextmanager
    def service(*arguments: Any, executor: ExecutorArguments) -> Iterator[Any]:
        used.append(executor)
        yield SimpleNamespace(stop=lambda: None)

    monkeypatch.setattr(module.commands, "service", service)
    for said in (NOTHING_SAID, OTHER, NOTHING_SAID):
        jobs = LocalJobs(Session(ledger, RunOptions(executor=said)))  # type: ignore[arg-type]
        assert jobs.resume("abc123").state == "running"
        with jobs.carrying_out("abc123", lambda job: None, lambda record: None, print):
            pass
        jobs.pause("abc123")
    assert used == [BEGUN, OTHER, OTHER]  # what was said last is kept
