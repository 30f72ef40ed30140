"""Any ledger does, step by step, what the one in memory does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from implementations import LEDGERS, Factory
from samples import CONFIG, LEASE, STREAM, T0, at, product

from tidegate.runtime.protocols import ClaimLost, Ledger, Span
from tidegate.runtime.runs import FINISHED, Input, Product, Run, RunRecord, State, Window
from tidegate.runtime.testing import MemoryLedger

CONFIGS = (CONFIG, "vap/x")
FILES = ("a", "b", "\udcff")
STREAMS = (STREAM, "other")
PRODUCTS = tuple(f"p{n}" for n in range(5))

versions = st.sampled_from(["1", "2"])
files = st.builds(Input, st.sampled_from(FILES), versions, st.just(1))
windows = st.integers(0, 2).map(lambda n: Window(at(n), at(n + 1)))
marks = {"arrived": st.sampled_from([T0, at(1)]), "again": st.booleans()}
ingests = st.lists(files, min_size=1, max_size=2, unique=True).map(tuple)
runs = st.one_of(
    st.builds(Run, st.just(CONFIGS[0]), inputs=ingests, **marks),
    st.builds(Run, st.just(CONFIGS[1]), window=windows, **marks),
)
times = st.none() | st.integers(0, 6).map(float)


@st.composite
def made_products(draw: st.DrawFn) -> Product:
    begin, end = draw(times), draw(times)
    if begin is not None and end is not None and end < begin:
        begin, end = end, begin
    return product(
        draw(st.sampled_from(PRODUCTS)),
        begin,
        end,
        datastream=draw(st.sampled_from(STREAMS)),
        kind=draw(st.sampled_from(["data", "data", "ancillary"])),
        config=draw(st.sampled_from(CONFIGS)),
        sha256=draw(versions),
    )


class LedgerMachine(RuleBasedStateMachine):
    """The same steps on both; every answer must be the same."""

    factory: Factory
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._made: Iterator[Ledger] = self.factory(Path(self._folder.name))
        self.real = next(self._made)
        self.model = MemoryLedger()
        self.now = T0
        self.cursors = [dict.fromkeys(STREAMS, "") for _ in range(2)]
        self.told: dict[str, list[Span]] = {name: [] for name in STREAMS}

    def teardown(self) -> None:
        for _ in self._made:
            pass
        self._folder.cleanup()

    def both(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Do it on both, and see that they answer the same, or raise the same."""
        answers: list[Any] = []
        for ledger in (self.real, self.model):
            try:
                answer = getattr(ledger, method)(*args, **kwargs)
                answers.append(list(answer) if isinstance(answer, Iterator) else answer)
            except ClaimLost:
                answers.append(ClaimLost)
        assert answers[0] == answers[1], method
        return answers[1]

    @rule(target=claims, run=runs, owner=st.sampled_from(["me", "you"]))
    def claim(self, run: Run, owner: str) -> Any:
        answer = self.both("claim", run, owner=owner, lease=LEASE, now=self.now, release="r")
        return answer.record if answer.granted else multiple()

    @rule(run=runs, keys=st.lists(st.sampled_from(PRODUCTS), max_size=3))
    def look(self, run: Run, keys: list[str]) -> None:
        """As is done before a claim, and before a run is finished."""
        self.both("states", [run.key])
        self.both("products_at", keys)

    @rule(minutes=st.sampled_from([1, 14, 15, -20]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(record=claims, keys=st.lists(st.sampled_from(PRODUCTS), max_size=3))
    def intend(self, record: RunRecord, keys: list[str]) -> None:
        self.both("intend", record.key, owner=record.owner, attempt=record.attempt, products=keys)

    @rule(
        record=claims,
        state=st.sampled_from([*FINISHED, "retrying", "succeeded"]),
        products=st.lists(made_products(), max_size=3, unique_by=lambda p: p.key),
        retired=st.lists(st.sampled_from(PRODUCTS), max_size=2, unique=True),
    )
    def finish(
        self, record: RunRecord, state: State, products: list[Product], retired: list[str]
    ) -> None:
        if state != "succeeded":
            products, retired = [], []
        made = tuple(replace(p, run=record.key) for p in products)
        gone = tuple(key for key in retired if key not in {p.key for p in products})
        self.both(
            "finish",
            replace(record, state=state, finished=self.now, products=made, retired=gone),
        )

    @rule(name=st.sampled_from(["x", "y"]), value=versions)
    def set_state(self, name: str, value: str) -> None:
        self.both("set_state", name, value)
        self.both("state", name)

    @rule(name=st.sampled_from(["x", "y"]), value=versions)
    def change_state(self, name: str, value: str) -> None:
        self.both("change_state", name, lambda text: f"{(text or '')[-4:]}{value}")
        self.both("state", name)

    @rule(begin=st.integers(-1, 7), length=st.integers(1, 3), stream=st.sampled_from(STREAMS))
    def overlapping(self, begin: int, length: int, stream: str) -> None:
        window = {"begin": at(begin), "end": at(begin + length)}
        self.both("overlapping", stream, **window)
        self.both("products", datastream=stream, **window)
        self.both("products", config=CONFIG, **window)
        self.both("products", begin=window["begin"], limit=2)

    @rule(stream=st.sampled_from(STREAMS))
    def changes(self, stream: str) -> None:
        """Cursors are each ledger's own; and a change may be told twice."""
        found = []
        for n, ledger in enumerate((self.real, self.model)):
            spans, self.cursors[n][stream] = ledger.changes(stream, self.cursors[n][stream])
            found.append(set(spans))
        assert found[0] >= found[1]

    @rule(config=st.sampled_from(CONFIGS), states=st.sets(st.sampled_from(FINISHED)))
    def records(self, config: str, states: set[State]) -> None:
        self.both("records", config=config, states=tuple(states))
        self.both("records", states=tuple(states), limit=2)

    @rule(config=st.sampled_from(CONFIGS), asked=st.lists(files, max_size=4))
    def untaken(self, config: str, asked: list[Input]) -> None:
        self.both("untaken", config, asked)

    @invariant()
    def the_same_is_on_record(self) -> None:
        records = self.both("records")
        self.both("products")
        self.both("states", [record.key for record in records])
        for record in records[:3]:
            self.both("record", record.key)
            self.both("made_by", record.key)
            self.both("about", record.run.config, record.run.subjects[0])
            self.both("about", record.run.config, record.run.subjects[0], but=record.key)


@pytest.mark.parametrize("name", [name for name in LEDGERS if name != "memory"])
def test_does_what_the_ledger_in_memory_does(name: str) -> None:
    machine = type(f"{name}_machine", (LedgerMachine,), {"factory": staticmethod(LEDGERS[name])})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None)
    )
