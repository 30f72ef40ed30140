"""A VAP's window of which all inputs went away: its products go, or are marked."""

import pytest
from runtime_doubles import Bench, at, product, vap

from tidegate.runtime.runs import Failure
from tidegate.runtime.task import Outcome

DAY = product("in.nc", at("2022-04-05T01:00"), at("2022-04-05T02:00"))
CONFIG = vap(on_withdrawn="move")


def made(tmp_path, how="move"):
    """A bench with a product of one day, of which the input is gone; the VAP is due once more."""
    bench = Bench(tmp_path, vap(on_withdrawn=how))
    bench.perform = bench.writes("out.nc")
    bench.add(DAY)
    assert [record.state for record in bench.due(CONFIG)] == ["succeeded"]
    bench.change(retired=["in.nc"])
    (record,) = bench.due(CONFIG)
    return bench, record


def keys(bench):
    return [product.key for product in bench.ledger.products()]


def test_its_products_are_moved_aside(tmp_path):
    bench, record = made(tmp_path)
    assert (record.outcome, record.products) == ("succeeded with warnings", ())
    assert len(bench.tasks) == 1  # the pipeline was not called again
    assert keys(bench) == []
    assert list(bench.outputs.root.rglob("*out.nc")) == []
    (aside,) = tmp_path.glob("withdrawn/*out.nc")
    assert aside.read_text().startswith(record.retired[0])
    assert bench.due(CONFIG) == []


def test_its_products_are_marked(tmp_path):
    bench, record = made(tmp_path, "mark")
    assert record.outcome == "succeeded with warnings"
    (kept,) = bench.ledger.products()
    assert (kept.withdrawn, kept.run) == (True, record.key)
    assert len(list(bench.outputs.root.rglob("*out.nc"))) == 1
    assert bench.due(CONFIG) == []


@pytest.mark.parametrize("how", ["move", "mark"])
def test_inputs_that_come_back_are_used_again(tmp_path, how):
    bench, record = made(tmp_path, how)
    bench.add(DAY)
    (again,) = bench.due(CONFIG)
    assert (again.state, again.key != record.key) == ("succeeded", True)
    (product,) = (p for p in bench.ledger.products() if p.key != "in.nc")
    assert (product.run, product.withdrawn) == (again.key, False)
    bench.change(retired=["in.nc"])
    (gone,) = bench.due(CONFIG)
    assert gone.key == record.key  # a withdrawal can come again


def test_a_failed_window_without_inputs_is_no_open_failure_any_more(tmp_path):
    bench = Bench(tmp_path, CONFIG)
    bench.add(DAY)
    bench.perform = lambda task: Outcome(failure=Failure("bad-input", "no"))
    assert [record.state for record in bench.due(CONFIG)] == ["failed"]
    bench.change(retired=["in.nc"])
    assert [record.state for record in bench.due(CONFIG)] == ["empty"]


def test_a_window_that_never_had_inputs_is_left_alone(tmp_path):
    bench = Bench(tmp_path, vap(pad_after=86400))
    bench.perform = bench.writes("out.nc")
    bench.add(DAY)
    assert len(bench.due(CONFIG)) == 1
