"""Products with empty variables, or clearly poorer than the ones before: what happens to them."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from runtime_doubles import INGEST, Bench, product

from tidegate.runtime.empty_variables import new_empty
from tidegate.runtime.product_checks import poorer, with_empty
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import Product


def made(**fields) -> Product:
    fields = {"valid": {"x": 1.0, "y": 0.9}, "dimensions": {"time": 100}, **fields}
    return product("out.nc", None, None, **fields)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({}, ""),
        ({"valid": {"x": 0.6, "y": 0.9, "z": 0.0}}, ""),
        ({"valid": {"x": 0.4, "y": 0.9}}, "x 100 % → 40 %"),
        ({"valid": {"x": 1.0}}, "no y"),
        ({"dimensions": {"time": 50}}, ""),
        ({"dimensions": {"time": 49}}, "49 times instead of 100"),
        ({"valid": {}}, ""),
    ],
)
def test_clearly_poorer(after, words):
    how = poorer(made(), made(**after))
    assert words in how
    assert bool(how) == bool(words)


def test_products_recorded_before_there_were_shares_are_not_compared():
    old = from_json(Product, {"key": "a", "kind": "data", "size": 1, "sha256": "x"})
    assert poorer(old, made()) == ""
    assert "valid" not in to_json(old)


def test_only_retrieved_variables_count_as_empty():
    bad = made(valid={"x": 0.0, "made by a hook": 0.0})
    assert with_empty(bad, {"x", "y"}).empty == ("x",)
    assert with_empty(bad, ()).empty == ("x", "made by a hook")


@pytest.fixture
def replaced(tmp_path):
    """A function: a good product is replaced by an empty one; the bench and the last record."""

    def replace_it(on_empty):
        bench = Bench(tmp_path, replace(INGEST, on_empty=on_empty))

        def writes(valid):
            write = bench.writes("out.nc")

            def perform(task):
                outcome = write(task)
                (one,) = outcome.products
                one = with_empty(replace(one, valid=valid), ())
                return replace(outcome, products=(one,))

            return perform

        bench.perform = writes({"x": 1.0})
        (good,) = bench.arrive(content=b"1")
        bench.perform = writes({"x": 0.0})
        (bad,) = bench.arrive(content=b"2")
        return bench, good, bad

    return replace_it


def owner(bench):
    """The run that made the present product, in the ledger and on disk."""
    key = bench.ledger.product("out.nc").run
    assert (bench.outputs.root / "out.nc").read_text() == f"out.nc of {key}"
    return key


def test_warn_publishes_it_and_marks_the_run(replaced):
    bench, good, bad = replaced("warn")
    assert (good.outcome, bad.outcome) == ("succeeded", "succeeded with warnings")
    assert len(bad.warnings) == 2
    assert owner(bench) == bad.key


def test_fail_publishes_nothing(replaced):
    bench, good, bad = replaced("fail")
    assert (bad.state, bad.failure.kind, bad.products) == ("failed", "bad-input", ())
    assert bad.failure.next
    assert owner(bench) == good.key


def test_keep_leaves_the_older_product(replaced):
    bench, good, bad = replaced("keep")
    assert (bad.outcome, bad.products, bad.retired) == ("succeeded with warnings", (), ())
    assert owner(bench) == good.key
    # A good version later replaces it as usual.
    bench.perform = bench.writes("other.nc")
    (later,) = bench.arrive(content=b"3")
    assert later.retired == ("out.nc",)
    assert sorted(bench.published()) == ["other.nc"]


# Variables that were always empty.


def before(**shares) -> Product:
    return made(valid=shares)


@pytest.mark.parametrize(
    ("earlier", "new"),
    [
        ([], ("x", "y")),
        ([before(x=0.0, y=0.0)], ()),
        ([before(x=0.5, y=0.0)], ("x",)),
        ([before(x=0.0, y=0.0), before(x=0.0, y=0.1)], ("y",)),
        ([before(x=0.0)], ("y",)),
    ],
)
def test_what_was_always_empty_is_not_new(earlier, new):
    assert new_empty(made(valid={"x": 0.0, "y": 0.0}, empty=("x", "y")), earlier) == new


def arrive(bench, hours, valid):
    """A run that makes a product of one hour; the record of the run."""
    begin = datetime(2024, 3, 1, tzinfo=timezone.utc) + timedelta(hours=hours)

    def perform(task):
        outcome = bench.writes(f"{hours:06.1f}.nc")(task)
        (one,) = outcome.products
        end = begin + timedelta(minutes=50)
        one = replace(one, begin=begin, end=end, datastream="a.b", valid=valid)
        return replace(outcome, products=(with_empty(one, ()),))

    bench.perform = perform
    (record,) = bench.arrive(f"lidar/humboldt/{hours}.csv")
    return record


def test_a_sensor_that_fails_is_a_warning_at_each_run_and_one_that_is_missing_is_not(tmp_path):
    bench = Bench(tmp_path, INGEST)
    assert arrive(bench, 0, {"x": 1.0, "none": 0.0}).warnings, "the first cannot be compared"
    for day in range(1, 4):
        assert not arrive(bench, 24 * day, {"x": 1.0, "none": 0.0}).warnings
    for hour in (73, 74, 97, 24 * 10):
        record = arrive(bench, hour, {"x": 0.0, "none": 0.0})
        assert [p.empty for p in record.products] == [("x",)]
        assert record.outcome == "succeeded with warnings"
