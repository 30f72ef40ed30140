"""What every ledger must do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import (
    CONFIG,
    LEASE,
    STREAM,
    T0,
    at,
    carry_out,
    claim,
    finish,
    ingest,
    product,
    records,
)

from tidegate.runtime.ledger_rules import overlaps
from tidegate.runtime.open_failures import acknowledge, acknowledged
from tidegate.runtime.protocols import ClaimLost, Ledger, Span
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import Failure, Input, Product, Run, RunRecord, Window


def test_a_first_claim_is_granted(ledger: Ledger) -> None:
    run = ingest()
    answer = ledger.claim(run, owner="me", lease=LEASE, now=T0, release="r1")
    assert (answer.granted, answer.reason, answer.left) == (True, "new", ())
    expected = RunRecord(run, "running", 1, T0, tries=1, owner="me", release="r1")
    assert answer.record == expected
    assert ledger.record(run.key) == expected


def test_a_claim_is_refused_while_its_lease_lasts(ledger: Ledger) -> None:
    run = ingest()
    claim(ledger, run)
    later = T0 + LEASE - timedelta(microseconds=1)
    answer = ledger.claim(run, owner="other", lease=LEASE, now=later, release="r1")
    assert (answer.granted, answer.reason) == (False, "busy")
    assert answer.record is not None
    assert answer.record.owner == "me"
    again = ledger.claim(
        replace(run, again=True), owner="other", lease=LEASE, now=later, release=""
    )
    assert (again.granted, again.reason) == (False, "busy")


def test_a_run_whose_lease_ran_out_belongs_to_the_next(ledger: Ledger) -> None:
    run = ingest()
    first = claim(ledger, run)
    ledger.intend(run.key, owner="me", attempt=1, products=["a", "b"])
    ledger.intend(run.key, owner="me", attempt=1, products=["b", "c"])
    answer = ledger.claim(run, owner="other", lease=LEASE, now=T0 + LEASE, release="r2")
    assert answer.granted
    assert answer.left == ("a", "b", "c")
    assert answer.record is not None
    assert answer.record.publishing == ("a", "b", "c")
    assert (answer.record.attempt, answer.record.tries) == (2, 1)
    with pytest.raises(ClaimLost):
        finish(ledger, first, products=[product("a")])
    with pytest.raises(ClaimLost):
        ledger.intend(run.key, owner="me", attempt=1, products=["d"])
    assert ledger.product("a") is None
    finish(ledger, answer.record, products=[product("a")])
    with pytest.raises(ClaimLost):  # it has ended
        finish(ledger, answer.record)


def test_the_same_owner_loses_an_older_attempt(ledger: Ledger) -> None:
    run = ingest()
    first = claim(ledger, run)
    claim(ledger, run, now=T0 + LEASE)
    with pytest.raises(ClaimLost):
        finish(ledger, first)


def test_what_was_never_claimed_cannot_be_finished(ledger: Ledger) -> None:
    with pytest.raises(ClaimLost):
        ledger.finish(RunRecord(ingest(), "succeeded", 1, T0, owner="me"))


@pytest.mark.parametrize(
    ("state", "reason"), [("succeeded", "done"), ("empty", "done"), ("failed", "failed")]
)
def test_what_has_ended_is_not_done_again_unless_asked(
    ledger: Ledger, state: str, reason: str
) -> None:
    run = ingest()
    finish(ledger, claim(ledger, run), state)  # type: ignore[arg-type]
    answer = ledger.claim(run, owner="me", lease=LEASE, now=at(1), release="r1")
    assert (answer.granted, answer.reason) == (False, reason)
    record = claim(ledger, replace(run, again=True, arrived=at(1)), now=at(1))
    assert (record.attempt, record.tries) == (2, 1)
    assert record.run.again


def test_a_run_that_has_been_asked_for_before_it_is_claimed(ledger: Ledger) -> None:
    """What a ledger knows of a run that is not there yet must not outlive that."""
    run, other = ingest(), ingest("other")
    assert ledger.states([run.key, other.key]) == {}
    finish(ledger, claim(ledger, run))
    answer = ledger.claim(run, owner="me", lease=LEASE, now=at(1), release="r1")
    assert (answer.granted, answer.reason) == (False, "done")
    assert ledger.states([run.key, other.key]) == {run.key: "succeeded"}
    claim(ledger, other, "you")
    answer = ledger.claim(other, owner="me", lease=LEASE, now=T0, release="r1")
    assert (answer.granted, answer.reason) == (False, "busy")


def test_a_superseded_run_may_be_claimed(ledger: Ledger) -> None:
    finish(ledger, claim(ledger, ingest()), "superseded")
    record = claim(ledger, ingest(), now=at(1))
    assert (record.attempt, record.tries) == (2, 1)


def test_tries_count_failures_since_it_was_asked_for(ledger: Ledger) -> None:
    run = ingest(arrived=T0)
    for n in range(1, 4):
        record = claim(ledger, run, now=at(n))
        assert (record.attempt, record.tries) == (n, n)
        finish(ledger, record, "retrying")
    asked = replace(run, again=True, arrived=at(9))
    record = claim(ledger, asked, now=at(9))
    assert (record.attempt, record.tries) == (4, 1)
    finish(ledger, record, "retrying")
    record = claim(ledger, asked, now=at(10))
    assert (record.attempt, record.tries) == (5, 2)


def test_an_owner_that_died_does_not_count_as_a_try(ledger: Ledger) -> None:
    run = ingest()
    finish(ledger, claim(ledger, run), "retrying")
    assert claim(ledger, run).tries == 2
    assert claim(ledger, run, now=T0 + LEASE).tries == 2


def test_what_a_failed_attempt_set_out_to_publish_is_told(ledger: Ledger) -> None:
    run = ingest()
    record = claim(ledger, run)
    ledger.intend(run.key, owner="me", attempt=1, products=["a"])
    finish(ledger, record, "retrying")
    answer = ledger.claim(run, owner="me", lease=LEASE, now=T0, release="")
    assert answer.left == ("a",)
    assert answer.record is not None
    finish(ledger, replace(answer.record, publishing=()), products=[product("a")])
    again = ledger.claim(replace(run, again=True), owner="me", lease=LEASE, now=T0, release="")
    assert again.left == ()


def test_of_many_owners_at_once_one_gets_the_run(ledger: Ledger) -> None:
    owners = 8
    barrier = threading.Barrier(owners)

    def compete(owner: int) -> list[bool]:
        granted = []
        for n in range(10):
            barrier.wait()
            answer = ledger.claim(
                ingest(f"f{n}"), owner=f"o{owner}", lease=LEASE, now=T0, release=""
            )
            granted.append(answer.granted)
        return granted

    with ThreadPoolExecutor(owners) as pool:
        answers = list(pool.map(compete, range(owners)))
    assert [sum(column) for column in zip(*answers)] == [1] * 10


def test_products_are_replaced_and_retired(ledger: Ledger) -> None:
    first = carry_out(ledger, ingest(), product("a"), product("b"), product("c", config="x/y"))
    assert [p.key for p in ledger.products()] == ["a", "b", "c"]
    assert ledger.made_by(first.key) == list(first.products)
    run = ingest(version="2")
    second = finish(
        ledger, claim(ledger, run), products=[product("a", sha256="2")], retired=("b", "gone")
    )
    assert ledger.product("a") == second.products[0]
    assert ledger.product("b") is None
    assert ledger.made_by(second.key) == list(second.products)
    assert [p.key for p in ledger.made_by(first.key)] == ["c"]
    assert ledger.record(first.key) == first
    assert ledger.products_at(["c", "b", "a", "a"]) == {
        "a": second.products[0],
        "c": first.products[2],
    }
    assert ledger.products_at([]) == {}
    assert [p.key for p in ledger.products(config="x/y")] == ["c"]
    assert [p.key for p in ledger.products(limit=1)] == ["a"]
    assert list(ledger.products(limit=0)) == []


def test_runs_that_are_replaced_become_superseded_and_may_run_again(ledger: Ledger) -> None:
    first = carry_out(ledger, ingest(), product("a"))
    failed = finish(ledger, claim(ledger, ingest(version="0")), "failed")
    second = claim(ledger, ingest(version="2"))
    ledger.finish(
        replace(
            second,
            state="succeeded",
            finished=at(1),
            products=(product("a", sha256="2", run=second.key),),
            replaces=(first.key, failed.key, "unknown"),
        )
    )
    assert ledger.record(first.key) == replace(first, state="superseded")
    assert ledger.states([first.key, failed.key]) == {
        first.key: "superseded",
        failed.key: "failed",
    }
    assert ledger.untaken("lidar/humboldt", first.run.inputs) == list(first.run.inputs)
    again = claim(ledger, ingest())
    assert again.attempt == first.attempt + 1


def test_an_owner_may_claim_once_more_what_it_holds(ledger: Ledger) -> None:
    held = claim(ledger, ingest())
    more = ledger.claim(ingest(), owner=held.owner, lease=LEASE, now=T0, release="")
    assert more.granted
    assert more.record is not None
    assert (more.record.attempt, more.record.tries) == (held.attempt + 1, held.tries)


def test_states_and_records(ledger: Ledger) -> None:
    runs = [ingest(f"f{n}", config=f"p/{n % 2}") for n in range(6)]
    states = ["succeeded", "failed", "empty", "retrying", "superseded", "succeeded"]
    for n, (run, state) in enumerate(zip(runs, states)):
        finish(ledger, claim(ledger, run, now=at(n)), state)  # type: ignore[arg-type]
    running = claim(ledger, ingest("f6", config="p/0"), now=at(2.5))
    keys = [run.key for run in runs]
    assert ledger.states([*keys, "none"]) == dict(zip(keys, states))
    assert ledger.states([]) == {}

    def told(**query: object) -> list[str]:
        return [r.run.inputs[0].key for r in ledger.records(**query)]  # type: ignore[arg-type]

    assert told() == ["f5", "f4", "f3", "f6", "f2", "f1", "f0"]
    assert told(limit=2) == ["f5", "f4"]
    assert told(limit=0) == []
    assert told(config="p/0") == ["f4", "f6", "f2", "f0"]
    assert told(states=("succeeded", "failed")) == ["f5", "f1", "f0"]
    assert told(config="p/1", states=("succeeded", "failed"), limit=1) == ["f5"]
    assert told(prefix=running.key[:10]) == ["f6"]
    assert told(prefix=running.key[:10], config="p/1") == []
    assert told(prefix=running.key, states=("running",)) == ["f6"]
    assert told(config="none") == told(prefix="zz") == []
    assert told(before=at(3)) == ["f6", "f2", "f1", "f0"]
    assert told(before=at(3), config="p/0", limit=2) == ["f6", "f2"]
    assert told(before=at(0)) == told(before=at(1), prefix=running.key[:10]) == []
    assert told(since=at(2.5)) == ["f5", "f4", "f3", "f6"]
    assert told(since=at(2), before=at(4), config="p/0") == ["f6", "f2"]
    assert told(since=at(9)) == told(since=at(3), prefix=running.key[:10]) == []


def test_records_over_many_pages(ledger: Ledger) -> None:
    for n in range(450):  # several start at the same moment: their keys tell them apart
        finish(
            ledger, claim(ledger, ingest(f"f{n}"), now=at(n // 7)), "empty" if n % 3 else "failed"
        )
    told = [(r.started, r.key) for r in ledger.records()]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == 450
    assert [(r.started, r.key) for r in ledger.records(limit=333)] == told[:333]


def test_about_one_subject(ledger: Ledger) -> None:
    old, new = ingest("a", "1"), ingest("a", "2")
    both = Run(CONFIG, inputs=(Input("b", "1", 1), Input("a", "3", 1)))
    for n, run in enumerate([old, new, both, ingest("a", config="x/y"), ingest("b")]):
        carry_out(ledger, run, now=at(n))
    assert [r.key for r in ledger.about(CONFIG, "a")] == [both.key, new.key, old.key]
    assert [r.key for r in ledger.about(CONFIG, "a", but=new.key)] == [both.key, old.key]
    assert ledger.about(CONFIG, "none") == []
    vap = Run("vap/x", window=Window(T0, at(1)))
    record = claim(ledger, vap)
    assert ledger.about("vap/x", vap.subjects[0]) == [record]
    script = Run("api/x", arguments=("202204", "all"))
    record = claim(ledger, script)
    assert ledger.about("api/x", "202204") == ledger.about("api/x", "all") == [record]


def test_untaken(ledger: Ledger) -> None:
    a1, a2, b = Input("a", "1", 1), Input("a", "2", 1), Input("b", "1", 1)
    carry_out(ledger, Run(CONFIG, inputs=(a1,)))
    assert ledger.untaken(CONFIG, [b, a2, a1]) == [b, a2]
    assert ledger.untaken("x/y", [a1]) == [a1]
    assert ledger.untaken(CONFIG, [replace(a1, size=2)]) == [replace(a1, size=2)]
    finish(ledger, claim(ledger, Run(CONFIG, inputs=(a2, b))), "failed")
    assert ledger.untaken(CONFIG, [a1, a2, b]) == []
    c = Input("c", "1", 1)
    finish(ledger, claim(ledger, Run(CONFIG, inputs=(b, c))), "superseded")
    assert ledger.untaken(CONFIG, [b, c]) == [c]
    assert ledger.untaken(CONFIG, []) == []
    many = [Input(f"m{n}", "1", 1) for n in range(1000)]
    carry_out(ledger, Run(CONFIG, inputs=tuple(many[::2])))
    assert ledger.untaken(CONFIG, many) == many[1::2]


def test_overlapping_is_half_open_and_products_are_inclusive(ledger: Ledger) -> None:
    carry_out(
        ledger,
        ingest(),
        product("ends-before", 0, 0.999),
        product("ends-at-begin", 0, 1),
        product("point", 1.5, 1.5),
        product("around", -5, 50),
        product("year", -4000, 4760),
        product("begins-at-end", 2, 3),
        product("plot", 1, 2, kind="ancillary"),
        product("timeless", None, None),
        product("half", None, 1),
        product("other", 1, 2, datastream="other"),
    )
    found = [p.key for p in ledger.overlapping(STREAM, at(1), at(2))]
    assert found == ["year", "around", "ends-at-begin", "point"]
    listed = {p.key for p in ledger.products(datastream=STREAM, begin=at(1), end=at(2))}
    assert listed == {*found, "plot"}
    assert {p.key for p in ledger.products(begin=at(1), end=at(2))} == {*listed, "other"}
    assert {p.key for p in ledger.products(begin=at(3))} == {"around", "year", "begins-at-end"}
    assert {p.key for p in ledger.products(end=at(-5))} == {"year"}
    assert len(list(ledger.products(datastream=STREAM))) == 9
    assert ledger.overlapping("none", at(1), at(2)) == []


numbers = itertools.count()
hours = st.integers(-30, 30).map(float) | st.floats(-9000, 9000, width=32)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spans=st.lists(st.tuples(hours, st.floats(0, 9000, width=32) | st.just(0.0)), max_size=12),
    asked=st.lists(st.tuples(hours, hours).filter(lambda pair: pair[0] < pair[1]), max_size=4),
)
def test_overlapping_finds_what_overlaps(
    ledger: Ledger, spans: list[tuple[float, float]], asked: list[tuple[float, float]]
) -> None:
    name = stream = f"stream-{next(numbers)}"  # the ledger stays for all examples
    made = [
        product(f"{name}/{n}", begin, begin + length, datastream=stream)
        for n, (begin, length) in enumerate(spans)
    ]
    record = carry_out(ledger, ingest(stream), *made)
    for begin, end in asked:
        expected = [p for p in record.products if overlaps(p, at(begin), at(end))]
        expected.sort(key=lambda p: (p.begin, p.key))
        assert ledger.overlapping(stream, at(begin), at(end)) == expected


def test_changes_tell_new_replaced_and_retired_spans(ledger: Ledger) -> None:
    assert ledger.changes(STREAM, "")[0] == []
    start = ledger.changes(STREAM, "")[1]
    carry_out(ledger, ingest("a"), product("a", 0, 1), product("a.png", 7, 8, kind="ancillary"))
    carry_out(ledger, ingest("o"), product("o", 9, 10, datastream="other"))
    spans, cursor = ledger.changes(STREAM, start)
    assert spans == [Span(at(0), at(1))]
    assert ledger.changes(STREAM, cursor)[0] == []
    carry_out(ledger, ingest("a", "2"), product("a", 2, 3), product("t", None, None))
    spans, next_cursor = ledger.changes(STREAM, cursor)
    assert set(spans) == {Span(at(0), at(1)), Span(at(2), at(3))}
    finish(ledger, claim(ledger, ingest("a", "3")), retired=("a",))
    assert ledger.changes(STREAM, next_cursor)[0] == [Span(at(2), at(3))]
    assert set(ledger.changes(STREAM, cursor)[0]) == {Span(at(0), at(1)), Span(at(2), at(3))}
    assert set(ledger.changes(STREAM, "")[0]) == {Span(at(0), at(1)), Span(at(2), at(3))}
    assert ledger.changes("other", "")[0] == [Span(at(9), at(10))]
    assert ledger.datastreams() == sorted(ledger.datastreams())
    assert {STREAM, "other"} <= set(ledger.datastreams())
    assert "" not in ledger.datastreams()


def test_a_product_that_moves_to_another_datastream_is_told_in_both(ledger: Ledger) -> None:
    carry_out(ledger, ingest("a"), product("a", 0, 1))
    cursor = ledger.changes(STREAM, "")[1]
    carry_out(ledger, ingest("a", "2"), product("a", 0, 2, datastream="other"))
    assert ledger.changes(STREAM, cursor)[0] == [Span(at(0), at(1))]
    assert ledger.changes("other", "")[0] == [Span(at(0), at(2))]


def test_no_change_is_left_out_while_others_write(ledger: Ledger) -> None:
    writers, each = 4, 25
    done = threading.Event()
    told: set[Span] = set()

    def follow() -> None:
        cursor = ""
        last_round = False
        while True:
            spans, cursor = ledger.changes(STREAM, cursor)
            told.update(spans)
            if last_round:
                return
            last_round = done.is_set()

    def write(writer: int) -> None:
        for n in range(each):
            hour = writer * each + n
            carry_out(ledger, ingest(f"{hour}"), product(f"{hour}", hour, hour))

    follower = threading.Thread(target=follow)
    follower.start()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    done.set()
    follower.join()
    assert told == {Span(at(hour), at(hour)) for hour in range(writers * each)}


def test_small_values(ledger: Ledger) -> None:
    assert ledger.state("cursors/x") is None
    ledger.set_state("cursors/x", "1")
    ledger.set_state("cursors/x", '{"é": 2}')
    assert ledger.state("cursors/x") == '{"é": 2}'
    assert ledger.state("cursors") is None


def test_acknowledgements_at_the_same_moment_are_all_kept(ledger: Ledger) -> None:
    """None is lost, although all are in one value."""
    people = 4
    together = threading.Barrier(people)

    def work(person: int) -> None:
        together.wait()
        for n in range(5):
            acknowledge(ledger, f"{person}.{n}", str(person), T0)

    with ThreadPoolExecutor(people) as pool:
        list(pool.map(work, range(people)))
    assert set(acknowledged(ledger)) == {f"{p}.{n}" for p in range(people) for n in range(5)}


@pytest.mark.parametrize("name", ["a b+c%20'\"\n.dat", "é", "e\u0301", "风/🌊", "\udcff\udc80.dat"])
def test_names_are_kept_as_they_are(ledger: Ledger, name: str) -> None:
    run = ingest(name)
    record = finish(ledger, claim(ledger, run), products=[product(name)], log=name)
    assert ledger.record(run.key) == record
    assert ledger.product(name) == record.products[0]
    assert ledger.about(CONFIG, name) == [record]
    assert ledger.untaken(CONFIG, run.inputs) == []
    ledger.set_state(name, name)
    assert ledger.state(name) == name
    other = "e\u0301" if name == "é" else "é"
    assert ledger.product(other) is None


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(record=records)
def test_a_record_comes_back_as_it_was(ledger: Ledger, record: RunRecord) -> None:
    claimed = claim(ledger, replace(record.run, again=True), owner=record.owner, now=at(1e6))
    ended = replace(record, attempt=claimed.attempt, state="succeeded")
    ledger.finish(ended)
    assert ledger.record(record.key) == ended
    for made in {p.key: p for p in record.products}.values():
        assert ledger.product(made.key) == made
    assert ended in list(ledger.records(prefix=record.key))


@settings(max_examples=200)
@given(record=records)
def test_a_record_survives_json(record: RunRecord) -> None:
    text = dumps(record)
    assert loads(RunRecord, text) == record
    assert dumps(loads(RunRecord, text)) == text
    text.encode("ascii")


def test_readers_do_not_mind_writers(ledger: Ledger) -> None:
    """Every method at once from many threads: nothing raises, and what is read is whole."""
    stop = threading.Event()
    window = (at(0), at(100))
    queries: list[Callable[[], object]] = [
        lambda: [loads(RunRecord, dumps(r)) for r in ledger.records(limit=20)],
        lambda: ledger.overlapping(STREAM, *window),
        lambda: ledger.untaken(CONFIG, [Input(f"{n}", "1", 10) for n in range(50)]),
        lambda: list(ledger.products(datastream=STREAM)),
        lambda: ledger.set_state("n", "1"),
    ]

    def ask(query: Callable[[], object]) -> None:
        while not stop.is_set():
            query()

    with ThreadPoolExecutor(len(queries)) as pool:
        asking = [pool.submit(ask, query) for query in queries]
        try:
            for n in range(60):
                failure = Failure("bad-input", "no") if n % 5 == 0 else None
                finish(ledger, claim(ledger, ingest(f"{n}")), products=[_made(n)], failure=failure)
        finally:
            stop.set()
        for future in asking:
            future.result()
    assert len(ledger.overlapping(STREAM, *window)) == 60


def _made(n: int) -> Product:
    return product(f"{n}", n, n + 1)
