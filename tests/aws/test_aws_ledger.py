"""What DynamoDB adds to the contract: limits of items and transactions, requests, forgetting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from samples import CONFIG, LEASE, STREAM, T0, at, carry_out, claim, finish, ingest, product

from tidegate.errors import StorageError
from tidegate.runtime.protocols import ClaimLost, Overtaken, Span
from tidegate.runtime.runs import Input, Product, QualitySummary, Run, RunRecord
from tidegate.targets.aws.clients import Clients, ConditionFailed
from tidegate.targets.aws.ledger import DynamoLedger, changes, table_definition, times
from tidegate.targets.aws.ledger.keys import run_key, to_key
from tidegate.targets.aws.ledger.table import Table


class Counting:
    """Clients that count requests to DynamoDB."""

    def __init__(self, clients: Clients) -> None:
        self.calls: Counter[str] = Counter()
        self._real = clients.dynamodb
        self.before: Callable[[str, dict[str, Any]], None] = lambda name, arguments: None

    @property
    def dynamodb(self) -> Any:
        return self

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:*:*:{resource}"

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls[name] += 1
            self.before(name, arguments)
            return getattr(self._real, name)(**arguments)

        return call


@pytest.fixture
def counting(clients: Clients) -> Counting:
    return Counting(clients)


@pytest.fixture
def ledger(new_table: Callable[[], str], counting: Counting) -> DynamoLedger:
    return DynamoLedger(new_table(), counting)  # type: ignore[arg-type]


@pytest.fixture
def other(ledger: DynamoLedger, counting: Counting) -> DynamoLedger:
    """The same table, as another process has it."""
    return DynamoLedger(ledger.table, counting)  # type: ignore[arg-type]


class Refusing:
    """Clients of a DynamoDB that refuses the first writes for ``reasons``, one after the other."""

    def __init__(self, *reasons: tuple[str, ...]) -> None:
        self.dynamodb = self
        self.reasons = [*reasons]
        self.writes = 0

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:*:*:{resource}"

    def transact_write_items(self, **arguments: Any) -> None:
        self.writes += 1
        if self.reasons:
            codes = [{"Code": code} for code in self.reasons.pop(0)]
            error = {"Code": "TransactionCanceledException", "Message": "cancelled"}
            answer: Any = {"Error": error, "CancellationReasons": codes}
            raise ClientError(answer, "TransactWriteItems")

    def write_twice(self) -> None:
        table = Table("t", self)  # type: ignore[arg-type]
        table.transact([table.put({}), table.put({})])


def test_a_write_that_is_cancelled_in_passing_is_sent_again() -> None:
    passing = Refusing(("None", "TransactionConflict"), ("ThrottlingError", "None"))
    passing.write_twice()
    assert passing.writes == 3
    for codes, error in (
        (("ConditionalCheckFailed", "TransactionConflict"), ConditionFailed),
        (("ValidationError", "ThrottlingError"), StorageError),
    ):
        lasting = Refusing(codes)
        with pytest.raises(error):
            lasting.write_twice()
        assert lasting.writes == 1


def test_a_write_is_not_sent_again_for_ever() -> None:
    for code, error in (
        ("ThrottlingError", StorageError),
        ("TransactionConflict", ConditionFailed),
    ):
        busy = Refusing(*[(code,)] * 100)
        with pytest.raises(error):
            busy.write_twice()
        assert 2 < busy.writes < 20


def many(count: int, text: str = "") -> list[Any]:
    quality = tuple(QualitySummary(f"{text}{n}", n, n, n) for n in range(50 if text else 0))
    return [product(f"p{n:05d}", n, n + 1, quality=quality) for n in range(count)]


def test_a_run_with_more_products_than_a_transaction_takes(ledger: DynamoLedger) -> None:
    record = carry_out(ledger, ingest(), *many(500, "x"))
    assert ledger.record(record.key) == record
    assert [p.key for p in ledger.made_by(record.key)] == [p.key for p in record.products]
    assert len(ledger.overlapping(STREAM, at(0), at(1000))) == 500
    assert len(ledger.changes(STREAM, "")[0]) == 500
    assert len(list(ledger.products(config=CONFIG))) == 500


def test_a_crash_between_two_transactions_is_put_right(
    ledger: DynamoLedger, counting: Counting
) -> None:
    run, products = ingest(), many(200)
    record = claim(ledger, run)
    left = [2]

    def crash(name: str, arguments: dict[str, Any]) -> None:
        if name == "transact_write_items":
            left[0] -= 1
            if left[0] < 0:
                raise StorageError("gone")

    counting.before = crash
    with pytest.raises(StorageError):
        finish(ledger, record, products=products)
    counting.before = lambda name, arguments: None
    stored = ledger.record(run.key)
    assert stored is not None
    assert stored.state == "running"
    half = len(list(ledger.products()))
    assert 0 < half < 200
    assert len(ledger.changes(STREAM, "")[0]) == half
    again = claim(ledger, run, now=T0 + LEASE)
    done = finish(ledger, again, products=products)
    assert ledger.record(run.key) == done
    assert len(list(ledger.products())) == 200
    assert {s.begin for s in ledger.changes(STREAM, "")[0]} == {p.begin for p in products}


def test_many_transactions_for_an_owner_who_has_lost(
    ledger: DynamoLedger, other: DynamoLedger
) -> None:
    run = ingest()
    record = claim(ledger, run)
    claim(other, run, "other", now=T0 + LEASE)
    with pytest.raises(ClaimLost):
        finish(ledger, record, products=many(200))
    assert list(ledger.products()) == []


def test_a_record_longer_than_an_item(ledger: DynamoLedger, counting: Counting) -> None:
    """Random names do not pack well: three parts beside the record's item."""
    import random

    names = random.Random(1)
    inputs = tuple(Input(f"{names.getrandbits(4000):x}", "1", n) for n in range(1500))
    run = Run(CONFIG, inputs)
    record = claim(ledger, run)
    ledger.intend(run.key, owner="me", attempt=1, products=["a"])
    done = finish(ledger, record, products=[product("a")], publishing=())
    assert ledger.record(run.key) == done
    assert list(ledger.records(config=CONFIG)) == [done]
    assert ledger.untaken(CONFIG, [*inputs[:300], Input("new", "1", 1)]) == [Input("new", "1", 1)]
    assert len(ledger.about(CONFIG, inputs[7].key)) == 1
    items = counting.dynamodb.scan(TableName=ledger.table)["Items"]
    parts = [item for item in items if item["pk"]["S"].startswith("B#")]
    assert len({item["pk"]["S"] for item in parts}) == 1  # those of earlier writes are gone
    ledger.set_state("long", "x" * 10 + "".join(i.key for i in inputs))
    assert ledger.state("long") == "x" * 10 + "".join(i.key for i in inputs)


