"""What a branch does every quarter of an hour, whether anything arrives or not.

For each config of a stack:

    dead letters    become failures in the ledger: SQS deletes them after two weeks
    undelivered     events about files that EventBridge could not pass on are sent to their queues
    the backlog     is worked on while no messages wait (``backlog_work``)
    once a day      raw files that never became runs are searched for, such as those whose
                    messages expired
    expect_every    a config without a run for longer than that is reported

CloudWatch gets a metric only if there is something to report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from tidegate.runtime.manifest import Config
from tidegate.targets.aws.backlog_work import Search, search_entry, workers
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.dead_letters import record_dead_letters
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.messages import FunctionScope
from tidegate.targets.aws.reporting import NAMESPACE, LineFormatter
from tidegate.targets.aws.requests import announce_work, count_messages, queue_url
from tidegate.targets.aws.swept_config import PERIOD, SweptConfig
from tidegate.targets.aws.undelivered import deliver

SEARCH_EVERY = timedelta(days=1)
"""How often raw files without a run are searched for."""
SETTLED_AFTER = timedelta(hours=1)
"""Files that were written later than this before a search may still be on their way."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Findings:
    """What there is to report about a config."""

    dead_letters: int = 0
    """Messages that became failures in the ledger, or that are left because they cannot; and events
    that EventBridge could not deliver."""
    silent: bool = False
    """Whether it had no run for longer than ``expect_every``."""


class SweepFailed(Exception):
    """A part of a sweep could not be done; the log says which. The other parts are done."""


class Sweep:
    """The sweeps of one stack, for as long as the function's environment lives."""

    def __init__(
        self,
        ledger: DynamoLedger,
        clients: Clients,
        *,
        input_bucket: str,
        output_bucket: str,
        level: str = "INFO",
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._ledger = ledger
        self._clients = clients
        self._buckets = input_bucket, output_bucket
        self._now = now
        self._log = Logger(service="tidegate", level=level, logger_formatter=LineFormatter())
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
        found.append(self._deliver_safely(configs, undelivered))
        self._report([one for one in found if one is not None])
        if failed := sum(one is None for one in found):
            raise SweepFailed(f"{failed} of {len(found)} parts: see the errors in this log")

    def _sweep_safely(self, swept: SweptConfig) -> Findings | None:
        try:
            return self._sweep_one(swept)
        except Exception:
            self._log.exception(f"{swept.config.id} could not be looked at")
            return None

    def _deliver_safely(self, configs: Sequence[SweptConfig], undelivered: str) -> Findings | None:
        if not undelivered:
            return Findings()
        try:
            waiting = [swept for swept in configs if swept.config.trigger == "S3"]
            scopes = {self._url(s.queue): FunctionScope(s.config, *self._buckets) for s in waiting}
            queue = self._url(undelivered)
            return Findings(dead_letters=deliver(queue, scopes, self._clients, self._log))
        except Exception:
            self._log.exception("undelivered events could not be looked at")
            return None

    def _sweep_one(self, swept: SweptConfig) -> Findings:
        config, now = swept.config, self._now()
        queue = self._url(swept.queue)
        scope = FunctionScope(config, *self._buckets)
        dead = record_dead_letters(
            self._url(swept.dead_letters), scope, self._ledger, self._clients, self._log, now
        )
        name = f"sweep/{config.id}"
        known = json.loads(self._ledger.state(name) or "{}")
        begun = datetime.fromisoformat(known.get("begun", now.isoformat()))
        searched = datetime.fromisoformat(known.get("searched", now.isoformat()))
        visible, hidden = count_messages(queue, self._clients)
        if not visible + hidden and self._search_is_due(config, searched, now):
            since, searched = searched, now - SETTLED_AFTER
            search = Search(since=since, until=searched)
            self._ledger.backlog.add(config.id, [search_entry(search)])
        state = {"begun": begun.isoformat(), "searched": searched.isoformat()}
        if state != known:
            self._ledger.set_state(name, json.dumps(state))
        if not visible and self._ledger.backlog.has_free(config.id, now):
            # One invocation after the other, until the next sweep.
            for delay in range(0, PERIOD, swept.seconds):
                announce_work(config.id, workers(config), queue, self._clients, delay)
        return Findings(dead, self._is_silent(config, begun, now))

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

    def _is_silent(self, config: Config, begun: datetime, now: datetime) -> bool:
        if config.expect_every is None:
            return False
        latest = next(self._ledger.records(config=config.id, limit=1), None)
        last = max(begun, latest.started) if latest else begun
        silent = now - last > timedelta(seconds=config.expect_every)
        if silent:
            self._log.warning(
                f"{config.id}: no run since {last:%Y-%m-%d %H:%M} UTC, but one was expected every"
                f" {timedelta(seconds=config.expect_every)}",
                extra={"action": "silent"},
            )
        return silent

    def _report(self, found: Sequence[Findings]) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        dead, silent = sum(f.dead_letters for f in found), sum(f.silent for f in found)
        for name, value in (("DeadLetters", dead), ("Silent", silent)):
            if value:
                metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        if metrics.metric_set:
            metrics.flush_metrics()
