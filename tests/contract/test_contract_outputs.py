"""What every kind of outputs must do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from implementations import OutputsUnderTest
from samples import product

from tidegate.errors import InputChanged
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Product, ProductRef


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def made(
    work: Path, key: str, content: bytes = b"data", kind: str = "data"
) -> tuple[Product, Path]:
    """A product of one file as a run leaves it in its work folder."""
    path = work / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    size, sha256 = content_hash(path)
    return product(key, size=size, sha256=sha256, kind=kind), path


def made_folder(work: Path, key: str, *names: str) -> tuple[Product, Path]:
    """A product that is a folder, such as a zarr archive."""
    for name in names:
        made(work, f"{key}/{name}", name.encode())
    size, sha256 = content_hash(work / key)
    return product(key, size=size, sha256=sha256), work / key


def test_publishes_files_and_folders(out: OutputsUnderTest, work: Path, tmp_path: Path) -> None:
    items = [
        made(work, "root/z01/a.png", b"plot", "ancillary"),
        made(work, "root/z01/a (1).nc", b"data"),
        made_folder(work, "root/z01/b.zarr", "x/0.0", ".zgroup"),
    ]
    out.outputs.publish(items)
    assert out.keys() == {
        "root/z01/a.png",
        "root/z01/a (1).nc",
        "root/z01/b.zarr/x/0.0",
        "root/z01/b.zarr/.zgroup",
    }
    for n, (one, _) in enumerate(items):
        place = tmp_path / f"fetched{n}"
        out.outputs.fetch(one.ref, place)
        assert content_hash(place) == (one.size, one.sha256)


def test_products_can_be_set_aside(out: OutputsUnderTest, work: Path) -> None:
    file, folder = made(work, "root/z01/a.nc"), made_folder(work, "root/z01/b.zarr", "x/0.0")
    kept = made(work, "root/z02/c.nc")
    out.outputs.publish([file, folder, kept])
    keys = [file[0].key, folder[0].key, "root/z01/a"]
    assert out.outputs.missing(keys) == ["root/z01/a"]
    others = [made(work, f"root/z01/b.zarr{end}") for end in ("-1", "-2", ".nc")]
    out.outputs.publish(others)
    assert out.outputs.missing(keys) == ["root/z01/a"]
    out.outputs.remove([other.key for other, _ in others])
    place = out.outputs.set_aside([file[0].key, folder[0].key, "root/z01/never there.nc"])
    assert "withdrawn" in place
    left = out.keys()
    assert {key for key in left if not key.startswith("withdrawn/")} == {kept[0].key}
    out.outputs.publish([made(work, "root/z01/a.nc", b"next")])
    out.outputs.set_aside([file[0].key])


def test_what_is_fetched_is_a_copy(out: OutputsUnderTest, work: Path, tmp_path: Path) -> None:
    one, path = made(work, "a.nc")
    out.outputs.publish([(one, path)])
    out.outputs.fetch(one.ref, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"changed")
    out.outputs.fetch(one.ref, tmp_path / "copy2")
    assert (tmp_path / "copy2").read_bytes() == b"data"


def test_publishing_again_replaces(out: OutputsUnderTest, work: Path, tmp_path: Path) -> None:
    old = [made(work, "a.nc"), made_folder(work, "b.zarr", "0", "1")]
    out.outputs.publish(old)
    again = work / "again"
    new = [made(again, "a.nc", b"new"), made_folder(again, "b.zarr", "1", "2/3")]
    out.outputs.publish(new)
    assert out.keys() == {"a.nc", "b.zarr/1", "b.zarr/2/3"}
    for one, _ in old:
        with pytest.raises(InputChanged):
            out.outputs.fetch(one.ref, tmp_path / "gone")
        assert not os.path.lexists(tmp_path / "gone")
    for n, (one, _) in enumerate(new):
        out.outputs.fetch(one.ref, tmp_path / f"fetched{n}")


def test_publishing_the_same_again_is_no_error(out: OutputsUnderTest, work: Path) -> None:
    out.outputs.publish([made(work, "a.nc"), made_folder(work, "b.zarr", "0")])
    out.outputs.publish([made(work, "a.nc"), made_folder(work, "b.zarr", "0")])
    assert out.keys() == {"a.nc", "b.zarr/0"}
    out.outputs.publish([])


def test_removes(out: OutputsUnderTest, work: Path, tmp_path: Path) -> None:
    one = made(work, "x/y/a.nc")
    out.outputs.publish([one, made_folder(work, "x/b.zarr", "0"), made(work, "x/z/c.nc")])
    out.outputs.remove(["x/y/a.nc", "x/b.zarr", "none", "x/none/d.nc"])
    assert out.keys() == {"x/z/c.nc"}
    with pytest.raises(InputChanged):
        out.outputs.fetch(one[0].ref, tmp_path / "gone")
    with pytest.raises(InputChanged):
        out.outputs.fetch(ProductRef("never", "1"), tmp_path / "gone")
    out.outputs.remove(["x/z/c.nc"])
    out.outputs.publish([made(work, "x/y/a.nc")])
    assert out.keys() == {"x/y/a.nc"}
