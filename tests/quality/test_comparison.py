"""How two products differ."""

import numpy as np
import pytest

from tidegate.quality.comparison import (
    Comparison,
    Rules,
    Tolerance,
    compare_datasets,
    compare_products,
)
from tidegate.runtime.records import from_json, to_json

EXACT = Rules()


def changed(dataset):
    """A copy to change."""
    return dataset.copy(deep=True)


def test_equal(waves, tmp_path):
    other = changed(waves)
    other.attrs.update(history="later", code_version="2", inputs="/elsewhere/a.csv")
    waves.attrs["code_version"] = "1"
    waves.to_netcdf(tmp_path / "a.nc")
    other.to_netcdf(tmp_path / "b.nc")
    assert compare_products(str(tmp_path / "a.nc"), str(tmp_path / "b.nc"), {}).equal


def test_values(waves):
    new = changed(waves)
    new["speed"].values[3, 1] += 0.5
    new["speed"].values[4, 0] -= 0.25
    new["speed"].values[0, 0] = np.nan
    new["speed"].values[2, 1] = 1.0
    (found,) = compare_datasets(new, waves, EXACT).values
    assert (found.variable, found.count, found.total, found.largest) == ("speed", 4, 12, 0.5)
    assert found.where == {"time": "2022-04-05T00:30:00", "height": "20"}
    assert (found.expected, found.new) == ("7", "7.5")
    assert (found.now_missing, found.now_present) == (1, 1)


@pytest.mark.parametrize(
    ("rules", "equal"),
    [
        (Rules(atol=0.5), True),
        (Rules(atol=0.4), False),
        (Rules(rtol=0.1), True),
        (Rules(atol=1, variables={"speed": Tolerance(atol=0.1)}), False),
        (Rules(variables={"speed": Tolerance(atol=0.6)}), True),
        (Rules(ignore=("speed",)), True),
    ],
)
def test_tolerances(waves, rules, equal):
    new = changed(waves)
    new["speed"].values[3, 1] += 0.5
    assert compare_datasets(new, waves, rules).equal is equal


def test_a_value_that_went_missing_is_beyond_any_tolerance(waves):
    new = changed(waves)
    new["speed"].values[3, 1] = np.nan
    (found,) = compare_datasets(new, waves, Rules(atol=1e9)).values
    assert (found.count, found.now_missing, found.largest) == (1, 1, None)
    assert (found.expected, found.new) == ("7", "missing")


def test_integers_text_and_infinity(waves):
    waves["count"].values[0] = 2**62
    waves["speed"].values[0, 0] = np.inf
    new = changed(waves)
    assert compare_datasets(new, waves, EXACT).equal
    new["count"].values[0] += 1
    new["name"].values[1] = "x"
    new["speed"].values[0, 0] = -np.inf
    found = {one.variable: one for one in compare_datasets(new, waves, EXACT).values}
    assert found["count"].largest == 1.0
    assert (found["name"].largest, found["name"].new) == (None, "x")
    assert found["speed"].largest == np.inf
    assert from_json(Comparison, to_json(compare_datasets(new, waves, EXACT)))


def test_rows_more_and_fewer_do_not_hide_the_rest(waves):
    new = changed(waves).isel(time=slice(1, None))
    new["speed"].values[0, 0] += 1
    found = compare_datasets(new, waves, EXACT)
    assert len(found.structure) == 1
    assert "2022-04-05T00:00:00" in found.structure[0]
    (speed,) = found.values
    assert (speed.count, speed.total) == (1, 10)


def test_shifted_times(waves):
    new = changed(waves).assign_coords(time=waves.time + np.timedelta64(1, "s"))
    assert not compare_datasets(new, waves, EXACT).equal


def test_labels_within_the_tolerance_are_the_same(waves):
    late = changed(waves).assign_coords(time=waves.time + np.timedelta64(1, "s"))
    assert compare_datasets(late, waves, Rules(times=1)).equal
    assert not compare_datasets(late, waves, Rules(times=0.5, rtol=1, atol=1e9)).equal
    high = changed(waves).assign_coords(height=waves.height + 0.01)
    assert compare_datasets(high, waves, Rules(variables={"height": Tolerance(atol=0.1)})).equal
    assert not compare_datasets(high, waves, EXACT).equal


def test_structure_and_attributes(waves):
    new = changed(waves).drop_vars("count")
    new["more"] = 1
    new["speed"].attrs["units"] = "kn"
    new["name"] = ("height", np.array(["a", "b"]))
    new.attrs["title"] = "new"
    del new.attrs["datastream"]
    found = compare_datasets(new, waves, EXACT)
    text = "\n".join((*found.structure, *found.attributes))
    for part in ("count is missing", "more is not expected", "name has dimensions", "speed:units",
                 ":title is not expected", ":datastream is missing"):  # fmt: skip
        assert part in text
    less = compare_datasets(new, waves, Rules(attributes=False))
    assert less.attributes == ()
    assert "count is missing" in less.structure


def test_types_are_compared_as_stored(waves, tmp_path):
    waves.to_netcdf(tmp_path / "a.nc")
    waves.assign(speed=waves.speed.astype("float64")).to_netcdf(tmp_path / "b.nc")
    paths = str(tmp_path / "b.nc"), str(tmp_path / "a.nc")
    found = compare_products(*paths, {})
    assert found.structure == ("speed is of type float64, float32 expected",)
    assert compare_products(*paths, to_json(Rules(attributes=False))).equal


def test_files_that_are_no_datasets(tmp_path):
    (tmp_path / "a.csv").write_text("time,x\n1,2\n")
    (tmp_path / "b.csv").write_text("time,x\n1,3\n")
    (tmp_path / "c.csv").write_text("time,x\n")
    a, b, c = (str(tmp_path / f"{name}.csv") for name in "abc")
    assert compare_products(a, a, {}).equal
    assert "line 2" in compare_products(b, a, {}).structure[0]
    assert not compare_products(c, a, {}).equal
