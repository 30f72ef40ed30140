"""One attempt of a claimed run: stage its inputs, run Tsdat, publish the products."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tidegate.errors import (
    ConfigurationError,
    InputChanged,
    NodeLost,
    PythonEnvironmentError,
    RunOutOfMemory,
    RunTimeout,
    StorageError,
    WorkerLost,
)
from tidegate.runtime.companion_hint import with_companion_hint
from tidegate.runtime.context import Context
from tidegate.runtime.disk_space import explain_full_disk, is_full_disk
from tidegate.runtime.empty_variables import only_new
from tidegate.runtime.log import LOG, RAW, RunLog
from tidegate.runtime.manifest import Config
from tidegate.runtime.product_checks import empty_failure
from tidegate.runtime.protocols import Executor
from tidegate.runtime.publish import keys_to_change, publish
from tidegate.runtime.runs import Failure, FailureKind, Run, RunRecord
from tidegate.runtime.stage import empty_work_folder, stage
from tidegate.runtime.task import Limits, Outcome, Task
from tidegate.runtime.withdrawal import keys_to_withdraw, withdraw

_FRESH = "failed on a worker that earlier runs had used: run again on a fresh one"
_CODE_CHANGED = "the pipeline's code was changed while the run went on"
_MOST_CODE_CHANGES = 3
"""How many times a run is repeated because its code has changed; a pipeline that writes to its own
folder changes its code in each run."""


class _CodeChanged(Exception):
    """The run is to be repeated with the new code."""


class Attempt:
    """One attempt of a run that is ours. ``record`` says what became of it so far."""

    def __init__(self, record: RunRecord, config: Config, context: Context, work: Path) -> None:
        """``work`` is its empty work folder."""
        self.record = record
        self._config = config
        self._context = context
        self._work = work
        self._log = _open_log(record, config, work)

    def carry_out(self, afterwards: ExitStack) -> RunRecord:
        """Stage, run and publish; what goes wrong ends up in the record and in the run's log.

        ``afterwards`` is closed once the result is on record: until then nobody else may publish
        these products.

        Raises:
            ClaimLost: another owner has taken over the run.
            Interrupted: the executor was stopped.
        """
        log = self._log
        try:
            if self.record.run.withdrawn:
                return self._withdraw(afterwards)
            outcome = self._run()
            self._check_code()
            failure = outcome.failure and explain_full_disk(outcome.failure, self._work)
            ledger = self._context.target.ledger
            outcome = replace(outcome, products=only_new(ledger, outcome.products))
            failure = failure or empty_failure(self.record, self._config, outcome.products)
            if failure is not None:
                inputs = self._context.target.inputs
                failure = with_companion_hint(failure, self.record.run, inputs)
                log.write("ERROR", "failed", failure.message)
                return self._failed(failure)
            self._publish(outcome, afterwards)
            return replace(self.record, state="succeeded" if outcome.products else "empty")
        except _CodeChanged:
            log.write("WARNING", "code", _CODE_CHANGED)
            failure = Failure("transient", _CODE_CHANGED, next="it is run again with the new code")
            return replace(self.record, state="retrying", failure=failure)
        except InputChanged as error:
            log.write("WARNING", "superseded", str(error))
            return self._without_its_input(error)
        except ConfigurationError as error:  # such as a file larger than the function's disk
            log.write("ERROR", "configuration", str(error))
            return self._failed(failure_from("configuration", error))
        except StorageError as error:
            log.write("ERROR", "storage", str(error))
            # Some products may have been published already: the next attempt must know which.
            noted = self._context.target.ledger.record(self.record.key)
            if noted is not None:
                self.record = replace(self.record, publishing=noted.publishing)
            return self._failed(explain_full_disk(failure_from("transient", error), self._work))
        finally:
            log.absorb(self._work / RAW)
            log.close()

    def _run(self) -> Outcome:
        """Run Tsdat; once more on a fresh worker, if a failure may come from earlier runs."""
        with _stopwatch() as staging:
            task = stage(self._context.target, self._config, self.record, self._work)
        limits, began = Limits.of(self._config), time.monotonic()
        outcome = self._perform(task, limits)
        took = time.monotonic() - began
        # Both together may take no longer than one run: the lease does not last for more.
        if self._may_come_from_earlier_runs(outcome) and took < limits.timeout / 2:
            self._log.write("WARNING", "worker", _FRESH)
            self._log.absorb(self._work / RAW)
            empty_work_folder(self._work)
            task = stage(self._context.target, self._config, self.record, self._work)
            limits = replace(limits, timeout=limits.timeout - took)
            outcome = self._perform(replace(task, fresh=True), limits)
            if outcome.failure is not None:
                confirmed = self._context.confirmed
                confirmed.add(self._config.id, self.record.release, outcome.failure)
        seconds = {"stage": staging(), **outcome.seconds}
        self.record = _with_outcome(self.record, outcome, seconds)
        return outcome

    def _perform(self, task: Task, limits: Limits) -> Outcome:
        return _perform(task, limits, self._context.executor, self._log)

    def _may_come_from_earlier_runs(self, outcome: Outcome) -> bool:
        """Whether a failure may be due to what earlier runs have left in the worker.

        Not one that fresh workers have shown before: else a series of bad files would be slow.
        """
        failure = outcome.failure
        return (
            outcome.used_worker
            and failure is not None
            and failure.kind in ("bad-input", "configuration", "environment")
            and not self._context.confirmed.covers(self._config.id, self.record.release, failure)
        )

    def _check_code(self) -> None:
        """Have the run repeated if its code has changed: it may have used both versions."""
        if not self._context.code_changed(self._config):
            return
        if self.record.tries <= _MOST_CODE_CHANGES:
            raise _CodeChanged
        warning = f"{_CODE_CHANGED}, each time: does the pipeline write to its own folder?"
        if warning not in self.record.warnings:
            self.record = replace(self.record, warnings=(*self.record.warnings, warning))

    def _publish(self, outcome: Outcome, afterwards: ExitStack) -> None:
        target, run = self._context.target, self.record.run
        keys = keys_to_change(target.ledger, self.record, outcome.products)
        afterwards.enter_context(self._context.publishing.holding(keys))
        if any(target.inputs.replaced(input) for input in run.files):
            raise InputChanged("the input was replaced while it was being processed")
        self._check_code()
        now, on_empty = self._context.now(), self._config.on_empty
        with _stopwatch() as publishing:
            self.record = publish(target, self.record, outcome.products, self._work, now, on_empty)
        self.record = replace(self.record, seconds={**self.record.seconds, "publish": publishing()})

    def _withdraw(self, afterwards: ExitStack) -> RunRecord:
        target = self._context.target
        keys = keys_to_withdraw(target.ledger, self.record)
        afterwards.enter_context(self._context.publishing.holding(keys))
        how, now = self._config.on_withdrawn, self._context.now()
        record = withdraw(target, self.record, how, now)
        for warning in record.warnings:
            self._log.write("WARNING", "withdrawn", warning)
        return record

    def _failed(self, failure: Failure) -> RunRecord:
        return failed(self.record, self._config, failure)

    def _without_its_input(self, error: InputChanged) -> RunRecord:
        """The record of a run whose input was changed or removed by someone."""
        if _outdated(self.record.run, self._context):
            failure = failure_from("transient", error)
            return replace(self.record, state="superseded", failure=failure)
        next_step = "run again what makes that product (`tidegate reprocess`), or restore it"
        return self._failed(replace(failure_from("bad-input", error), next=next_step))


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
        NodeLost: "transient",
        PythonEnvironmentError: "transient",
        ConfigurationError: "configuration",
    }
    try:
        return executor.perform(task, limits)
    except tuple(kinds) as error:
        log.write("ERROR", "worker", str(error))
        failure = failure_from(kinds[type(error)], error)
        if isinstance(error, NodeLost):
            failure = replace(failure, message=NODE_LOST + failure.message)
        return Outcome(failure=failure)


NODE_LOST = "the machine was lost: "
"""How the message of such a failure begins."""
_MOST_NODES_LOST = 10


def _outdated(run: Run, context: Context) -> bool:
    """Whether the run's inputs are another version by now, or a raw file is gone.

    A product that is in the ledger but not in the outputs is neither: someone removed it, and no
    other run will follow from that.
    """
    ledger = context.target.ledger
    present = ledger.products_at(ref.key for ref in run.products)
    changed = any(ref.key not in present or present[ref.key].ref != ref for ref in run.products)
    return changed or bool(run.inputs)


def failure_from(kind: FailureKind, error: Exception) -> Failure:
    """The failure to put on record for an error of Tidegate's own."""
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


def failed(record: RunRecord, config: Config, failure: Failure) -> RunRecord:
    """A transient failure is tried again, up to ``retries`` times; any other is final.

    A full disk is not counted: it is tried again until there is room. A lost machine says little
    about the run, which is tried more often.
    """
    most = config.retries
    if failure.message.startswith(NODE_LOST):
        most = max(most, _MOST_NODES_LOST)
    again = failure.kind == "transient" and record.tries <= most
    again = again or is_full_disk(failure)
    return replace(record, state="retrying" if again else "failed", failure=failure)


class _stopwatch:
    """After ``with _stopwatch() as elapsed: …``, ``elapsed()`` is how long the block took, s."""

    def __enter__(self) -> Callable[[], float]:
        self._began, self._took = time.monotonic(), 0.0
        return lambda: self._took

    def __exit__(self, *exc: object) -> None:
        self._took = time.monotonic() - self._began
