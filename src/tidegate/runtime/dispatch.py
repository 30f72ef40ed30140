"""START HERE: one arrival, from event to ledger, on one page.

    arrival ─▶ select ─▶ claim ─▶ stage ─▶ run tsdat ─▶ publish ─▶ record

The same on every target: ``target`` supplies inputs, outputs and the ledger, ``perform`` carries
the staged run out. Nothing here knows whether a file lies in a folder or in a bucket.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tidegate.errors import (
    ConfigurationError,
    InputChanged,
    PythonEnvironmentError,
    RunOutOfMemory,
    RunTimeout,
    StorageError,
    WorkerLost,
)
from tidegate.runtime.events import Event
from tidegate.runtime.log import LOG, RAW, RunLog
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Claim, ClaimLost, Target
from tidegate.runtime.publish import publish
from tidegate.runtime.runs import Failure, FailureKind, Run, RunRecord
from tidegate.runtime.select import select
from tidegate.runtime.stage import remove, stage, work_folder
from tidegate.runtime.task import Outcome, Perform

logger = logging.getLogger(__name__)

_LOST_PRODUCT = "run again what makes that product (`tidegate reprocess`), or put it back"

LEASE_MARGIN = timedelta(minutes=2)
"""A lease outlasts its config's timeout by this: staging and publishing happen inside it too."""


@dataclass(frozen=True)
class Context:
    """All that carrying out a run needs besides the run."""

    manifest: Manifest
    """The configs."""
    target: Target
    """Where inputs come from and products and records go to."""
    perform: Perform
    """Carries a staged run out."""
    owner: str
    """Who claims: a name of this process that no other has."""
    work: Path
    """The folder for work folders."""
    keep_log: Callable[[RunRecord, Path], str]
    """Keeps the log of a run; returns where."""
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    """The clock."""
    discard: Callable[[Path], None] = remove
    """Takes a work folder away once its run is on record."""


def handle(event: Event, context: Context) -> list[RunRecord]:
    """Carry out all that ``event`` calls for; returns the records of what was not done before."""
    selection = select(context.manifest.configs, event, context.target.ledger, now=context.now())
    records = [execute(run, context) for run in selection.runs]
    for name, value in selection.state:
        context.target.ledger.set_state(name, value)
    return [record for record in records if record is not None]


def execute(run: Run, context: Context) -> RunRecord | None:
    """Claim one run, carry it out and record what became of it; None when it is not ours to do.

    Never raises for anything that the run's input, code or config did. A state of ``retrying``
    tells the caller to come back.
    """
    config = context.manifest.config(run.config)
    claim = _claim(run, config, context)
    if not claim.granted or claim.record is None:
        return None
    record, started = claim.record, time.monotonic()
    try:
        with ExitStack() as afterwards:
            try:
                work = afterwards.enter_context(work_folder(context.work, record, context.discard))
                record = _carry_out(record, config, context, work)
                record = _with_log(record, context, work / LOG)
                if record.failure is not None:
                    remove(work)  # what filled the disk must not keep the record out of it
            except StorageError as error:  # the work folder itself could not be made
                record = _failed(record, config, _failure("transient", error))
            record = _ended(record, context, {"total": time.monotonic() - started})
            context.target.ledger.finish(record)
    except ClaimLost:
        logger.warning(
            "another owner took the run over", extra={"action": "claim_lost", "run": run.key}
        )
        return None
    return record


def _with_log(record: RunRecord, context: Context, log: Path) -> RunRecord:
    """Keep the log; that it cannot be kept is no reason to forget what the run has published."""
    try:
        return replace(record, log=context.keep_log(record, log))
    except (OSError, StorageError) as error:
        return replace(record, warnings=(*record.warnings, f"the log could not be kept: {error}"))


def _claim(run: Run, config: Config, context: Context) -> Claim:
    return context.target.ledger.claim(
        run,
        owner=context.owner,
        lease=timedelta(seconds=config.timeout) + LEASE_MARGIN,
        now=context.now(),
        release=context.manifest.release(config),
    )


