"""Withdraws the products of a VAP's window that has no inputs any more: moves or marks them.

Such a run (``Run.withdrawn``) does not call the pipeline, which would have no input.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tidegate.runtime.manifest import OnWithdrawn
from tidegate.runtime.protocols import Ledger, Target
from tidegate.runtime.publish import replaced_runs, retired_keys
from tidegate.runtime.runs import WITHDRAWN, Run, RunRecord, Window
from tidegate.runtime.wording import quantity


def withdrawn_run(
    config: str, window: Window, ledger: Ledger, arrived: datetime | None
) -> Run | None:
    """The run that withdraws what was made of a window without inputs; None if nothing was."""
    run = Run(config, window=window, arguments=(WITHDRAWN,), arrived=arrived)
    earlier = ledger.about(config, run.subjects[0], but=run.key)
    failed = bool(earlier) and earlier[0].state == "failed"
    return run if failed or any(ledger.made_by(record.key) for record in earlier) else None


def keys_to_withdraw(ledger: Ledger, record: RunRecord) -> tuple[str, ...]:
    """The keys of the products that were made of the run's window."""
    return retired_keys(ledger, record, replaced_runs(ledger, record), ())


def withdraw(target: Target, record: RunRecord, how: OnWithdrawn, now: datetime) -> RunRecord:
    """Move the products of the window aside, or mark them; returns the record for ``finish``.

    Raises:
        StorageError: the outputs cannot be written.
        ClaimLost: another owner has taken over the run.
    """
    replaces = replaced_runs(target.ledger, record)
    keys = keys_to_withdraw(target.ledger, record)
    target.ledger.intend(record.key, owner=record.owner, attempt=record.attempt, products=())
    record = replace(record, state="succeeded", replaces=replaces, publishing=())
    if not keys:
        return replace(record, state="empty")
    count = quantity(len(keys), "product")
    if how == "mark":
        marked = tuple(
            replace(product, withdrawn=True, run=record.key, made=now)
            for product in target.ledger.products_at(keys).values()
        )
        warning = f"all inputs of this window were withdrawn: {count} kept, marked as withdrawn"
        return replace(record, products=marked, warnings=(*record.warnings, warning))
    place = target.outputs.set_aside(keys)
    warning = f"all inputs of this window were withdrawn: {count} moved to {place}"
    return replace(record, retired=keys, warnings=(*record.warnings, warning))
