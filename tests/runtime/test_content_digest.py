"""Whether what a run made is equal to what was there before."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.runtime.content_digest import content_digest
from tidegate.runtime.publish import compare
from tidegate.runtime.runs import Product


def dataset(values: Any = (1.0, float("nan")), units: str = "m", names: str = "ab", **attrs: str):
    np, xr = pytest.importorskip("numpy"), pytest.importorskip("xarray")
    times = np.array(["2022-04-01", "2022-04-02"], dtype="datetime64[ns]")
    x = ("time", np.array(values), {"units": units, "flag_masks": np.array([1, 2])})
    return xr.Dataset({"x": x, "name": ("time", list(names))}, {"time": times}, attrs)


def test_only_what_says_when_it_was_made_may_differ() -> None:
    one = content_digest(dataset(title="t", history="now", code_version="1"))
    assert one == content_digest(dataset(title="t", history="later", code_version="2"))
    others = (
        dataset(title="u"),
        dataset((1.0, 2.0), title="t"),
        dataset((1, 2), title="t"),
        dataset(units="km", title="t"),
        dataset(names="ac", title="t"),
        dataset(title="t").isel(time=[0]),
        dataset(title="t").rename(x="y"),
        dataset(title="t").transpose().sortby("time", ascending=False),
    )
    assert len({one, *map(content_digest, others)}) == 1 + len(others)


def product(key: str, content: str, kind: Any = "data") -> Product:
    return Product(key, kind, 1, "x", content=content)


def test_the_worst_of_several_products_counts() -> None:
    before = {p.key: p for p in (product("a", "1"), product("b", "1"), product("c", ""))}
    same, other = product("a", "1"), product("b", "2")
    unknown, new = product("c", "1"), product("d", "1")
    plot = product("b", "9", "ancillary")
    assert compare([same, plot], before) == "equal"
    assert compare([same, new], before) == "new"
    assert compare([same, new, unknown], before) == "unknown"
    assert compare([same, new, unknown, other], before) == "changed"
    assert compare([plot], before) == ""
