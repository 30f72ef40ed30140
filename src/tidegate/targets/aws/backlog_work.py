"""Works off what waits in the ledger, one run after the other, for the time of an invocation.

Large numbers of runs are not sent as messages: they would expire after two weeks, and new files
would wait behind them. They wait in the ledger (``ledger.backlog``), and a message says only that
there is work. At most half of a config's functions do it at a time, so new files have the others.

An entry of the backlog is a list of messages, or a search for raw files without a run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tidegate.runtime.manifest import Config
from tidegate.runtime.records import check_aware, from_json, to_json
from tidegate.runtime.related_files import date_in
from tidegate.runtime.runs import SETTLED, Input, Run
from tidegate.runtime.select import is_input
from tidegate.targets.aws import messages
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.ledger.backlog import Entry
from tidegate.targets.aws.s3 import S3Inputs

logger = logging.getLogger(__name__)

PART = 100
"""Messages in one entry."""
DEFAULT_CONCURRENCY = 10
"""Runs of one config at the same time, if the config does not say."""


@dataclass(frozen=True)
class Search:
    """A search for the raw files of a config that have no run, or none that succeeded."""

    after: str = ""
    """The key after which it continues."""
    since: datetime | None = None
    """Only files that were written then or later."""
    until: datetime | None = None
    """Only files that were written before."""
    begin: datetime | None = None
    """Only files with a date in their name at or after this."""
    end: datetime | None = None
    """Only files with a date in their name before this."""
    again: bool = False
    """Whether files with failed runs are run again, too: a person asked for it."""
    asked: datetime | None = None
    """When it was asked for."""

    def __post_init__(self) -> None:
        check_aware(self)


def workers(config: Config) -> int:
    """How many functions work off a config's backlog at the same time: at most half of them."""
    return max(1, (config.concurrency or DEFAULT_CONCURRENCY) // 2)


def parts_of(bodies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Entries for messages."""
    for n in range(0, len(bodies), PART):
        yield json.dumps({"messages": list(bodies[n : n + PART])})


def search_entry(search: Search) -> str:
    """The entry for a search."""
    return json.dumps({"search": to_json(search)})


class BacklogWork:
    """The backlog of one config, for its function."""

    def __init__(self, config: Config, inputs: S3Inputs, ledger: DynamoLedger) -> None:
        self._config = config
        self._inputs = inputs
        self._ledger = ledger

    def work(
        self,
        carry_out: Callable[[Mapping[str, Any]], None],
        has_time: Callable[[], bool],
        now: Callable[[], datetime],
        seconds: float,
    ) -> None:
        """Take entries and do what they say, until none is left or there is no more time.

        ``carry_out`` does what one message calls for, and never raises. The invocation ends after
        ``seconds``.
        """
        until = now() + timedelta(seconds=seconds)
        while has_time():
            entry = self._ledger.backlog.take(self._config.id, now(), until)
            if entry is None:
                return
            content = json.loads(entry.text)
            if "search" in content:
                self._search(entry, from_json(Search, content["search"]))
            else:
                self._carry_out_all(entry, content["messages"], carry_out, has_time)

    def _carry_out_all(
        self,
        entry: Entry,
        bodies: Sequence[Mapping[str, Any]],
        carry_out: Callable[[Mapping[str, Any]], None],
        has_time: Callable[[], bool],
    ) -> None:
        for n, body in enumerate(bodies):
            if n and not has_time():
                [left] = parts_of(bodies[n:])
                self._ledger.backlog.put_back(self._config.id, entry, left)
                return
            carry_out(body)
        self._ledger.backlog.remove(self._config.id, entry)

    def _search(self, entry: Entry, search: Search) -> None:
        """Look at the next thousand files, and note where to continue."""
        files, last = self._inputs.list_after(self._config.input_path or "", search.after)
        found = list(
            self._requests(search, files) if search.again else self._arrivals(files, search)
        )
        if found:
            logger.info("%d files without a run are found", len(found), extra={"action": "found"})
            self._ledger.backlog.add(self._config.id, parts_of(found))
        if last:
            left = search_entry(replace(search, after=last))
            self._ledger.backlog.put_back(self._config.id, entry, left)
        else:
            self._ledger.backlog.remove(self._config.id, entry)

    def _arrivals(self, files: Iterable[Input], search: Search) -> Iterator[Mapping[str, Any]]:
        """For files that no run has taken, the message that S3 should have caused."""
        chosen = [file for file in files if self._fits(file, search)]
        for file in self._ledger.untaken(self._config.id, chosen):
            yield messages.arrived(self._inputs.bucket, file)

    def _requests(self, search: Search, files: Iterable[Input]) -> Iterator[Mapping[str, Any]]:
        """Requests for the files whose latest run did not succeed, or that have none."""
        runs = {
            run.key: run
            for file in files
            if self._fits(file, search)
            for run in [Run(self._config.id, inputs=(file,), arrived=search.asked, again=True)]
        }
        states = self._ledger.states(runs)
        unknown = [run.inputs[0] for key, run in runs.items() if key not in states]
        untaken = set(self._ledger.untaken(self._config.id, unknown))
        for key, run in runs.items():
            state = states.get(key)
            if state is None and run.inputs[0] not in untaken:  # a run of several files, or expired
                latest = next(iter(self._ledger.about(run.config, run.subjects[0])), None)
                state = latest.state if latest else "succeeded"
            if state not in (*SETTLED, "running"):
                assert search.asked is not None
                yield messages.request([run], search.asked)

    def _fits(self, file: Input, search: Search) -> bool:
        if not is_input(self._config, file.key):
            return False
        written, dated = file.modified, date_in(file.key.rsplit("/", 1)[-1])
        return _is_within(written, search.since, search.until) and _is_within(
            dated, search.begin, search.end
        )


def _is_within(moment: datetime | None, begin: datetime | None, end: datetime | None) -> bool:
    if moment is None:
        return begin is None and end is None
    return (begin is None or moment >= begin) and (end is None or moment < end)
