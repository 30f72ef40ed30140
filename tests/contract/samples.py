"""Small runs and products for tests, and hypothesis strategies for all that a record can hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

from hypothesis import strategies as st

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import (
    Failure,
    FailureKind,
    Input,
    Product,
    ProductRef,
    QualitySummary,
    Run,
    RunRecord,
    State,
    Window,
)

T0 = datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
CONFIG = "lidar/humboldt"
STREAM = "humboldt.lidar_z05.a1"
LEASE = timedelta(minutes=15)


def at(hours: float) -> datetime:
    """A moment, hours after the tests' beginning of time."""
    return T0 + timedelta(hours=hours)


def ingest(
    name: str = "lidar/humboldt/a.sta", version: str = "1", config: str = CONFIG, **more: Any
) -> Run:
    """A run over one raw file."""
    return Run(config, inputs=(Input(name, version, 10),), **more)


def product(key: str, begin: float | None = 0, end: float | None = 1, **more: Any) -> Product:
    """A product; its times are hours after T0."""
    times = {
        "begin": None if begin is None else at(begin),
        "end": None if end is None else at(end),
    }
    given = {"kind": "data", "size": 1, "sha256": "f" * 64, "datastream": STREAM, "config": CONFIG}
    return Product(key, **{**given, **times, **more})


def claim(ledger: Ledger, run: Run, owner: str = "me", now: datetime = T0) -> RunRecord:
    """Claim a run that nothing stands in the way of."""
    answer = ledger.claim(run, owner=owner, lease=LEASE, now=now, release="r1")
    assert answer.granted
    assert answer.record is not None
    return answer.record


def finish(ledger: Ledger, record: RunRecord, state: State = "succeeded", **more: Any) -> RunRecord:
    """End an attempt; its products become the run's own."""
    made = tuple(replace(p, run=record.key) for p in more.pop("products", ()))
    ended = replace(record, state=state, finished=record.started, products=made, **more)
    ledger.finish(ended)
    return ended


def carry_out(ledger: Ledger, run: Run, *products: Product, now: datetime = T0) -> RunRecord:
    """Claim and finish at once."""
    return finish(ledger, claim(ledger, run, now=now), products=products)


texts = st.text(st.characters(codec="utf-8"), max_size=12)
# Names of files may be anything but NUL; Python has bytes that are not UTF-8 as surrogates.
keys = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="\0"),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
    ),
    min_size=1,
    max_size=12,
)
moments = st.datetimes(timezones=st.just(timezone.utc))
numbers = st.floats(0, 1e6, allow_nan=False)
inputs = st.builds(Input, keys, texts, st.integers(0, 2**50))
windows = st.lists(moments, min_size=2, max_size=2, unique=True).map(lambda w: Window(*sorted(w)))
runs = st.builds(
    Run,
    config=texts,
    inputs=st.lists(inputs, max_size=3).map(tuple),
    window=st.none() | windows,
    products=st.lists(st.builds(ProductRef, keys, texts), max_size=3).map(tuple),
    arguments=st.lists(texts, max_size=2).map(tuple),
    arrived=st.none() | moments,
    again=st.booleans(),
)
products = st.builds(
    Product,
    key=keys,
    kind=st.sampled_from(["data", "ancillary"]),
    size=st.integers(0, 2**50),
    sha256=texts,
    datastream=keys | st.just(""),
    begin=st.none() | moments,
    end=st.none() | moments,
    dimensions=st.dictionaries(texts, st.integers(0, 10**9), max_size=3),
    quality=st.lists(
        st.builds(QualitySummary, texts, *[st.integers(0, 10**9)] * 3), max_size=2
    ).map(tuple),
    run=texts,
    config=texts,
    made=st.none() | moments,
)
records = st.builds(
    RunRecord,
    run=runs,
    state=st.sampled_from(get_args(State)),
    attempt=st.integers(1, 1000),
    started=moments,
    tries=st.integers(1, 1000),
    owner=texts,
    publishing=st.lists(keys, max_size=3).map(tuple),
    finished=st.none() | moments,
    release=texts,
    failure=st.none() | st.builds(Failure, st.sampled_from(get_args(FailureKind)), *[texts] * 3),
    plots_failed=texts,
    warnings=st.lists(texts, max_size=2).map(tuple),
    products=st.lists(products, max_size=3).map(tuple),
    retired=st.lists(keys, max_size=2).map(tuple),
    seconds=st.dictionaries(texts, numbers, max_size=3),
    peak_memory=numbers,
    log=keys,
)
