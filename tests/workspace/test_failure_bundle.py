"""Bundles that somebody sends: all is checked before anything is written, inside one folder."""

from __future__ import annotations

import json
import stat
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tidegate.cli import main
from tidegate.errors import UsageError
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Input, Run, RunRecord
from tidegate.workspace.bundle_extraction import unpack

NOW = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
RECORD = RunRecord(Run("tiny/one", (Input("tiny/one/a.csv", "1", 3, NOW),)), "failed", 1, NOW)
GOOD = {
    "bundle.json": json.dumps({"format": 1, "record": to_json(RECORD), "problems": []}),
    "pipelines_config.yml": "pipelines: []",
    "input/tiny/one/a.csv": "1,2",
}


def pack(folder: Path, more: dict[str, str] | None = None) -> Path:
    file = folder / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {**GOOD, **(more or {})}.items():
            archive.writestr(name, text)
    return file


def test_a_good_one(tmp_path: Path) -> None:
    bundle = unpack(pack(tmp_path), tmp_path / "new")
    assert bundle.record == RECORD
    raw = tmp_path / "new" / "input/tiny/one/a.csv"
    assert raw.read_text() == "1,2"
    assert raw.stat().st_mtime == NOW.timestamp()


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/tmp/evil", "input/../../evil", "..\\evil", "C:/evil", "C:\\evil"),
        *(".git/hooks/post-checkout", ".tidegate/ledger.db", ".venv/bin/python"),
        "INPUT/tiny/one/A.csv",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    file = pack(tmp_path, {name: "x"})
    with pytest.raises(UsageError):
        unpack(file, tmp_path / "deep" / "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


def test_a_link(tmp_path: Path) -> None:
    file = pack(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("input/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="plain file"):
        unpack(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "content", [b"", b"no zip", b"PK\x03\x04 cut off", None, {"bundle.json": "{}"}]
)
def test_what_is_no_bundle(tmp_path: Path, content: object) -> None:
    file = tmp_path / "a.zip"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, dict):
        pack(tmp_path, content)
    with pytest.raises(UsageError) as raised:
        unpack(file, tmp_path / "new")
    assert raised.value.next


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        unpack(pack(tmp_path), tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_size_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 10}))
    with pytest.raises(UsageError, match="10 are free"):
        unpack(pack(tmp_path), tmp_path / "new")


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "a.csv", "--from-bundle", "a.zip"], ["run", "--from-bundle", "-"]],
)
def test_arguments_that_make_no_sense(arguments: list[str]) -> None:
    assert main(arguments) == 2
