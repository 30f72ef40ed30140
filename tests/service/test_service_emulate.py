"""``tidegate emulate``: a workspace on an emulator of AWS, for a person without an account."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys

import psutil
import pytest
from service_workspace import Up, config, csv, eventually, ingest, make, product

_NEEDED = ("ministack", "boto3", "aws_lambda_powertools")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.aws,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, _NEEDED)),
        reason="needs requirements/dev.txt: `make .venv/.ready`",
    ),
]
AWS = """
pipelines_repo_name: waves
account_id: "123456789012"
region: eu-central-1
input_bucket_name: waves-raw
output_bucket_name: waves-products
"""


def test_all_there_is_is_run_once(place):
    place.put("tiny/one/first.csv", csv())
    place.put("tiny/one/bad.csv", csv(ask="raise"))
    place.age()
    done = place.tidegate("emulate", "--once", "--json", "--python", sys.executable, code=1)
    found = {run["run"]["inputs"][0]["key"]: run["state"] for run in done.json}
    assert found == {"tiny/one/first.csv": "succeeded", "tiny/one/bad.csv": "failed"}
    assert place.outputs() == {}  # all of it was in buckets, and they are gone
    assert place.records() == []


def test_other_commands_take_it_for_aws_and_changed_code_is_deployed(tmp_path):
    place = make(tmp_path / "workspace", AWS + config(ingest("one")), own=True)
    place.put("tiny/one/first.csv", csv())
    place.age()
    with contextlib.closing(Up(place, [], {}, "emulate")) as emulation:
        emulation.says("press Ctrl-C to stop", 120)
        exported = dict(
            line.removeprefix("export ").split("=", 1)
            for line in emulation.said.splitlines()
            if line.startswith("export ")
        )
        assert exported["AWS_ACCESS_KEY_ID"] == "123456789012"
        assert exported["AWS_REGION"] == "eu-central-1"
        emulation.says("first.csv  succeeded", 120)
        made = place.run("products", "--target", "aws", "--json", **exported).json
        assert product("one", "20220401.000000") in {one["key"] for one in made}
        place.put("tiny/one/late.csv", csv("2022-04-03T00:00:00"))
        emulation.says("late.csv  succeeded", 120)
        dataset = place.root / "pipelines/pipelines/tiny/config/dataset.yaml"
        dataset.write_text(dataset.read_text().replace("title: Tiny", "title: Changed"))
        emulation.says("tiny/one has release", 120)
        place.put("tiny/one/third.csv", csv("2022-04-04T00:00:00"))
        emulation.says("third.csv  succeeded", 120)
        third, late, _ = place.run("runs", "--target", "aws", "--json", **exported).json
        assert third["release"] != late["release"]
        children = psutil.Process(emulation.process.pid).children(recursive=True)
        assert children
        assert emulation.stop(signal.SIGINT) == 0
        assert "Traceback" not in emulation.said
        eventually(lambda: not any(child.is_running() for child in children))
