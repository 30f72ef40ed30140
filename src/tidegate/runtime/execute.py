"""One run: claim it, stage its inputs, run Tsdat, publish the products, record the result.

Nothing here knows whether a file is in a folder or in a bucket, or where Tsdat runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
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
from tidegate.runtime.disk_space import explain_full_disk, is_full_disk
from tidegate.runtime.empty_variables import only_new
from tidegate.runtime.key_locks import KeyLocks
from tidegate.runtime.log import LOG, RAW, RunLog
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.product_checks import empty_failure
from tidegate.runtime.protocols import Claim, ClaimLost, Executor, QueuedRun, Target
from tidegate.runtime.publish import keys_to_change, publish
from tidegate.runtime.runs import Failure, FailureKind, Run, RunRecord
from tidegate.runtime.split import split
from tidegate.runtime.stage import remove, stage, work_folder
from tidegate.runtime.task import Limits, Outcome, Task

logger = logging.getLogger(__name__)

LEASE_MARGIN = timedelta(minutes=2)
"""A lease is this much longer than the config's timeout: staging and publishing take time too."""


@dataclass(frozen=True)
class Context:
    """Everything that carrying out a run needs besides the run."""

    manifest: Manifest
    """The configs."""
    target: Target
    """Where inputs come from, and where products and records go."""
    executor: Executor
    """Runs Tsdat on a staged run."""
    owner: str
    """The name under which runs are claimed; no other process has it."""
    work: Path
    """The folder in which each run gets its work folder."""
    keep_log: Callable[[RunRecord, Path], str]
    """Keeps the log of a run; returns where."""
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    """The clock."""
    discard: Callable[[Path], None] = remove
    """Removes a work folder after its run was recorded."""
    publishing: KeyLocks = field(default_factory=KeyLocks)
    """The keys of products that are being published, until that is on record."""


def execute(queued: QueuedRun, context: Context) -> RunRecord | Claim:
    """Claim one run, carry it out and record the result.

    Returns the record, or the refused claim when the run is not ours to carry out. Whatever the
    run's input, code or config did is in the record; it is never raised.

    Raises:
        StorageError, LedgerError: the ledger cannot be read or written.
        Interrupted: the executor was stopped; the run stays claimed until its lease ends.
    """
    config = context.manifest.config(queued.run.config)
    claim = _claim(queued.run, config, context)
    if not claim.granted or claim.record is None:
        return claim
    record, started = claim.record, time.monotonic()
    try:
        if claim.owner_died and queued.deliveries > config.retries:
            record = replace(record, state="failed", failure=_DIED)
            record = _ended(record, context, started)
            context.target.ledger.finish(record)
            return record
        with ExitStack() as afterwards:
            try:
                work = afterwards.enter_context(work_folder(context.work, record, context.discard))
                record = _carry_out(record, config, context, work, afterwards)
                record = split(record, config)
                record = _keep_log(record, context, work / LOG)
                if record.failure is not None:
                    remove(work)  # if it filled the disk, there must be room for the record
            except StorageError as error:  # the work folder could not be made
                failure = explain_full_disk(_failure("transient", error), context.work)
                record = _failed(record, config, failure)
            record = _ended(record, context, started)
            context.target.ledger.finish(record)
    except ClaimLost:
        logger.warning(
            "another owner took over the run", extra={"action": "claim_lost", "run": record.key}
        )
        return Claim(False, "busy", busy_until=context.now() + _lease(config))
    return record


_DIED = Failure(
    "transient",
    "the function died each time that it ran this",
    next="look into its log on CloudWatch; most likely it needs more `memory`",
)


def _lease(config: Config) -> timedelta:
    return timedelta(seconds=config.timeout) + LEASE_MARGIN


def _claim(run: Run, config: Config, context: Context) -> Claim:
    return context.target.ledger.claim(
        run,
        owner=context.owner,
        lease=_lease(config),
        now=context.now(),
        release=context.manifest.release(config),
    )


