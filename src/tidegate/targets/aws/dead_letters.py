"""Dead letters become failed runs in the ledger, where they are found, shown and tried again.

SQS deletes dead letters after 14 days at most. Messages that name no run (of schedules, or not
readable) stay in their queue: a schedule's next time does what this one should have done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tidegate.runtime.events import FileArrived, Requested
from tidegate.runtime.ledger_rules import is_new_request
from tidegate.runtime.records import loads
from tidegate.runtime.runs import FINISHED, Failure, Run
from tidegate.runtime.select import takes
from tidegate.targets.aws import messages
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.left_messages import LeftMessage, left_messages, remove
from tidegate.targets.aws.messages import (
    FunctionScope,
    Ignored,
    StoredRun,
    UnreadableMessage,
    WorkWaits,
)
from tidegate.targets.aws.requests import count_messages

_LEASE = timedelta(minutes=5)
_OWNER = "dead letters"


def record_dead_letters(
    queue: str,
    scope: FunctionScope,
    ledger: DynamoLedger,
    clients: Clients,
    log: Any,
    now: datetime,
) -> int:
    """Record dead letters of a config as failures, and delete these; returns how many are left.

    Raises:
        StorageError, LedgerError: AWS does not answer, or denies it.
    """
    there = count_messages(queue, clients)[0]
    recorded = 0
    for message in left_messages(queue, there, clients):
        if _is_recorded(message, scope, ledger, now):
            remove(message, queue, clients)
            recorded += 1
        else:
            log.error(
                f"{scope.config.id}: a dead letter names no run, and stays in its queue",
                extra={"action": "dead_letter", "body": message.body[:2000]},
            )
    return there - recorded


def _is_recorded(
    message: LeftMessage, scope: FunctionScope, ledger: DynamoLedger, now: datetime
) -> bool:
    """Whether the ledger has all that a dead letter says, so that it is no longer needed."""
    try:
        contents = messages.read(message.body, message.sent, scope)
        runs = [run for content in contents for run in _runs(content, scope, ledger)]
    except UnreadableMessage:
        return False
    recorded = [_record_failure(run, ledger, now) for run in runs]
    return all(recorded)


def _runs(content: messages.Content, scope: FunctionScope, ledger: DynamoLedger) -> Iterator[Run]:
    """The runs that a message is about."""
    if isinstance(content, Requested):
        yield from content.runs
    elif isinstance(content, StoredRun):
        text = ledger.state(content.name)
        if text is None:
            raise UnreadableMessage(f"the ledger has nothing under {content.name}")
        yield loads(Run, text)
    elif isinstance(content, FileArrived) and content.input.version:
        # If files belong together, the run of the group has this file as a subject, too.
        if takes(scope.config, content.input.key):
            yield Run(scope.config.id, inputs=(content.input,), arrived=content.at)
    elif not isinstance(content, (Ignored, WorkWaits)):
        raise UnreadableMessage("it names no run")


def _record_failure(run: Run, ledger: DynamoLedger, now: datetime) -> bool:
    """Record a run as failed, unless what became of it is on record; False if it is running."""
    own = ledger.record(run.key)
    if (
        own is not None
        and own.state in FINISHED
        and (own.state == "failed" or not is_new_request(run, own))
    ):
        return True
    for other in ledger.about(run.config, run.subjects[0], but=run.key):
        if other.state in FINISHED and other.started > (run.arrived or now):
            return True
    claim = ledger.claim(run, owner=_OWNER, lease=_LEASE, now=now, release="")
    if claim.record is None or not claim.granted:
        return False
    failure = (own.failure if own else None) or Failure(
        "transient",
        "it was delivered to the function again and again, until SQS gave it up",
        next="look for the cause with `tidegate logs --target aws`, then `tidegate retry`",
    )
    ledger.finish(replace(claim.record, state="failed", failure=failure, finished=now))
    return True
