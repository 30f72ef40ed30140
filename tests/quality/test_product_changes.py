"""What is different in a second product."""

import numpy as np
import pytest

from tidegate.errors import UsageError
from tidegate.quality.comparison import Rules
from tidegate.quality.difference_plot import draw_difference
from tidegate.quality.product_changes import (
    Change,
    Changes,
    QualityChange,
    changes_of_datasets,
    find_changes,
)
from tidegate.runtime.records import from_json, to_json

EXACT = Rules()


def by_name(found):
    return {one.name: one for one in found.variables}


def test_equal_but_for_when_it_was_made(waves):
    other = waves.copy(deep=True)
    other.attrs.update(history="later", code_version="2", inputs="/elsewhere/a.csv")
    waves.attrs["code_version"] = "1"
    found = changes_of_datasets(waves, other, EXACT)
    assert found.equal
    assert set(found.unchanged) == {"time", "height", "speed", "count", "name"}


def test_values_flags_and_attributes(waves):
    other = waves.copy(deep=True)
    other["speed"].values[3, 1] += 0.5
    other["speed"].values[4, 0] -= 0.25
    other["qc_speed"].values[3, 1] = 1
    other["qc_speed"].values[2, 1] = 0
    other["speed"].attrs["units"] = "cm/s"
    other.attrs["title"] = "new"
    found = changes_of_datasets(waves, other, EXACT)
    speed = by_name(found)["speed"]
    assert (speed.values.count, speed.values.total, speed.values.largest) == (2, 12, 0.5)
    assert speed.values.mean_absolute == pytest.approx(0.75 / 11)  # one of the twelve is missing
    assert speed.values.mean == pytest.approx(0.25 / 11)
    assert speed.quality == QualityChange(2, 2, 2, now_bad=1, now_good=1)
    assert speed.attributes == (Change("speed:units", "'m/s'", "'cm/s'"),)
    assert found.attributes == (Change("title", None, "'new'"),)
    assert list(by_name(found)) == ["speed"]
    assert from_json(Changes, to_json(found)) == found
    assert changes_of_datasets(waves, other, Rules(ignore=("speed", "title"))).equal
    near = by_name(changes_of_datasets(waves, other, Rules(atol=0.5)))
    assert near["speed"].values is None


def test_flags_that_are_not_bad_are_a_change_too(waves):
    other = waves.copy(deep=True)
    other["qc_speed"].values[1, 1] = 2
    (speed,) = changes_of_datasets(waves, other, EXACT).variables
    assert (speed.values, speed.quality) == (None, QualityChange(1, 2, 2, 0, 0))


def test_variables_dimensions_and_types(waves):
    other = waves.drop_vars("count").isel(time=slice(1, 6)).assign(extra=("time", np.ones(5)))
    other["speed"] = other["speed"].astype("float64")
    found = changes_of_datasets(waves, other, EXACT)
    assert found.dimensions == (Change("time", "6", "5"),)
    assert found.labels == (Change("time", "1 only here", None),)
    changed = by_name(found)
    assert (changed["count"].only_in, changed["extra"].only_in) == ("first", "second")
    speed = changed["speed"]
    assert (speed.form.first, speed.form.second) == (
        "float32 (time, height)",
        "float64 (time, height)",
    )
    assert (speed.compared, speed.values) == (10, None)


def test_flags_are_no_variables_of_their_own(waves):
    other = waves.drop_vars(["speed", "qc_speed"])
    assert list(by_name(changes_of_datasets(waves, other, EXACT))) == ["speed"]
    other = waves.drop_vars("qc_speed")
    assert list(by_name(changes_of_datasets(waves, other, EXACT))) == ["qc_speed"]


def test_two_days_are_compared_at_the_same_times_of_day(waves):
    other = waves.assign_coords(time=waves["time"] + np.timedelta64(3, "D"))
    found = changes_of_datasets(waves, other, EXACT)
    assert (found.days_apart, found.variables, found.labels) == (3, (), ())
    assert not found.equal
    assert changes_of_datasets(other, waves, EXACT).days_apart == -3


def test_without_common_times_nothing_counts_as_compared(waves):
    other = waves.assign_coords(time=waves["time"] + np.timedelta64(1, "m"))
    changed = by_name(changes_of_datasets(waves, other, EXACT))
    assert changed["speed"].compared == 0
    assert changed["speed"].values is None


def test_other_files(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.nc")]
    for path, text in zip(paths, ("x\n1\n", "x\n2\n", ""), strict=True):
        path.write_text(text)
    one, other, dataset = map(str, paths)
    assert find_changes(one, one, {}).equal
    (text,) = find_changes(one, other, {}).text
    assert "line 2" in text
    with pytest.raises(UsageError):
        find_changes(one, dataset, {})


@pytest.mark.parametrize("moved", [0, 2])
def test_both_and_the_difference_are_drawn(waves, tmp_path, moved):
    other = waves.assign_coords(time=waves["time"] + np.timedelta64(moved, "D"))
    other["speed"] = other["speed"] + 0.5
    paths = [str(tmp_path / f"{n}.nc") for n in "ab"]
    for dataset, path in zip((waves, other), paths, strict=True):
        dataset.to_netcdf(path)
    picture = tmp_path / "look.png"
    for variable, text in (("speed", "from 0.5 to 0.5"), ("count", "from 0 to 0")):
        look = draw_difference(*paths, variable, ("a", "b"), str(picture))
        assert text in look.text
        assert picture.read_bytes().startswith(b"\x89PNG")
    for variable in ("name", "none"):
        with pytest.raises(ValueError, match=variable):
            draw_difference(*paths, variable, ("a", "b"), str(picture))
