"""A pipeline that is edited while its service runs: each product is made by the code on record."""

from __future__ import annotations

import pytest
import xarray
from service_workspace import csv, eventually, make, product

pytestmark = pytest.mark.slow


def test_changed_code_is_taken_over_and_no_run_mixes_two_versions(tmp_path):
    place = make(tmp_path / "workspace", own=True)
    dataset = place.root / "pipelines/pipelines/tiny/config/dataset.yaml"
    plain = dataset.read_text()
    place.put("tiny/one/first.csv", csv())
    place.age()
    with place.up() as service:
        first = place.ended("tiny/one/first.csv")
        place.put("tiny/one/slow.csv", csv("2022-04-02T00:00:00", ask="slow 3"))
        eventually(lambda: place.record("tiny/one/slow.csv"))
        dataset.write_text(plain.replace("title: Tiny", "title: Changed"))
        slow = place.ended("tiny/one/slow.csv")
        assert slow.state == "succeeded"
        assert slow.attempt == 2
        assert slow.release != first.release
        made = place.output / product("one", "2022-04-02T00:00:00")
        with xarray.open_dataset(made) as found:
            assert found.attrs["title"] == "Changed"
        service.says(f"tiny/one has release {slow.release}")

        dataset.write_text("attrs: [")
        service.says("No runs are started")
        place.put("tiny/one/third.csv", csv("2022-04-03T00:00:00"))
        dataset.write_text(plain)
        third = place.ended("tiny/one/third.csv")
        assert (third.state, third.release) == ("succeeded", first.release)
    place.assert_whole()