def test_a_write_whose_answer_was_lost_is_not_a_loss(
    ledger: DynamoLedger, counting: Counting
) -> None:
    """It is sent again, and meets itself."""

    def twice(name: str, arguments: dict[str, Any]) -> None:
        if name == "put_item":
            getattr(counting._real, name)(**arguments)

    carry_out(ledger, ingest("old"))
    run = ingest()
    finish(ledger, claim(ledger, run), "retrying")
    counting.before = twice
    record = claim(ledger, run)
    ledger.intend(run.key, owner="me", attempt=2, products=["a"])
    done = finish(ledger, record, "failed", publishing=("a",))
    assert ledger.record(run.key) == done


def test_products_that_change_hands_meanwhile(
    ledger: DynamoLedger, other: DynamoLedger, counting: Counting
) -> None:
    """Two runs replace the same product at once: no trace of either's older version is left."""
    carry_out(ledger, ingest("old"), product("a", 0, 1))
    record = claim(ledger, ingest("new"))
    done = [False]

    def meanwhile(name: str, arguments: dict[str, Any]) -> None:
        if name == "transact_write_items" and not done[0]:
            done[0] = True
            carry_out(other, ingest("other"), product("a", 5, 6))

    counting.before = meanwhile
    with pytest.raises(Overtaken):
        finish(ledger, record, products=[product("a", 2, 3)])
    finish(ledger, record, products=[product("a", 2, 3)])
    assert [p.begin for p in ledger.overlapping(STREAM, at(-9), at(9))] == [at(2)]
    spans = set(ledger.changes(STREAM, "")[0])
    assert spans == {Span(at(0), at(1)), Span(at(5), at(6)), Span(at(2), at(3))}


@pytest.mark.parametrize("history", [1, 60])
def test_requests_do_not_grow_with_the_history(
    ledger: DynamoLedger, counting: Counting, history: int
) -> None:
    days = [product(f"d{n}", 24 * n, 24 * n + 23) for n in range(history)]
    carry_out(ledger, ingest("days"), *days, product("years", -80_000, 80_000))
    counting.calls.clear()
    found = ledger.overlapping(STREAM, at(0), at(24))
    assert [p.key for p in found] == ["years", "d0"]
    assert counting.calls["get_item"] == 1
    assert 2 <= counting.calls["query"] <= 4  # one or two shelves of each of two scales


