"""What every kind of inputs must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from implementations import InputsUnderTest

from tidegate.errors import InputChanged

NAMES = [
    "plain.dat",
    "x y+z%20'\"(1).dat",
    "new\nline.dat",
    "é.dat",
    "e\u0301.dat",
    "\udcff\udc80.dat",
]


def test_lists_what_lies_under_a_prefix(raw: InputsUnderTest) -> None:
    raw.put("lidar/humboldt/a.dat", b"one")
    raw.put("lidar/humboldt/2022/b.dat", b"two")
    raw.put("lidar/humboldt.dat", b"three")
    raw.put("lidar/morro/a.dat", b"four")
    found = {input.key: input for input in raw.inputs.list("lidar/humboldt/")}
    assert set(found) == {"lidar/humboldt/a.dat", "lidar/humboldt/2022/b.dat"}
    assert found["lidar/humboldt/a.dat"].size == 3
    assert len(list(raw.inputs.list(""))) == 4
    assert list(raw.inputs.list("none/")) == []


@pytest.mark.parametrize("name", NAMES)
def test_fetches_that_very_version(raw: InputsUnderTest, name: str, tmp_path: Path) -> None:
    raw.put(f"in/{name}", b"content")
    (input,) = raw.inputs.list("in/")
    assert input.key == f"in/{name}"
    place = tmp_path / name
    raw.inputs.fetch(input, place)
    assert place.read_bytes() == b"content"
    place.write_bytes(b"user code writes to what it is given")
    assert list(raw.inputs.list("in/")) == [input]


@pytest.mark.parametrize("content", [b"CONTENT", b"longer content", b""])
def test_another_version_is_not_fetched(
    raw: InputsUnderTest, content: bytes, tmp_path: Path
) -> None:
    raw.put("in/a.dat", b"content")
    (input,) = raw.inputs.list("in/")
    assert not raw.inputs.replaced(input)
    raw.inputs.fetch(input, tmp_path / "kept")
    assert not raw.inputs.replaced(input)
    raw.put("in/a.dat", content)
    assert raw.inputs.replaced(input)
    with pytest.raises(InputChanged, match=r"in/a\.dat"):
        raw.inputs.fetch(input, tmp_path / "a.dat")
    assert not (tmp_path / "a.dat").exists()
    raw.put("in/a.dat", b"content")
    assert not raw.inputs.replaced(input)


def test_a_file_that_is_gone_is_not_replaced(raw: InputsUnderTest, tmp_path: Path) -> None:
    raw.put("in/a.dat", b"content")
    (input,) = raw.inputs.list("in/")
    raw.delete("in/a.dat")
    assert not raw.inputs.replaced(input)
    with pytest.raises(InputChanged):
        raw.inputs.fetch(input, tmp_path / "a.dat")
    with pytest.raises(InputChanged):
        raw.inputs.fetch(replace(input, key="in/none/b.dat"), tmp_path / "a.dat")


def test_an_empty_file_is_a_file(raw: InputsUnderTest, tmp_path: Path) -> None:
    raw.put("in/a.dat", b"")
    (input,) = raw.inputs.list("in/")
    assert input.size == 0
    raw.inputs.fetch(input, tmp_path / "a.dat")
    assert (tmp_path / "a.dat").read_bytes() == b""
