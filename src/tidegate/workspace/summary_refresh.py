"""Keeps the summaries of configs in the ledger, and brings them up to date from new runs.

An overview needs hundreds of records, and on AWS as many requests. What they come to is one value
in the ledger (``Ledger.state``). A refresh reads that value, the runs that have started since, and
those that were going on then. So its cost depends on what is new, and neither on how long the
history is nor on how many configs there are. A value that is missing or too old is made from the
latest runs of each config, by bounded questions. Once an hour each config is looked at like that
again, because records expire and clocks may be wrong.

Readers may do this at the same time: each writes a value that is right. The transaction that ends a
run writes nothing more, so functions that end at the same time do not wait for each other.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice, takewhile

from tidegate.errors import LedgerError, StorageError, TidegateError
from tidegate.runtime.notices.staleness import last_arrival
from tidegate.runtime.open_failures import Acknowledgement, acknowledged, only_open
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import RunRecord, State
from tidegate.workspace.config_summary import (
    LAST_DAY,
    MOST_CHECKED,
    MOST_FAILURES,
    ConfigSummary,
    LastRun,
    add_runs,
    checked_run,
    failed_run,
    file_time,
    last_products,
    recent,
)

logger = logging.getLogger(__name__)

_STATE = "overview"
_FORMAT = 1
_OVERLAP = timedelta(minutes=2)
"""By how much the clocks of two machines, and the time that a claim takes, may differ."""
_ENDED: tuple[State, ...] = ("succeeded", "empty", "failed", "superseded")
_KEEP_EVERY = timedelta(minutes=1)
_LOOK_AGAIN = timedelta(hours=1)
_MOST_NEW = 2000
_MOST_GOING_ON = 2000
_MOST_ENDED = 200


@dataclass(frozen=True)
class KeptSummaries:
    """The value in the ledger."""

    until: datetime
    """All runs that started before are part of it, or in ``going_on``."""
    going_on: tuple[str, ...] = ()
    """The keys of runs that were going on then."""
    configs: tuple[ConfigSummary, ...] = ()
    """Each config."""


@dataclass(frozen=True)
class CurrentSummaries:
    """The summaries as of now."""

    configs: Mapping[str, ConfigSummary]
    """By the config's id; without acknowledged failures."""
    running: Mapping[str, int]
    """By the config's id: how many runs are being carried out."""
    retrying: Mapping[str, int]
    """By the config's id: how many runs will be tried again."""