def in_one_go(ledger: DynamoLedger, run: Run, *products: Product) -> RunRecord:
    """A run's way through the ledger, as ``select``, ``handle`` and ``publish`` go it."""
    assert ledger.states([run.key]) == {}
    record = claim(ledger, run)
    keys = [product.key for product in products]
    ledger.intend(run.key, owner="me", attempt=1, products=keys)
    ledger.products_at(keys)
    assert ledger.about(run.config, run.subjects[0], but=run.key) == []
    assert ledger.made_by(run.key) == []
    assert ledger.products_at(()) == {}
    return finish(ledger, record, products=products)


def test_requests_of_a_run(ledger: DynamoLedger, counting: Counting) -> None:
    """What a plain ingest of one file costs, once its datastream is known."""
    plot = product("p0.png", kind="ancillary")
    in_one_go(ledger, ingest("first"), product("p0"), plot)
    least = {"batch_get_item": 2, "query": 1, "put_item": 1, "transact_write_items": 2}
    # What there is of the datastream is noted once, by each process that writes it.
    assert counting.calls == {**least, "transact_write_items": 3}
    counting.calls.clear()
    done = in_one_go(ledger, ingest("a"), product("p1"), replace(plot, key="p1.png"))
    assert counting.calls == least
    assert ledger.record(done.key) == done
    assert list(ledger.products()) == [*ledger.made_by(ingest("first").key), *done.products]


def test_a_run_that_another_has_claimed_since_it_was_looked_for(
    ledger: DynamoLedger, other: DynamoLedger
) -> None:
    run = ingest()
    assert ledger.states([run.key]) == other.states([run.key]) == {}
    record = claim(other, run, "other")
    answer = ledger.claim(run, owner="me", lease=LEASE, now=T0, release="")
    assert (answer.granted, answer.reason, answer.record) == (False, "busy", record)
    done = finish(other, record, products=[product("a")])
    assert ledger.record(run.key) == done


def test_products_that_another_has_written_since_they_were_read(
    ledger: DynamoLedger, other: DynamoLedger
) -> None:
    """What was read before is not what is replaced or retired: none of the other's is left."""
    carry_out(other, ingest("old"), product("a", 0, 1), product("b", 0, 1))
    record = claim(ledger, ingest("new"))
    assert ledger.products_at(["a", "b", "c", "d"]).keys() == {"a", "b"}
    theirs = [product("a", 5, 6), product("b", 7, 8), product("c", 9, 10), product("d", 11, 12)]
    carry_out(other, ingest("other"), *theirs)
    mine = [product("a", 2, 3), product("c", 3, 4)]
    with pytest.raises(Overtaken):
        finish(ledger, record, products=mine, retired=("b", "d"))
    assert len(list(ledger.products())) == len(theirs)
    done = finish(ledger, record, products=mine, retired=("b", "d"))
    assert list(ledger.products()) == list(done.products)
    assert ledger.overlapping(STREAM, at(-9), at(99)) == list(done.products)
    changed = {span.begin for span in ledger.changes(STREAM, "")[0]}
    assert changed == {at(n) for n in (0, 2, 3, 5, 7, 9, 11)}


def test_a_late_writer_is_not_passed_by(ledger: DynamoLedger, monkeypatch: Any) -> None:
    """A change that is filed under an earlier time than one that was told already is told too."""
    now = [10**15]
    monkeypatch.setattr(times, "now_micros", lambda: now[0])
    margin = changes.OVERLAP // timedelta(microseconds=1)
    carry_out(ledger, ingest("a"), product("a", 0, 1))
    spans, cursor = ledger.changes(STREAM, "")
    assert spans == [Span(at(0), at(1))]
    now[0] -= margin - 1
    carry_out(ledger, ingest("b"), product("b", 2, 3))
    now[0] += 10 * margin
    spans, cursor = ledger.changes(STREAM, cursor)
    assert spans == [Span(at(2), at(3))]
    assert ledger.changes(STREAM, cursor) == ([], cursor)
    carry_out(ledger, ingest("c"), product("c", 4, 5))
    spans, cursor = ledger.changes(STREAM, cursor)
    assert spans == [Span(at(4), at(5))]
    assert cursor.count(",") == 0  # only what lies in the margin is remembered


