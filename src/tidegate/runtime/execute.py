"""One run: claim it, carry out an attempt of it, record the result.

Nothing here knows whether a file is in a folder or in a bucket, or where Tsdat runs.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.attempt import Attempt, failed, failure_from
from tidegate.runtime.context import Context, lease_of
from tidegate.runtime.disk_space import explain_full_disk
from tidegate.runtime.log import LOG
from tidegate.runtime.protocols import Claim, ClaimLost, Overtaken, QueuedRun
from tidegate.runtime.runs import Failure, RunRecord
from tidegate.runtime.split import split
from tidegate.runtime.stage import remove, work_folder

logger = logging.getLogger(__name__)


def execute(queued: QueuedRun, context: Context) -> RunRecord | Claim:
    """Claim one run, carry it out and record the result.

    Returns the record, or the refused claim when the run is not ours to carry out. Whatever the
    run's input, code or config did is in the record; it is never raised.

    Raises:
        StorageError, LedgerError: the ledger cannot be read or written.
        Interrupted: the executor was stopped; the run stays claimed until its lease ends.
    """
    config = context.manifest.config(queued.run.config)
    claim = context.claim(queued.run)
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
                record = Attempt(record, config, context, work).carry_out(afterwards)
                record = split(record, config)
                record = _keep_log(record, context, work / LOG)
                if record.failure is not None:
                    remove(work)  # if it filled the disk, there must be room for the record
            except StorageError as error:  # the work folder could not be made
                failure = explain_full_disk(failure_from("transient", error), context.work)
                record = failed(record, config, failure)
            record = _ended(record, context, started)
            try:
                context.target.ledger.finish(record)
            except Overtaken as error:
                record = _overtaken(record, error)
                context.target.ledger.finish(record)
    except ClaimLost:
        logger.warning(
            "another owner took over the run", extra={"action": "claim_lost", "run": record.key}
        )
        return Claim(False, "busy", busy_until=context.now() + lease_of(config))
    return record


OVERTAKEN = "another run published the same product at the same time"


def was_overtaken(record: RunRecord) -> bool:
    """Whether a run is tried again because another one published the same product meanwhile."""
    failure = record.failure
    return record.state == "retrying" and failure is not None and OVERTAKEN in failure.message


def _overtaken(record: RunRecord, error: Overtaken) -> RunRecord:
    failure = Failure("transient", f"{OVERTAKEN}: {error}", next="it is run again by itself")
    # What it has published stays noted as that in the ledger, for the next attempt.
    return replace(
        record, state="retrying", failure=failure, products=(), replaces=(), retired=(), warnings=()
    )


_DIED = Failure(
    "transient",
    "the function died each time that it ran this",
    next="look into its log on CloudWatch; most likely it needs more `memory`",
)


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