def _carry_out(record: RunRecord, config: Config, context: Context, work: Path) -> RunRecord:
    """Stage, run and publish; what goes wrong ends up in the record and in its log."""
    try:
        log = RunLog(
            work / LOG,
            {"run": record.key[:12], "pipeline": config.pipeline, "config": config.name},
        )
    except OSError as error:
        raise StorageError("cannot write the run's log", why=str(error)) from error
    try:
        with _clock() as staging:
            task = stage(context.target, config, record, work)
        outcome = _perform(task_perform=lambda: context.perform(task), log=log)
        seconds = {"stage": staging(), **outcome.seconds}
        record = _with(record, outcome, seconds)
        if outcome.failure is not None:
            log.write("ERROR", "failed", outcome.failure.message)
            return _failed(record, config, outcome.failure)
        if any(context.target.inputs.replaced(input) for input in record.run.inputs):
            raise InputChanged("the input was replaced while it was being processed")
        with _clock() as publishing:
            record = publish(context.target, record, outcome.products, work, context.now())
        record = replace(record, seconds={**record.seconds, "publish": publishing()})
        return replace(record, state="succeeded" if record.products else "empty")
    except InputChanged as error:
        log.write("WARNING", "superseded", str(error))
        if _outdated(record.run, context):
            return replace(record, state="superseded", failure=_failure("transient", error))
        failure = replace(_failure("bad-input", error), next=_LOST_PRODUCT)
        return _failed(record, config, failure)
    except ConfigurationError as error:  # such as a file larger than the function's disk
        log.write("ERROR", "configuration", str(error))
        return _failed(record, config, _failure("configuration", error))
    except StorageError as error:
        log.write("ERROR", "storage", str(error))
        # What was about to be published may be there in part: the next attempt must know of it.
        noted = context.target.ledger.record(record.key)
        record = replace(record, publishing=noted.publishing if noted else record.publishing)
        return _failed(record, config, _failure("transient", error))
    finally:
        log.absorb(work / RAW)
        log.close()


def _outdated(run: Run, context: Context) -> bool:
    """Whether another version of what the run is about is there, or at least this one is gone.

    A product that is on record, but no longer in its place, is neither: someone took it away, and
    no other run will come of that.
    """
    ledger = context.target.ledger
    present = ledger.products_at(ref.key for ref in run.products)
    changed = any(ref.key not in present or present[ref.key].ref != ref for ref in run.products)
    return changed or bool(run.inputs)


def _perform(*, task_perform: Callable[[], Outcome], log: RunLog) -> Outcome:
    """Run Tsdat, with the ways in which a whole worker can end told as failures."""
    kinds: Mapping[type[Exception], FailureKind] = {
        RunTimeout: "timeout",
        RunOutOfMemory: "out-of-memory",
        WorkerLost: "transient",
        PythonEnvironmentError: "transient",
        ConfigurationError: "configuration",
    }
    try:
        return task_perform()
    except tuple(kinds) as error:
        log.write("ERROR", "worker", str(error))
        return Outcome(failure=_failure(kinds[type(error)], error))


def _failure(kind: FailureKind, error: Exception) -> Failure:
    what = getattr(error, "what", str(error))
    why = getattr(error, "why", "")
    return Failure(
        kind,
        f"{what}: {why}" if why else what,
        where=getattr(error, "where", ""),
        next=getattr(error, "next", ""),
    )


def _with(record: RunRecord, outcome: Outcome, seconds: Mapping[str, float]) -> RunRecord:
    return replace(
        record,
        plots_failed=outcome.plots_failed,
        warnings=outcome.warnings,
        seconds=seconds,
        peak_memory=outcome.peak_memory,
    )


def _failed(record: RunRecord, config: Config, failure: Failure) -> RunRecord:
    """A passing reason is tried again, up to ``retries`` times; any other is final."""
    again = failure.kind == "transient" and record.tries <= config.retries
    return replace(record, state="retrying" if again else "failed", failure=failure)


def _ended(record: RunRecord, context: Context, seconds: Mapping[str, float]) -> RunRecord:
    rounded = {name: round(value, 4) for name, value in {**record.seconds, **seconds}.items()}
    return replace(record, finished=context.now(), seconds=rounded)


class _clock:
    """``with _clock() as elapsed: …`` then ``elapsed()`` is how long it took, s."""

    def __enter__(self) -> Callable[[], float]:
        self._began, self._took = time.monotonic(), 0.0
        return lambda: self._took

    def __exit__(self, *exc: object) -> None:
        self._took = time.monotonic() - self._began


def backoff(tries: int) -> timedelta:
    """How long to wait before a run is tried again: 5 s, 20 s, 80 s, … up to 15 minutes."""
    seconds: int = 5 * 4 ** min(tries - 1, 8)
    return min(timedelta(seconds=seconds), timedelta(minutes=15))