def test_a_clock_that_ran_ahead_hides_nothing(ledger: DynamoLedger, monkeypatch: Any) -> None:
    now = [10**15]
    monkeypatch.setattr(times, "now_micros", lambda: now[0])
    now[0] *= 2
    carry_out(ledger, ingest("a"), product("a", 0, 1))
    now[0] //= 2
    cursor = ledger.changes(STREAM, "")[1]
    carry_out(ledger, ingest("b"), product("b", 2, 3))
    spans, cursor = ledger.changes(STREAM, cursor)
    assert spans == [Span(at(2), at(3))]
    assert ledger.changes(STREAM, cursor)[0] == []


def test_a_long_log_of_changes_is_read_in_parts(ledger: DynamoLedger, monkeypatch: Any) -> None:
    """What is newer than the margin is read to its end: a late change may still go before it."""
    now = [10**15]
    margin = changes.OVERLAP // timedelta(microseconds=1)
    monkeypatch.setattr(times, "now_micros", lambda: now[0])
    monkeypatch.setattr(changes, "MOST_CHANGES", 2)
    for n in range(5):
        carry_out(ledger, ingest(f"{n}"), product(f"{n}", n, n + 1))
        now[0] += 1 if n < 3 else 2 * margin
    begins, cursor = [], ""
    for _ in range(4):
        spans, cursor = ledger.changes(STREAM, cursor)
        begins.append([span.begin for span in spans])
    assert begins == [[at(0), at(1)], [at(2), at(3)], [at(4)], []]


def test_all_runs_are_listed_whatever_the_partition(
    ledger: DynamoLedger, counting: Counting
) -> None:
    """One partition for all runs would take 250 runs a second."""
    runs = [replace(ingest(f"{n}"), config=CONFIG if n % 2 else "b/c") for n in range(12)]
    for n, run in enumerate(runs):
        claim(ledger, run, now=T0 + timedelta(seconds=n))
    keys = [run.key for run in reversed(runs)]
    assert [record.key for record in ledger.records(states=("running",))] == keys
    ours = [record.key for record in ledger.records(config=CONFIG)]
    assert ours == [run.key for run in reversed(runs) if run.config == CONFIG]
    items = counting.dynamodb.scan(TableName=ledger.table)["Items"]
    assert len({i["pk"]["S"] for i in items if i["pk"]["S"].startswith("R#running")}) > 1


def test_runs_are_forgotten_when_that_is_asked_for(
    new_table: Callable[[], str], clients: Clients
) -> None:
    table = new_table()
    kept, forgetful = (
        DynamoLedger(table, clients),
        DynamoLedger(table, clients, keep_runs=timedelta(days=30)),
    )

    def expiry(run: Run) -> int | None:
        key = to_key(*run_key(run.key))
        item = clients.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
        return int(item["expires"]["N"]) if "expires" in item else None

    run = ingest("a")
    record = claim(forgetful, run)
    assert expiry(run) is None  # not while it runs
    finish(forgetful, record, products=[product("a")])
    assert expiry(run) == int((T0 + timedelta(days=30)).timestamp())
    carry_out(kept, ingest("b"))
    assert expiry(ingest("b")) is None
    claim(forgetful, replace(run, again=True, arrived=at(1)))
    assert expiry(run) is None
    # DynamoDB forgets it: what it took stays taken, and its product is there.
    clients.dynamodb.delete_item(TableName=table, Key=to_key(*run_key(run.key)))
    assert forgetful.untaken(CONFIG, run.inputs) == []
    assert forgetful.product("a") is not None
    assert forgetful.about(CONFIG, "a") == []


def test_what_a_claim_that_never_came_about_noted_is_not_taken(ledger: DynamoLedger) -> None:
    """A function that dies before its claim of very many files is written."""
    run = Run(CONFIG, tuple(Input(f"{n}", "1", 1) for n in range(200)))
    for write in ledger._claims.notes_of(run, sure=False):
        ledger._table.write_surely([write])
    assert ledger.untaken(CONFIG, run.inputs) == list(run.inputs)
    assert ledger.about(CONFIG, "7") == []


def test_the_table_is_plain_data() -> None:
    definition = table_definition()
    assert definition["BillingMode"] == "PAY_PER_REQUEST"
    indexes = definition["GlobalSecondaryIndexes"]
    assert [index["Projection"] for index in indexes] == [{"ProjectionType": "KEYS_ONLY"}] * 2
    named = {a["AttributeName"] for a in definition["AttributeDefinitions"]}
    keys = [definition["KeySchema"], *(index["KeySchema"] for index in indexes)]
    assert named == {part["AttributeName"] for schema in keys for part in schema}
