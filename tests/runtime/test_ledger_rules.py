"""The decisions that all ledgers share, where the contract tests do not reach."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tidegate.runtime.ledger_rules import (
    changed_spans,
    finish_changes,
    from_micros,
    superseded,
    to_micros,
)
from tidegate.runtime.protocols import Span
from tidegate.runtime.runs import Product, Run, RunRecord, State

T0 = datetime(2022, 4, 5, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def record(state: State, **more: object) -> RunRecord:
    return RunRecord(Run("p/c", arguments=("a",)), state, 1, T0, **more)  # type: ignore[arg-type]


def data(key: str, begin: datetime = T0) -> Product:
    return Product(key, "data", 1, "f", datastream="s", begin=begin, end=begin + HOUR)


def test_a_run_does_not_supersede_itself() -> None:
    own = record("succeeded").key
    changes = finish_changes(record("succeeded", replaces=("old", own, "old")), record("running"))
    assert changes.replaced == ("old",)


def test_a_product_that_is_published_is_not_retired() -> None:
    end = record("succeeded", products=(data("a"),), retired=("a", "b"))
    assert finish_changes(end, record("running")).products == {"a": data("a"), "b": None}


@pytest.mark.parametrize(
    ("state", "left"), [("succeeded", ("a",)), ("empty", ("a",)), ("failed", ("a", "b"))]
)
def test_what_an_attempt_may_have_published_stays_on_record(
    state: State, left: tuple[str, ...]
) -> None:
    stored = record("running", publishing=("a", "b"))
    assert finish_changes(record(state, publishing=("a",)), stored).record.publishing == left


@pytest.mark.parametrize("state", ["running", "retrying", "failed", "superseded"])
def test_only_settled_runs_are_superseded(state: State) -> None:
    assert superseded(record(state)) is None
    after = superseded(record("empty"))
    assert after is not None
    assert after.state == "superseded"


def test_a_change_touches_the_times_of_both_versions() -> None:
    old, new = data("a"), data("a", T0 + HOUR)
    spans = [("s", Span(T0, T0 + HOUR)), ("s", Span(T0 + HOUR, T0 + 2 * HOUR))]
    assert changed_spans(old, new) == spans
    assert changed_spans(old, old) == spans[:1]
    assert changed_spans(None, None) == []
    plot = Product("p", "ancillary", 1, "f", datastream="s", begin=T0, end=T0)
    assert changed_spans(plot, Product("q", "data", 1, "f")) == []


@pytest.mark.parametrize("year", [1, 1969, 1970, 9999])
def test_times_are_exact(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    assert from_micros(to_micros(moment)) == moment
