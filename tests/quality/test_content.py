"""What a product holds."""

import numpy as np
import pytest

from tidegate.quality.content import describe_dataset, describe_product
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import FailedTest


def test_shares_and_tests(waves, tmp_path):
    waves.to_netcdf(tmp_path / "waves.nc")
    content = describe_product(str(tmp_path / "waves.nc"))
    assert [variable.name for variable in content.variables] == [
        "time", "height", "speed", "count", "name",
    ]  # fmt: skip
    speed = content.variables[2]
    assert (speed.values, speed.valid, speed.bad, speed.indeterminate) == (12, 11, 2, 1)
    assert speed.valid_share == pytest.approx(11 / 12)
    assert (speed.units, speed.least, speed.most, speed.dtype) == ("m/s", "0", "11", "float32")
    assert speed.tests == (
        FailedTest("Value is missing", "Bad", 2),
        FailedTest("Unusually low", "Indeterminate", 2),
    )
    assert content.variables[0].least == "2022-04-05T00:00:00"
    assert content.variables[0].coordinate
    assert content.variables[4].valid == 6
    assert content.dimensions == {"time": 6, "height": 2}
    assert content.attributes["datastream"] == "here.tiny.a1"
    assert from_json(type(content), to_json(content)) == content


def test_flags_without_a_meaning_are_bad(waves):
    waves["qc_speed"].attrs.clear()
    speed = describe_dataset(waves).variables[2]
    assert (speed.bad, speed.indeterminate, speed.tests) == (3, 0, ())


def test_odd_variables(waves):
    waves["scalar"] = 5.0
    waves["empty"] = ("none", np.zeros(0))
    waves["objects"] = ("time", np.array(["a", None, "b", np.nan, "c", "d"], dtype=object))
    found = {variable.name: variable for variable in describe_dataset(waves).variables}
    assert (found["scalar"].values, found["scalar"].most) == (1, "5")
    assert (found["empty"].values, found["empty"].valid_share) == (0, 1.0)
    assert found["objects"].valid == 4
