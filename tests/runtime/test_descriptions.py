"""Tsdat asked about config files inside an image: files in, an answer out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tidegate.errors import ConfigurationError, PythonEnvironmentError
from tidegate.runtime.descriptions import main, read_answer
from tidegate.runtime.manifest import Pipeline

WORKER = """\
import json, os, sys
print('{"ready": {"python": "3.11.2", "tsdat": "0"}}', flush=True)
for line in sys.stdin:
    file = json.loads(line)["file"]
    if file == "dies":
        os._exit(7)
    rejected = {"error": {"type": "ConfigurationError", "what": "no", "why": "", "next": "fix it",
                          "where": "config.yaml:3"}}
    print(json.dumps({"pipeline": {"classname": file}} if file == "good" else rejected), flush=True)
"""


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, worker: str, *files: str) -> object:
    program = folder / "worker"
    program.write_text(f"#!{sys.executable}\n{worker}")
    program.chmod(0o755)
    monkeypatch.setenv("TIDEGATE_WORKER", str(program))
    monkeypatch.chdir(folder)
    (folder / "files.json").write_text(json.dumps(files))
    assert main(["files.json", "answer.json"]) == 0
    return json.loads((folder / "answer.json").read_text())


@pytest.mark.functional
def test_each_file_has_an_answer_whatever_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asked(tmp_path, monkeypatch, WORKER, "bad", "dies", "good")
    assert isinstance(answer, dict)
    assert answer["python"] == "3.11.2"
    said = read_answer(answer)
    assert said["good"] == Pipeline("good")
    bad, died = said["bad"], said["dies"]
    assert isinstance(bad, ConfigurationError)
    assert (bad.what, bad.next, bad.where) == ("no", "fix it", "config.yaml:3")
    assert isinstance(died, ConfigurationError)
    assert "exit code 7" in died.why


@pytest.mark.functional
def test_an_environment_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asked(tmp_path, monkeypatch, "raise SystemExit(1)\n", "good")
    assert isinstance(answer, dict)
    with pytest.raises(PythonEnvironmentError, match="exit code 1"):
        read_answer(answer)
