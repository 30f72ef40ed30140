"""Products with empty variables, or clearly poorer than the ones before: what happens to them."""

from dataclasses import replace

import pytest
from runtime_doubles import INGEST, Bench, product

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
