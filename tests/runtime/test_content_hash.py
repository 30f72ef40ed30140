"""Sizes and hashes of products."""

import hashlib
from pathlib import Path

import pytest

from tidegate.runtime.publish import content_hash


def test_a_file(tmp_path):
    path = tmp_path / "a"
    content = bytes(range(256)) * 10_000  # more than one block
    path.write_bytes(content)
    assert content_hash(path) == (len(content), hashlib.sha256(content).hexdigest())
    path.write_bytes(b"")
    assert content_hash(path) == (0, hashlib.sha256(b"").hexdigest())


def tree(root, files):
    """Write files by path."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return content_hash(root)


FILES = {".zgroup": b"{}", "time/0": b"abc", "time/.zarray": b"{}", "wind/0.0": b"xyz"}


def test_a_folder_does_not_depend_on_where_or_when(tmp_path, monkeypatch):
    one = tree(tmp_path / "a.zarr", FILES)
    found = Path.rglob  # in whatever order the file system tells
    monkeypatch.setattr(Path, "rglob", lambda *args: reversed(list(found(*args))))
    two = tree(tmp_path / "b.zarr", dict(reversed(FILES.items())))
    assert one == two
    assert one[0] == sum(map(len, FILES.values()))


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "time/0": b"abd"},
        {**FILES, "time/1": b""},
        {k: v for k, v in FILES.items() if k != "time/0"},
        {**{k: v for k, v in FILES.items() if k != "time/0"}, "time0": b"abc"},
        {**FILES, "time/0": b"xyz", "wind/0.0": b"abc"},
    ],
)
def test_folders_that_differ(tmp_path, other):
    assert tree(tmp_path / "a", FILES)[1] != tree(tmp_path / "b", other)[1]


def test_an_empty_folder(tmp_path):
    assert content_hash(tmp_path) == (0, hashlib.sha256(b"").hexdigest())