class SummaryRefresh:
    """Brings the summaries in a ledger up to date; ``at_once`` questions at the same time."""

    def __init__(self, ledger: Ledger, at_once: int = 1) -> None:
        self._ledger = ledger
        self._at_once = at_once
        self._not_written: KeptSummaries | None = None
        self.error: TidegateError | None = None
        """Why the ledger did not take the summaries; None if it did, or was not asked to."""

    def __call__(self, configs: Sequence[str], now: datetime) -> CurrentSummaries:
        """The summaries of these configs, up to date."""
        known = acknowledged(self._ledger)
        going_on = list(self._ledger.records(states=("running", "retrying"), limit=_MOST_GOING_ON))
        kept = self._read()
        new = None if kept is None else self._new_runs(kept, going_on, now)
        found: dict[str, ConfigSummary] = {}
        if kept is not None and new is not None:
            found = self._with_runs(kept, [*new, *going_on], now)
        missing = [config for config in configs if config not in found]
        made = self._make_all(missing or _oldest(found, configs, now), known, now)
        arrivals = {one.config: one.last_arrival for one in kept.configs} if kept else {}
        found.update({id: _with_arrival(one, arrivals.get(id)) for id, one in made.items()})
        # Others may ask for more: a service leaves out configs that Tsdat rejects.
        kept_on = [one for one in found.values() if one.config in configs or _is_new(one, now)]
        after = KeptSummaries(now, tuple(record.key for record in going_on), tuple(kept_on))
        if made or (new and kept is not None and now - kept.until >= _KEEP_EVERY):
            self._write(after)
        states = Counter((record.run.config, record.state) for record in going_on)
        return CurrentSummaries(
            {config: _without(found[config], known) for config in configs},
            {config: states[config, "running"] for config in configs},
            {config: states[config, "retrying"] for config in configs},
        )

    def _new_runs(
        self, kept: KeptSummaries, going_on: Sequence[RunRecord], now: datetime
    ) -> list[RunRecord] | None:
        """The runs that have ended since then; None if there are too many to add them."""
        since = min(kept.until, now) - _OVERLAP
        ended = self._ledger.records(states=_ENDED, since=since)
        new = list(islice(ended, _MOST_NEW + 1))
        known = {record.key for record in chain(new, going_on)}
        left = [key for key in kept.going_on if key not in known]
        if len(new) > _MOST_NEW or len(left) > _MOST_ENDED:
            return None
        return new + [record for key in left if (record := self._ledger.record(key)) is not None]

    def _with_runs(
        self, kept: KeptSummaries, records: Sequence[RunRecord], now: datetime
    ) -> dict[str, ConfigSummary]:
        by_config: dict[str, list[RunRecord]] = {}
        for record in records:
            by_config.setdefault(record.run.config, []).append(record)
        late = {r.key for r in records if r.state == "failed" and r.started < kept.until - _OVERLAP}
        found = {}
        for summary in kept.configs:
            after, unsure = add_runs(summary, by_config.get(summary.config, ()), now)
            # Runs that started after one that ended late are not looked at again.
            keys = {*unsure, *(f.key for f in after.failures if f.key in late)}
            closed = {key for key in keys if not self._is_open(key)}
            failures = tuple(f for f in after.failures if f.key not in closed)
            found[summary.config] = replace(after, failures=failures)
        return found

    def _is_open(self, key: str) -> bool:
        record = self._ledger.record(key)
        return record is not None and any(only_open(self._ledger, iter([record]), {}))

    def _make_all(
        self, configs: Sequence[str], known: Mapping[str, Acknowledgement], now: datetime
    ) -> dict[str, ConfigSummary]:
        make = partial(_from_latest, self._ledger, known, now)
        if self._at_once == 1 or len(configs) <= 1:  # a thread more would only cost time
            return {config: make(config) for config in configs}
        with ThreadPoolExecutor(self._at_once) as pool:
            return dict(zip(configs, pool.map(make, configs)))

    def _read(self) -> KeptSummaries | None:
        if self._not_written is not None:
            return self._not_written
        data = json.loads(self._ledger.state(_STATE) or "{}")
        return from_json(KeptSummaries, data) if data.get("format") == _FORMAT else None

    def _write(self, kept: KeptSummaries) -> None:
        data = {"format": _FORMAT, **to_json(kept)}
        try:
            self._ledger.set_state(_STATE, json.dumps(data, separators=(",", ":")))
            self._not_written, self.error = None, None
        except (LedgerError, StorageError) as error:  # such as credentials that may only read
            logger.warning("the summaries of configs were not written: %s", error)
            self._not_written, self.error = kept, error


def forget_summaries(ledger: Ledger) -> None:
    """Have all summaries made again: runs were put on record that started long ago."""
    ledger.set_state(_STATE, "{}")


def _oldest(found: Mapping[str, ConfigSummary], configs: Sequence[str], now: datetime) -> list[str]:
    """The config to look at again: one at most, so that no refresh takes long."""
    old = [c for c in configs if abs(now - found[c].made) >= _LOOK_AGAIN]
    return sorted(old, key=lambda config: found[config].made)[:1]


def _is_new(summary: ConfigSummary, now: datetime) -> bool:
    """Whether somebody has asked for that config in the last day."""
    return abs(now - summary.made) < LAST_DAY


def _without(summary: ConfigSummary, known: Mapping[str, Acknowledgement]) -> ConfigSummary:
    """The summary without acknowledged failures."""
    failures = tuple(
        failure
        for failure in summary.failures
        if failure.key not in known or failure.started > known[failure.key].when
    )
    return replace(summary, failures=failures)


def _with_arrival(summary: ConfigSummary, known: datetime | None) -> ConfigSummary:
    """The summary with an arrival that is on record in an earlier one.

    After a job of many runs, none of the latest runs is of new data.
    """
    if known is None or (summary.last_arrival is not None and summary.last_arrival >= known):
        return summary
    return replace(summary, last_arrival=known)


def _from_latest(
    ledger: Ledger, known: Mapping[str, Acknowledgement], now: datetime, id: str
) -> ConfigSummary:
    """The summary of a config from its latest runs."""
    failed = ledger.records(config=id, states=("failed",), limit=MOST_FAILURES)
    latest = next(ledger.records(config=id, limit=1), None)
    # Records are decoded one by one: of a config with one file a day, only two are.
    done = ledger.records(config=id, states=("succeeded",), limit=MOST_CHECKED)
    last = next(done, None)
    of_last_day = takewhile(
        lambda record: now - (record.finished or record.started) <= LAST_DAY,
        chain([last] if last else [], done),
    )
    return ConfigSummary(
        id,
        now,
        LastRun(latest.key, latest.outcome, latest.started) if latest else None,
        last_arrival(ledger, id) or (file_time(latest) if latest else None),
        last_products(last) if last else None,
        tuple(failed_run(record) for record in only_open(ledger, iter(failed), known)),
        recent(filter(None, map(checked_run, of_last_day)), now),
    )
