"""Questions about runs: by key, by state, by subject, by input."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain, islice
from typing import get_args

from tidegate.runtime.ledger_rules import matches, start_and_key, to_micros
from tidegate.runtime.runs import Input, RunRecord, State
from tidegate.targets.aws.ledger.keys import (
    PREFIX,
    Key,
    run_key,
    state_lists,
    subject_partition,
    taken_key,
)
from tidegate.targets.aws.ledger.recent_reads import RecentReads
from tidegate.targets.aws.ledger.run_items import RunItems
from tidegate.targets.aws.ledger.table import PAGE, QUERIES_AT_ONCE, READ_AT_ONCE, Table
from tidegate.targets.aws.ledger.times import sortable
from tidegate.targets.aws.ledger.values import Item

_STATES: tuple[State, ...] = get_args(State)


class Runs:
    """Questions about runs."""

    def __init__(self, table: Table, items: RunItems, recent: RecentReads) -> None:
        self._table = table
        self._items = items
        self._recent = recent

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """See ``Ledger.states``."""
        wanted = list(dict.fromkeys(keys))
        found = self._table.items([run_key(key) for key in wanted], only=("state",))
        states = {key: item["state"]["S"] for key in wanted if (item := found.get(run_key(key)))}
        self._recent.keep_states(wanted, states)
        return states

    def records(
        self,
        *,
        config: str | None,
        states: Sequence[State],
        prefix: str,
        before: datetime | None,
        since: datetime | None,
        limit: int | None,
    ) -> Iterator[RunRecord]:
        """See ``Ledger.records``; a run that changes at the same time may be left out."""
        if len(prefix) >= PREFIX:
            found = (run.record for run in self._items.read_prefix(prefix))
            records = iter(sorted(found, key=start_and_key, reverse=True))
        else:
            records = self._listed(config, states, _places(since, before), limit)
        fitting = (
            r
            for r in records
            if matches(r, config=config, states=states, prefix=prefix)
            and (before is None or r.started < before)
            and (since is None or r.started >= since)
        )
        yield from islice(fitting, limit)

    def _listed(
        self,
        config: str | None,
        states: Sequence[State],
        times: tuple[str, str] | None,
        limit: int | None,
    ) -> Iterator[RunRecord]:
        """The records at these places on the lists of those states, the latest first."""
        lists = [
            self._table.query(
                name,
                between=times,
                descending=True,
                page=PAGE if limit is None else max(1, min(limit, PAGE)),
            )
            for state in (dict.fromkeys(states) or _STATES)
            for name in state_lists(state, config)
        ]
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as pool:  # the first answer of each
            firsts = list(pool.map(lambda one: list(islice(one, 1)), lists))
        places = heapq.merge(
            *(
                (item["sk"]["S"] for item in chain(first, rest))
                for first, rest in zip(firsts, lists)
            ),
            reverse=True,
        )
        keys = (run_key(place.split("#")[1]) for place in places)
        given: set[Key] = set()
        while page := list(islice(keys, min(limit or PAGE, READ_AT_ONCE))):
            found = self._items.read_many(page)
            for key in page:
                if key in found and key not in given:
                    given.add(key)
                    yield found[key].record

    def about(self, config: str, subject: str, *, but: str) -> list[RunRecord]:
        """See ``Ledger.about``."""
        partition = subject_partition(config, subject)
        names = [item["sk"]["S"] for item in self._table.query(partition)]
        found = self._items.read_many([run_key(name) for name in names if name != but])
        records = [run.record for run in found.values()]
        return sorted(records, key=start_and_key, reverse=True)

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """See ``Ledger.untaken``."""
        asked = list(inputs)
        places = {input: taken_key(config, input) for input in asked}
        found = self._table.items(list(dict.fromkeys(places.values())))
        runs = {run for item in found.values() for run in item["runs"]["SS"]}
        states = self.states(sorted(runs))

        def is_taken(item: Item) -> bool:
            # A run without a record expired long after it ended, if its claim noted the input;
            # otherwise its claim was never written.
            gone: State = "succeeded" if "sure" in item else "superseded"
            return any(states.get(run, gone) != "superseded" for run in item["runs"]["SS"])

        taken = {place for place, item in found.items() if is_taken(item)}
        return [input for input in asked if places[input] not in taken]


def _places(since: datetime | None, before: datetime | None) -> tuple[str, str] | None:
    """The first and the last place on a list of runs that start in [since, before)."""
    if since is None and before is None:
        return None
    # Places begin with the digits of a time. One with nothing behind it sorts before all runs that
    # started then, and "~" sorts after all digits.
    first = "0" if since is None else sortable(to_micros(since))
    return first, "~" if before is None else sortable(to_micros(before))
