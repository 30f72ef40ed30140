"""START HERE: from an event to the ledger, on every target.

    arrival ─▶ select ─▶ queue ─▶ claim ─▶ stage ─▶ run Tsdat ─▶ publish ─▶ record
    └──────── submit ────────┘    └───────────────── work ─────────────────────────┘

``submit`` finds out which runs an event calls for and puts them into the queue. ``work`` carries
out one run from the queue (``execute``), and decides what happens to its entry in the queue. The
local service, the Lambda function and the commands `run`, `retry` and `reprocess` all call these
two; they differ in the stores, the queue and the executor that they pass in (``protocols``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from tidegate.runtime.context import Context
from tidegate.runtime.disk_space import is_full_disk
from tidegate.runtime.events import Event, Requested, ScheduleDue
from tidegate.runtime.execute import execute, was_overtaken
from tidegate.runtime.ledger_rules import is_new_request
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Claim, Queue, QueuedRun
from tidegate.runtime.related_files import has_related, run_of_the_rest
from tidegate.runtime.runs import FINISHED, Run, RunRecord, Window
from tidegate.runtime.scheduled_files import Room
from tidegate.runtime.select import select
from tidegate.runtime.split import next_part

logger = logging.getLogger(__name__)

REQUESTED = 1
"""The queue priority of runs that a person asked for; it is 0 for new arrivals and schedules."""
BACKLOG = -1
"""The queue priority of runs of files that were there before the service was started."""
FULL_DISK = timedelta(seconds=10)
"""How long after a run met a full disk it is tried again."""
_AFTER_LEASE = timedelta(seconds=5)


def _ignore(what: object) -> None:
    pass


def _never(config: Config, window: Window) -> bool:
    return False


@dataclass(frozen=True)
class Dispatcher:
    """Puts runs into a queue, and carries out runs from it. Any thread may call it."""

    context: Context
    """Configs, stores, executor, clock."""
    queue: Queue
    """Where runs wait."""
    ended: Callable[[RunRecord], None] = _ignore
    """Called after each attempt, with its record; also if the run will be tried again."""
    say: Callable[[str], None] = _ignore
    """Called with a sentence that a person should read."""
    room: Callable[[], Room] = Room
    """What one run of a scheduled ingest takes at most."""
    held: Callable[[Config, Window], bool] = _never
    """Whether schedules leave out a window of a VAP for now, because a job is going to make it."""

    def submit(
        self,
        *events: Event,
        configs: Sequence[Config] | None = None,
        put: Put | None = None,
        priority: int = 0,
    ) -> int:
        """Select the runs that the events call for, and queue them; returns how many are new.

        ``configs`` are the only ones to consider, where not all are. ``put`` replaces the queue's
        own, for a target that has more to write in the same transaction. ``priority`` is that of
        runs that nobody asked for.
        """
        configs = self.context.manifest.configs if configs is None else configs
        ledger, now = self.context.target.ledger, self.context.now()
        room = self.room() if any(isinstance(e, ScheduleDue) for e in events) else None
        known: dict[str, str] = {}
        count = 0
        while True:
            selections = [
                select(
                    configs,
                    event,
                    ledger,
                    now=now,
                    room=room,
                    known=known,
                    lost=self._is_lost,
                    held=self.held,
                )
                for event in events
            ]
            state = [item for selection in selections for item in selection.state]
            count += (put or self.queue.put)(
                [run for selection in selections for run in selection.runs],
                now,
                priority=REQUESTED if any(isinstance(e, Requested) for e in events) else priority,
                state=state,
            )
            known.update(state)
            events = tuple(e for e, selection in zip(events, selections) if selection.more)
            if not events:
                return count

    def _is_lost(self, run: Run) -> bool:
        """Whether a product of a run is on record, but not in the outputs any more."""
        target = self.context.target
        return bool(target.outputs.missing(p.key for p in target.ledger.made_by(run.key)))

    def work(self, queued: QueuedRun) -> RunRecord | None:
        """Carry out a run that was taken from the queue; None if it was not ours to carry out.

        What happens to its entry in the queue:

            it succeeded, or failed for good               dropped
            it failed for a reason that may pass           postponed, longer each time
            it failed so more often than `retries` allows  given up
            it was done before                             dropped
            another owner is at work on it                 postponed until that one's lease ends

        A run of several files that failed because of them is followed by runs of its halves. One of
        files that belong together, some of which are gone, is followed by a run of the others.
        """
        run = queued.run
        if all(config.id != run.config for config in self.context.manifest.configs):
            self.say(f"{run.config} is no longer in the config: its run of {run.title} is dropped")
            self.queue.drop(run)
            return None
        result = self._answered_before(queued) or execute(queued, self.context)
        if isinstance(result, Claim):
            if result.record is not None and result.reason in ("done", "failed"):
                self._put_next_part(replace(result.record, run=run))
            self._return_unclaimed(queued, result)
            return None
        self._put_next_part(result)
        self._put_rest(result)
        if was_overtaken(result):
            self._publish_again_instead(result)
        self._return_ended(result, run)
        self.ended(result)
        return result

    def _publish_again_instead(self, record: RunRecord) -> None:
        """Repeat the runs whose products this one may have overwritten, and that are on record.

        This run then finds, when it is tried again, which of them is the later one.
        """
        ledger, now = self.context.target.ledger, self.context.now()
        noted = ledger.record(record.key)
        present = ledger.products_at(noted.publishing if noted else ())
        for key in {product.run for product in present.values()} - {record.key}:
            other = ledger.record(key)
            if other is not None and other.run.config == record.run.config:
                self.queue.put([replace(other.run, again=True, arrived=now)], now)
            elif other is not None:
                self.say(
                    f"{record.run.config} and {other.run.config} have published the same product at"
                    " the same time: `tidegate verify` shows whether one has to be made again"
                )

    def _put_next_part(self, record: RunRecord) -> None:
        """Queue what comes after a run whose files are run in parts, before it is dropped."""
        if record.state in FINISHED:
            part = next_part(record, self.context.target.ledger)
            if part is not None:
                self.queue.put([part], self.context.now())

    def _put_rest(self, record: RunRecord) -> None:
        """Queue the run of the files that are left, where no event will follow."""
        run = record.run
        config = self.context.manifest.config(run.config)
        if record.state != "superseded" or len(run.files) < 2 or not has_related(config):
            return
        inputs = self.context.target.inputs
        keys = {file.key for file in run.files}
        present = {file.key: file for key in keys for file in inputs.list(key) if file.key in keys}
        rest = run_of_the_rest(run, present.values())
        if rest is not None:
            self.queue.put([rest], self.context.now())

    def _answered_before(self, queued: QueuedRun) -> Claim | None:
        """A refused claim, if this very request was carried out and was delivered twice."""
        run = queued.run
        if not run.again or not queued.deliveries:
            return None
        record = self.context.target.ledger.record(run.key)
        if record is None or record.state not in FINISHED or is_new_request(run, record):
            return None
        return Claim(False, "failed" if record.state == "failed" else "done", record)

    def _return_ended(self, record: RunRecord, run: Run) -> None:
        now = self.context.now()
        if record.state == "retrying":
            full = is_full_disk(record.failure)
            self.queue.postpone(run, now + (FULL_DISK if full else backoff(record.tries)), now)
        else:
            self.queue.drop(run, given_up=gave_up(record))

    def _return_unclaimed(self, queued: QueuedRun, claim: Claim) -> None:
        run, now = queued.run, self.context.now()
        if claim.reason == "busy":
            until = max(claim.busy_until or now, now) + _AFTER_LEASE
            self.queue.postpone(run, until, now)
            return
        logger.info("%s was done before", run.title, extra={"action": "done_before"})
        # Only an entry that came before: a new entry about a failed run is another matter.
        again = queued.deliveries > 1
        self.queue.drop(run, given_up=again and claim.record is not None and gave_up(claim.record))


class Put(Protocol):
    """``Queue.put``."""

    def __call__(
        self,
        runs: Sequence[Run],
        now: datetime,
        *,
        priority: int = 0,
        state: Sequence[tuple[str, str]] = (),
    ) -> int: ...


def gave_up(record: RunRecord) -> bool:
    """Whether a run failed for a reason that may pass, and was tried as often as it may be."""
    return bool(record.state == "failed" and record.failure and record.failure.kind == "transient")


def backoff(tries: int) -> timedelta:
    """How long to wait before a run is tried again: 5 s, 20 s, 80 s, … up to 15 minutes."""
    seconds: int = 5 * 4 ** min(tries - 1, 8)
    return min(timedelta(seconds=seconds), timedelta(minutes=15))