def _carry_out(
    record: RunRecord, config: Config, context: Context, work: Path, afterwards: ExitStack
) -> RunRecord:
    """Stage, run and publish; what goes wrong ends up in the record and in the run's log.

    ``afterwards`` is closed once the result is on record: until then nobody else may publish these
    products.
    """
    log = _open_log(record, config, work)
    try:
        with _stopwatch() as staging:
            task = stage(context.target, config, record, work)
        outcome = _perform(task, Limits.of(config), context.executor, log)
        record = _with_outcome(record, outcome, {"stage": staging(), **outcome.seconds})
        if outcome.failure is not None:
            failure = explain_full_disk(outcome.failure, work)
            log.write("ERROR", "failed", failure.message)
            return _failed(record, config, failure)
        outcome = replace(outcome, products=only_new(context.target.ledger, outcome.products))
        empty = empty_failure(record, config, outcome.products)
        if empty is not None:
            log.write("ERROR", "failed", empty.message)
            return _failed(record, config, empty)
        keys = keys_to_change(context.target.ledger, record, outcome.products)
        afterwards.enter_context(context.publishing.holding(keys))
        if any(context.target.inputs.replaced(input) for input in record.run.inputs):
            raise InputChanged("the input was replaced while it was being processed")
        with _stopwatch() as publishing:
            record = publish(
                context.target, record, outcome.products, work, context.now(), config.on_empty
            )
        record = replace(record, seconds={**record.seconds, "publish": publishing()})
        return replace(record, state="succeeded" if outcome.products else "empty")
    except InputChanged as error:
        log.write("WARNING", "superseded", str(error))
        return _without_its_input(record, config, context, error)
    except ConfigurationError as error:  # such as a file larger than the function's disk
        log.write("ERROR", "configuration", str(error))
        return _failed(record, config, _failure("configuration", error))
    except StorageError as error:
        log.write("ERROR", "storage", str(error))
        # Some products may have been published already: the next attempt must know which.
        noted = context.target.ledger.record(record.key)
        record = replace(record, publishing=noted.publishing if noted else record.publishing)
        return _failed(record, config, explain_full_disk(_failure("transient", error), work))
    finally:
        log.absorb(work / RAW)
        log.close()


def _open_log(record: RunRecord, config: Config, work: Path) -> RunLog:
    names = {"run": record.key[:12], "pipeline": config.pipeline, "config": config.name}
    try:
        return RunLog(work / LOG, names)
    except OSError as error:
        raise StorageError("cannot write the run's log", why=str(error)) from error


def _perform(task: Task, limits: Limits, executor: Executor, log: RunLog) -> Outcome:
    """Run Tsdat; a worker that was stopped or died becomes a failure of the run."""
    kinds: Mapping[type[Exception], FailureKind] = {
        RunTimeout: "timeout",
        RunOutOfMemory: "out-of-memory",
        WorkerLost: "transient",
        PythonEnvironmentError: "transient",
        ConfigurationError: "configuration",
    }
    try:
        return executor.perform(task, limits)
    except tuple(kinds) as error:
        log.write("ERROR", "worker", str(error))
        return Outcome(failure=_failure(kinds[type(error)], error))


def _without_its_input(
    record: RunRecord, config: Config, context: Context, error: InputChanged
) -> RunRecord:
    """The record of a run whose input was changed or removed by someone."""
    if _outdated(record.run, context):
        return replace(record, state="superseded", failure=_failure("transient", error))
    next_step = "run again what makes that product (`tidegate reprocess`), or restore it"
    return _failed(record, config, replace(_failure("bad-input", error), next=next_step))


def _outdated(run: Run, context: Context) -> bool:
    """Whether the run's inputs are another version by now, or a raw file is gone.

    A product that is in the ledger but not in the outputs is neither: someone removed it, and no
    other run will follow from that.
    """
    ledger = context.target.ledger
    present = ledger.products_at(ref.key for ref in run.products)
    changed = any(ref.key not in present or present[ref.key].ref != ref for ref in run.products)
    return changed or bool(run.inputs)


def _failure(kind: FailureKind, error: Exception) -> Failure:
    what = getattr(error, "what", str(error))
    why = getattr(error, "why", "")
    return Failure(
        kind,
        f"{what}: {why}" if why else what,
        where=getattr(error, "where", ""),
        next=getattr(error, "next", ""),
    )


def _with_outcome(record: RunRecord, outcome: Outcome, seconds: Mapping[str, float]) -> RunRecord:
    return replace(
        record,
        plots_failed=outcome.plots_failed,
        warnings=outcome.warnings,
        seconds=seconds,
        peak_memory=outcome.peak_memory,
    )


def _failed(record: RunRecord, config: Config, failure: Failure) -> RunRecord:
    """A transient failure is tried again, up to ``retries`` times; any other is final.

    A full disk is not counted: it is tried again until there is room.
    """
    again = failure.kind == "transient" and record.tries <= config.retries
    again = again or is_full_disk(failure)
    return replace(record, state="retrying" if again else "failed", failure=failure)


def _keep_log(record: RunRecord, context: Context, log: Path) -> RunRecord:
    """Keep the log; without it, what the run has published must still be recorded."""
    try:
        return replace(record, log=context.keep_log(record, log))
    except (OSError, StorageError) as error:
        return replace(record, warnings=(*record.warnings, f"the log could not be kept: {error}"))


def _ended(record: RunRecord, context: Context, started: float) -> RunRecord:
    seconds = {**record.seconds, "total": time.monotonic() - started}
    rounded = {name: round(value, 4) for name, value in seconds.items()}
    return replace(record, finished=context.now(), seconds=rounded)


class _stopwatch:
    """After ``with _stopwatch() as elapsed: …``, ``elapsed()`` is how long the block took, s."""

    def __enter__(self) -> Callable[[], float]:
        self._began, self._took = time.monotonic(), 0.0
        return lambda: self._took

    def __exit__(self, *exc: object) -> None:
        self._took = time.monotonic() - self._began
