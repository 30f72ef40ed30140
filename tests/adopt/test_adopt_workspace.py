"""``tidegate adopt`` as a command, over what plain Tsdat has made of the example's raw files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from service_workspace import config, ingest, make, product

from tidegate.scaffold import demo
from tidegate.workspace.binding import MARK

pytestmark = pytest.mark.slow
RUNNER = Path(__file__).parents[1] / "examples" / "tsdat_runner.py"
RAW = "lidar/humboldt/lidar.z05.00.2020120{n}.000000.sta.7z"


def tidegate(workspace: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command, in a workspace; its exit code is checked."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *arguments],
        cwd=workspace, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def adopt(workspace: Path, *arguments: str) -> dict:
    """``tidegate adopt --json``: its report."""
    done = tidegate(workspace, "adopt", "--json", "--python", sys.executable, *arguments)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A workspace of the example whose output/ plain Tsdat has filled, from two days of raw files.

    Tsdat has run as people run it: in the repository, on paths of theirs.
    """
    root = tmp_path_factory.mktemp("old") / "workspace"
    workspace = demo.make_workspace(root)
    demo.write_raw_files(workspace, [sys.executable])
    raw = [workspace.input / RAW.format(n=n) for n in (1, 2)]
    jobs = [
        {
            "config": "pipelines/lidar/config/pipeline_humboldt.yaml",
            "inputs": [str(file)],
            "storage_root": str(workspace.output / "storage/root"),
        }
        for file in raw
    ]
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(root / "pipelines")],
        input="\n".join(map(json.dumps, jobs)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(json.loads(line)["ok"] for line in done.stdout.splitlines()), done.stdout
    for file in workspace.input.rglob("*"):
        if file.is_file() and file not in raw:
            file.unlink()
    for file in workspace.input.rglob("*.7z"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return root


@pytest.fixture
def place(old, tmp_path):
    """A copy of it, for one test."""
    shutil.copytree(old, tmp_path / "workspace")
    return tmp_path / "workspace"


def without_vap(place: Path) -> None:
    """Leave the VAP out of the config: its many windows take their time."""
    file = place / "pipelines_config.yml"
    file.write_text(file.read_text().split("- name: lidar_vap")[0])


def files(root: Path) -> dict[str, float]:
    """What lies in output/, and since when."""
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime
        for path in (root / "output").rglob("*")
        if path.is_file() and path.name != MARK
    }


def test_by_names_then_the_vap_runs(place):
    before = files(place)
    looked = adopt(place, "--dry-run")
    assert [(s["config"], s["data"], s["others"]) for s in looked["streams"]] == [
        ("lidar/humboldt", 2, len(before) - 2)
    ]
    assert tidegate(place, "products", "--json").stdout.strip() == "[]"
    wrong = ("adopt", "--datastream", "nowhere.a1", "--python", sys.executable)
    assert looked["streams"][0]["datastream"] in tidegate(place, *wrong, code=2).stderr
    report = adopt(place)
    assert report["adopted"] == len(before)
    assert report["raw"] == [
        {"config": "lidar/humboldt", "count": 2, "fate": "`tidegate up` will process them"}
    ]
    assert list(report["awaited"]) == ["lidar_vap/humboldt"]
    assert files(place) == before
    assert adopt(place)["adopted"] == 0
    adopt(place, "--inputs")
    tidegate(place, "up", "--once", "--python", sys.executable)
    runs = json.loads(tidegate(place, "runs", "--json", "-n", "500").stdout)
    vap = [run for run in runs if run["run"]["config"] == "lidar_vap/humboldt"]
    # The one after the last sample, which only the name makes seem to hold any, has no product.
    assert sorted(run["outcome"] for run in vap) == ["empty"] + ["succeeded"] * 2
    others = [run for run in runs if run["run"]["config"] == "lidar/humboldt"]
    assert not any(run.get("release") for run in others)  # none was carried out
    assert {key: at for key, at in files(place).items() if key in before} == before


def test_read_takes_true_times_and_raw_files(place):
    without_vap(place)
    report = adopt(place, "--read")
    assert report["matched"] == 2
    assert report["raw"] == []
    found = json.loads(tidegate(place, "products", "--json").stdout)
    data = [p for p in found if p["kind"] == "data"]
    assert sorted(p["end"] for p in data) == [
        "2020-12-02T00:00:00+00:00",
        "2020-12-03T00:00:00+00:00",
    ]
    assert all(p["quality"] for p in data)
    tidegate(place, "up", "--once", "--python", sys.executable)
    states = json.loads(tidegate(place, "runs", "--json", "-n", "500").stdout)
    ingests = [run for run in states if run["run"]["config"] == "lidar/humboldt"]
    assert len(ingests) == 2
    assert not any(run.get("release") for run in ingests)


def test_raw_files_that_do_not_count_as_done_run_and_replace(place):
    without_vap(place)
    adopt(place)
    before = set(files(place))
    tidegate(place, "up", "--once", "--python", sys.executable)
    runs = json.loads(tidegate(place, "runs", "--json", "-n", "500").stdout)
    real = [r for r in runs if r.get("release") and r["run"]["config"] == "lidar/humboldt"]
    assert [run.get("warnings") or [] for run in real] == [[], []]
    assert [run["outcome"] for run in real] == ["succeeded"] * 2
    assert before <= set(files(place))


def test_a_person_is_told(place):
    (place / "output/storage/root/notes.md").write_text("by hand")
    told = tidegate(place, "adopt", "--python", sys.executable)
    assert told.stdout.split("\t")[:2] == ["lidar/humboldt", "humboldt.buoy_z05-lidar-10m.a1"]
    assert "skipped 1 file: the name fits no config's file name template" in told.stderr
    assert "2 raw files of lidar/humboldt not processed yet" in told.stderr
    assert "lidar_vap/humboldt treats humboldt.buoy_z05-lidar-10m.a1 as new input" in told.stderr


def test_no_such_config(place):
    done = tidegate(place, "adopt", "--config", "lidar/x", "--python", sys.executable, code=2)
    assert "there is no config lidar/x" in done.stderr


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_killed_half_way(tmp_path, seconds):
    """With SIGKILL, as soon as something is on record; then again, to the end."""
    place = make(tmp_path / "workspace", config(ingest("one")))
    keys = [
        product("one", f"20{year:02}-{month:02}-{day:02}T00:00:00")
        for year in range(15, 23) for month in range(1, 13) for day in range(1, 29)
    ]  # fmt: skip
    for key in keys:
        path = place.output / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    command = [sys.executable, "-m", "tidegate", "adopt", "--python", sys.executable]
    process = subprocess.Popen(command, cwd=place.root, env=place.variables())
    ledger = place.root / ".tidegate/ledger.db"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if ledger.exists() and place.records():
            break
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with place.ledger() as opened:
        half = len(list(opened.products()))
    report = adopt(place.root)
    assert report["adopted"] == len(keys) - half
    assert report["recorded"] == half
    place.assert_whole()
    assert not [record for record in place.records() if record.state != "succeeded"]


def test_not_while_a_service_runs(tmp_path):
    place = make(tmp_path / "workspace", config(ingest("one")))
    with place.up():
        done = place.run("adopt", "--python", sys.executable)
    assert done.code == 4
    assert "a service is already running" in done.err
