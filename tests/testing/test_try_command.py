"""``tidegate try``: what comes out, what is left alone, and what an edit changes."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from testing_workspace import RAW, listing

pytestmark = pytest.mark.functional


@pytest.fixture
def raw(bench):
    """A raw file where it would arrive."""
    path = bench.root / "input/tiny/one/a.csv"
    path.parent.mkdir(parents=True)
    path.write_text(RAW)
    return path


def state_of(bench):
    """The ledger and the outputs, as they are on the disk."""
    folders = [bench.root / "output", bench.root / ".tidegate"]
    return [listing(folder) if folder.exists() else None for folder in folders]


def test_what_comes_out(bench, raw):
    found = bench.tidegate("try", "tiny/one", raw, "--no-attributes")
    (run,) = found["runs"]
    assert (found["ok"], run["state"]) == (True, "succeeded")
    data, other = run["products"]
    assert Path(data["file"]).is_file()
    assert other["kind"] == "ancillary"
    assert Path(other["file"]).read_text() == "1.5\n"
    x = next(one for one in data["content"]["variables"] if one["name"] == "x")
    assert (x["valid"], x["values"], x["least"], x["most"]) == (2, 2, "1", "2")
    assert run["peak_memory"] > 0
    assert state_of(bench) == [None, None]  # nothing was made where nothing was


def test_the_ledger_and_the_outputs_are_left_alone(bench, raw):
    bench.run("run", raw)
    before = state_of(bench)
    same = bench.tidegate("try", "tiny/one", raw, "--compare", "--no-attributes")
    assert same["runs"][0]["products"][0]["difference"] == {}
    bench.change_values("data.x * 2")
    found = bench.tidegate("try", "tiny/one", raw, "--compare", "--no-attributes")
    (value,) = found["runs"][0]["products"][0]["difference"]["values"]
    assert (value["count"], value["largest"]) == (2, 2.0)
    vap = bench.tidegate(
        "try", "tiny_vap/one", "--begin", "20220401", "--end", "20220402", "--compare",
        "--no-attributes",
    )  # fmt: skip
    assert vap["runs"][0]["products"][0]["on_record"] is False
    assert state_of(bench)[0] == before[0]
    ledger = {name: data for name, data in state_of(bench)[1].items() if "ledger.db" in name}
    assert ledger == {name: data for name, data in before[1].items() if "ledger.db" in name}


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("def misbehave(", "def misbehave((", "readers.py:"),
        ("return super().read(input_key)", "raise ValueError('no')", "readers.py:21"),
    ],
)
def test_a_failure_names_the_line_of_the_users_code(bench, raw, old, new, where):
    bench.edit(old, new)
    found = bench.tidegate("try", "tiny/one", raw, code=1)
    failure = found["runs"][0]["failure"]
    assert where in failure["where"]
    done = bench.run("try", "tiny/one", raw)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "tidegate/" not in done.stdout.replace(str(bench.root), "")


def test_files_from_elsewhere_and_several_at_once(bench, tmp_path):
    for name, minute in (("a.csv", "00"), ("b.csv", "05")):
        (tmp_path / name).write_text(RAW.replace("T00:0", f"T{minute}:0"))
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    out = tmp_path / "out"
    arguments = ("try", "tiny/two", *files, "--no-attributes", "--output", out)
    assert len(bench.tidegate(*arguments)["runs"]) == 2
    (run,) = bench.tidegate(*arguments, "--clump")["runs"]
    assert len(run["run"]["inputs"]) == 2
    assert out in Path(run["products"][0]["file"]).parents


def test_a_folder_with_something_else_in_it_is_not_emptied(bench, raw, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    done = bench.run("try", "tiny/one", raw, "--output", tmp_path / "mine")
    assert done.returncode == 2
    assert (tmp_path / "mine/thesis.tex").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("tiny/three", "a.csv"),
        ("tiny/one",),
        ("tiny/one", "none.csv"),
        ("tiny/one", "--begin", "20220401"),
        ("tiny_vap/one",),
        ("tiny_vap/one", "a.csv"),
        ("tiny_vap/one", "--begin", "20220402", "--end", "20220401"),
        ("tiny_vap/one", "--begin", "yesterday", "--end", "20220401"),
    ],
)
def test_what_cannot_be_tried(bench, arguments):
    done = bench.run("try", *arguments)
    assert done.returncode == 2
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_attributes_are_checked_without_a_network(bench, raw):
    found = bench.tidegate("try", "tiny/one", raw)
    compliance = found["runs"][0]["products"][0]["compliance"]
    assert "unknown" not in compliance
    assert {finding["standard"].split()[0] for finding in compliance["findings"]} == {"CF", "ACDD"}
    text = bench.run("try", "tiny/one", raw).stdout
    assert "for CF and ACDD" in text
    assert "coverage_content_type" in text


@contextlib.contextmanager
def watching(bench, *arguments, sigint=None):
    """``tidegate try --watch``, which prints a line for each run."""
    process = subprocess.Popen(
        bench.command("try", *arguments, "--watch", "--json"),
        cwd=bench.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if sigint else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def test_watch_sees_each_edit_and_ends_at_ctrl_c(bench, raw):
    with watching(bench, "tiny/one", raw, sigint=True) as process:

        def most():
            run = json.loads(process.stdout.readline())["runs"][0]
            if "failure" in run:
                return run["failure"]["where"]
            x = run["products"][0]["content"]["variables"][1]
            return x["most"]

        assert most() == "2"
        bench.change_values("data.x * 3")
        assert most() == "6"
        bench.edit("data.x * 3", "data.x * 4")  # as long, and in the same second
        assert most() == "8"
        bench.edit("data.x * 4", "data.x *")
        assert most() == "pipelines/tiny/readers.py:21"
        raw.write_text(RAW.replace("2.0", "5.0"))
        bench.edit("data.x *", "data.x * 4")
        assert most() == "20"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _works_in(pid, bench)]


def _works_in(pid, bench):
    """Whether a process has the repository as its working directory."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(bench.repository)
    except OSError:
        return False
