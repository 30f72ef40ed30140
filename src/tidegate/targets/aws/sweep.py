"""What a branch does every quarter of an hour, whether anything arrives or not.

For each config of a stack:

    dead letters    become failures in the ledger: SQS deletes them after two weeks
    undelivered     events about files that EventBridge could not pass on are sent to their queues
    the backlog     is worked on while no messages wait (``backlog_work``)
    once a day      raw files that never became runs are searched for, such as those whose
                    messages expired
    expect_every    a config that gets no data for longer than that is stale

At last, people get a message about what has happened since the sweep before (``sweep_messages``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from aws_lambda_powertools import Logger

from tidegate.runtime.manifest import Config
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.notices.staleness import (
    end_of_staleness,
    is_stale,
    last_arrival,
    staleness_problem,
)
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.backlog_work import Search, search_entry, workers
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.dead_letters import record_dead_letters
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.messages import FunctionScope
from tidegate.targets.aws.reporting import LineFormatter
from tidegate.targets.aws.requests import announce_work, count_messages, queue_url
from tidegate.targets.aws.sweep_messages import SweepMessages, SweptProblem
from tidegate.targets.aws.swept_config import PERIOD, SweptConfig
from tidegate.targets.aws.undelivered import deliver

SEARCH_EVERY = timedelta(days=1)
"""How often raw files without a run are searched for."""
SETTLED_AFTER = timedelta(hours=1)
"""Files that were written later than this before a search may still be on their way."""
_AT_ONCE = 8


@dataclass(frozen=True)
class _Known:
    """What is known about a config since the sweep before."""

    begun: datetime
    """When it was swept for the first time."""
    searched: datetime
    """Up to when files without a run were searched for."""
    arrived: datetime | None = None
    """The last arrival, as far as it had to be looked for."""


class SweepFailed(Exception):
    """A part of a sweep could not be done; the log says which. The other parts are done."""


class Sweep:
    """The sweeps of one stack, for as long as the function's environment lives."""

    def __init__(
        self,
        ledger: DynamoLedger,
        clients: Clients,
        messages: SweepMessages,
        *,
        input_bucket: str,
        output_bucket: str,
        log: Logger,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._ledger = ledger
        self._clients = clients
        self._buckets = input_bucket, output_bucket
        self._now = now
        self._messages = messages
        self._log = log
        self._urls: dict[str, str] = {}

    def sweep(self, configs: Sequence[SweptConfig], undelivered: str = "") -> None:
        """Do all that is due for these configs, each on its own.

        ``undelivered`` is the name of the queue with events that did not reach the event bus.

        Raises:
            SweepFailed: for some, something could not be done.
        """
        self._clients.client("sqs")  # made once, before several threads use it
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._sweep_safely, configs))
        ids = [swept.config.id for swept in configs]
        found.append(self._deliver_safely(configs, undelivered))
        ids.append("")  # what concerns no single config
        problems = {id: one for id, one in zip(ids, found) if one is not None}
        self._messages.send(configs, problems, self._now())
        if failed := sum(one is None for one in found):
            raise SweepFailed(f"{failed} of {len(found)} parts: see the errors in this log")

    def _sweep_safely(self, swept: SweptConfig) -> list[SweptProblem] | None:
        try:
            return self._sweep_one(swept)
        except Exception:
            self._log.exception(f"{swept.config.id} could not be looked at")
            return None

    def _deliver_safely(
        self, configs: Sequence[SweptConfig], undelivered: str
    ) -> list[SweptProblem] | None:
        """Deliver events that did not reach the bus; returns the problem if there were any."""
        if not undelivered:
            return []
        try:
            waiting = [swept for swept in configs if swept.config.trigger == "S3"]
            scopes = {self._url(s.queue): FunctionScope(s.config, *self._buckets) for s in waiting}
            count = deliver(self._url(undelivered), scopes, self._clients, self._log)
        except Exception:
            self._log.exception("undelivered events could not be looked at")
            return None
        if not count:
            return []
        text = (
            f"{quantity(count, 'event')} about new files did not reach the event bus of the stack;"
            " the sweep has passed on those that are about a file; its log says why they were late"
        )
        return [
            SweptProblem(
                Problem("failure", "", text, subject="undelivered events"),
                "events about new files reach the event bus again",
            )
        ]

    def _sweep_one(self, swept: SweptConfig) -> list[SweptProblem]:
        """Sweep one config; returns the problems that there are now."""
        config, now = swept.config, self._now()
        queue = self._url(swept.queue)
        scope = FunctionScope(config, *self._buckets)
        left = record_dead_letters(
            self._url(swept.dead_letters), scope, self._ledger, self._clients, self._log, now
        )
        name = f"sweep/{config.id}"
        text = self._ledger.state(name)
        before = loads(_Known, text) if text else _Known(now, now)
        known = before
        visible, hidden = count_messages(queue, self._clients)
        if not visible + hidden and self._search_is_due(config, known.searched, now):
            search = Search(since=known.searched, until=now - SETTLED_AFTER)
            self._ledger.backlog.add(config.id, [search_entry(search)])
            known = replace(known, searched=now - SETTLED_AFTER)
        known = self._with_arrival(config, known, now)
        if known != before or text is None:
            self._ledger.set_state(name, dumps(known))
        if not visible and self._ledger.backlog.has_free(config.id, now):
            # One invocation after the other, until the next sweep.
            for delay in range(0, PERIOD, swept.seconds):
                announce_work(config.id, workers(config), queue, self._clients, delay)
        return list(self._problems(swept, known, left, now))

    def _url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = queue_url(name, self._clients)
        return self._urls[name]

    def _search_is_due(self, config: Config, searched: datetime, now: datetime) -> bool:
        """Schedules find new files themselves. The first sweep only notes the time."""
        return (
            config.trigger == "S3"
            and now - searched >= SEARCH_EVERY
            and self._ledger.backlog.is_empty(config.id)
        )

    def _with_arrival(self, config: Config, known: _Known, now: datetime) -> _Known:
        """What is known, with the last arrival, which is looked for only if one is missing."""
        if not is_stale(config, known.arrived or known.begun, now):
            return known
        return replace(known, arrived=last_arrival(self._ledger, config.id) or known.arrived)

    def _problems(
        self, swept: SweptConfig, known: _Known, left: int, now: datetime
    ) -> Iterator[SweptProblem]:
        config = swept.config
        if is_stale(config, known.arrived or known.begun, now):
            problem = staleness_problem(config, known.arrived)
            self._log.warning(problem.text, extra={"action": "silent"})
            yield SweptProblem(problem, end_of_staleness(config).text)
        if left:
            what = quantity(left, "message")
            text = (
                f"{what} could not be handled and cannot become a failed run;"
                f" look into the queue {swept.dead_letters}, and at the log of the function:"
                f" tidegate logs {config.id} --target aws"
            )
            yield SweptProblem(
                Problem("failure", config.id, text, subject="dead letters"),
                f"{config.id}: there are no dead letters any more",
            )


def sweep_log(level: str) -> Logger:
    """The log of a sweep's function."""
    return Logger(service="tidegate", level=level, logger_formatter=LineFormatter())
