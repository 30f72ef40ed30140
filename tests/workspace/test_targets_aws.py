"""The commands with ``--target aws``, on the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aws_bench import INGEST as LIDAR
from aws_bench import NOON, writes

from tidegate.errors import ConfigurationError, InputChanged
from tidegate.runtime.events import Requested
from tidegate.runtime.publish import STORE
from tidegate.runtime.runs import Input, ProductRef, Run, Window
from tidegate.targets.aws import requests
from tidegate.targets.aws.messages import FunctionScope, read

pytestmark = pytest.mark.slow
KEY = "lidar/humboldt/a b+c.sta"


# --- looking ---------------------------------------------------------------------------------


def test_runs_show_and_products(branch):
    branch.arrive(KEY)
    (run,) = branch.tidegate("runs", "--json").json
    assert (run["state"], run["about"]) == ("succeeded", KEY)
    shown = branch.tidegate("show", run["key"][:8], "--json").json
    assert shown["key"] == run["key"]
    assert shown["log"].startswith("s3://example-output/tidegate/logs/")
    assert isinstance(shown["log_lines"], list)
    found = branch.tidegate("products", "--json", "--config", "lidar/humboldt").json
    assert {product["kind"] for product in found} == {"data", "ancillary"}
    assert KEY.rpartition("/")[2] in branch.tidegate("runs").out


def test_the_environment_can_name_the_target(branch):
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "runs", "--json"],
        cwd=branch.folder, capture_output=True, text=True, check=True,
        env={**os.environ, "TIDEGATE_TARGET": "aws"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_what_waits_cannot_be_listed(branch):
    done = branch.tidegate("runs", "--state", "queued", code=2)
    assert "cannot be listed" in done.err
    assert "example-main-dashboard" in done.err


# --- asking ----------------------------------------------------------------------------------


def test_a_file_is_run_through_the_queue(branch):
    branch.benches["lidar/humboldt"].put(KEY)
    with branch.working():
        (run,) = branch.tidegate("run", KEY, "--json").json
        again = branch.tidegate("run", f"s3://example-input/{KEY}")
    assert (run["state"], run["about"]) == ("succeeded", KEY)
    assert "1 run requested; Ctrl-C ends the waiting" in again.err
    (record,) = branch.ledger.records()
    assert record.attempt == 2
    assert record.release == "release 1"


def test_a_window_is_run_through_the_queue(branch):
    branch.arrive(KEY)
    with branch.working():
        (run,) = branch.tidegate(
            "run", "wind/humboldt", "--begin", "20220405", "--end", "20220406", "--json"
        ).json
    assert run["state"] == "succeeded"
    assert run["run"]["window"]["begin"].startswith("2022-04-05")


def test_failed_runs_are_retried(branch):
    bench = branch.benches["lidar/humboldt"]
    bench.worker.behaviour = lambda task: (_ for _ in ()).throw(_bad())
    branch.arrive(KEY)
    assert [r.state for r in branch.ledger.records()] == ["failed"]
    bench.worker.behaviour = writes
    with branch.working():
        (run,) = branch.tidegate("retry", "--failed", "--json").json
    assert run["state"] == "succeeded"
    assert "no failed runs" in branch.tidegate("retry", "--failed").err


def test_dead_letters_go_back_into_their_queue(branch):
    """One whose run has failed for good, and one that no function has put on record."""
    bench, sqs = branch.benches["lidar/humboldt"], branch.clients.sqs
    bench.worker.behaviour = lambda task: (_ for _ in ()).throw(_bad())
    branch.arrive(KEY)
    [failed] = branch.ledger.records()
    bench.worker.behaviour = writes
    lost = bench.put("lidar/humboldt/lost.csv")
    dead = sqs.get_queue_url(QueueName=branch.dead_letters(LIDAR))["QueueUrl"]
    for input in (failed.run.inputs[0], lost):
        sqs.send_message(QueueUrl=dead, MessageBody=json.dumps(bench.created(input)))
    with branch.working():
        done = branch.tidegate("retry", "--failed", "--json")
        deadline = time.monotonic() + 180
        while bench.visible() or bench.hidden():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "moved 2 messages from the dead-letter queues" in done.err
    assert [run["about"] for run in done.json] == [KEY]
    records = {r.run.inputs[0].key: (r.state, r.attempt) for r in branch.ledger.records()}
    assert records == {KEY: ("succeeded", 2), lost.key: ("succeeded", 1)}
    assert "no failed runs" in branch.tidegate("retry", "--failed").err


def test_a_run_that_fails_is_an_exit_code(branch):
    bench = branch.benches["lidar/humboldt"]
    bench.worker.behaviour = lambda task: (_ for _ in ()).throw(_bad())
    bench.put(KEY)
    with branch.working():
        done = branch.tidegate("run", KEY, code=1)
    assert "failed" in done.out


def _bad() -> Exception:
    return ConfigurationError("the pipeline cannot work")


def test_reprocess(branch):
    for name in "abc":
        branch.arrive(f"lidar/humboldt/{name}")
    branch.benches["lidar/humboldt"].put("lidar/humboldt/new")
    wanted = branch.tidegate("reprocess", "lidar/humboldt", "--dry-run", "--json").json
    assert [run["about"][-1] for run in wanted] == ["a", "b", "c", "w"]
    missing = ("reprocess", "lidar/humboldt", "--only", "missing", "--json")
    done = branch.tidegate(*missing)
    assert (done.json, "its function searches" in done.err) == ([], True)
    branch.benches["lidar/humboldt"].drain()
    assert [r.run.inputs[0].key for r in branch.ledger.records(limit=1)] == ["lidar/humboldt/new"]
    assert len(list(branch.ledger.records())) == 4
    stale = ("reprocess", "lidar/humboldt", "--only", "stale", "--dry-run", "--json")
    assert branch.tidegate(*stale).json == []


def test_vaps_are_reprocessed_after_the_ingests_that_they_read(branch):
    def named(task):
        outcome = writes(task)
        made = [
            replace(p, datastream="humboldt.lidar.a1" if p.begin else "") for p in outcome.products
        ]
        return replace(outcome, products=tuple(made))

    branch.benches["lidar/humboldt"].worker.behaviour = named
    branch.arrive(KEY)
    both = ("reprocess", "lidar/humboldt", "--with-vaps")
    assert "wind/humboldt" in branch.tidegate(*both, "--wait", "0", code=2).err
    assert list(branch.ledger.records(config="wind/humboldt")) == []
    with branch.working():
        done = branch.tidegate(*both, "--json").json
    assert [run["run"]["config"] for run in done] == ["lidar/humboldt", "wind/humboldt"]
    (ingest,) = branch.ledger.records(config="lidar/humboldt")
    (vap,) = branch.ledger.records(config="wind/humboldt")
    assert ingest.attempt == 2
    assert vap.started >= ingest.finished
    # Nobody waits for the ingest any more: the VAP is not requested, and the command says so.
    left = branch.tidegate(*both, "--wait", "0.5", code=1)
    assert "wind/humboldt" in left.err.splitlines()[-1]
    assert branch.benches["wind/humboldt"].visible() == 0


def test_asking_without_waiting(branch):
    bench = branch.benches["lidar/humboldt"]
    bench.put(KEY)
    branch.tidegate("run", KEY, "--wait", "0")
    assert bench.visible() == 1
    done = branch.tidegate("run", KEY, "--wait", "0.5", code=1)
    assert "1 run made no progress for 0.5 s" in done.err
    bench.drain()
    assert [record.state for record in branch.ledger.records()] == ["succeeded"]


def test_a_long_request_is_kept_in_the_ledger(branch):
    refs = tuple(ProductRef(f"{'long' * 50}/{n}", "0" * 64) for n in range(1500))
    window = Window(NOON, NOON.replace(hour=13))
    run = Run("wind/humboldt", window=window, products=refs, arrived=NOON, again=True)
    bench = branch.benches["wind/humboldt"]
    queue = bench.settings.queue
    requests.send([run], queue, branch.ledger, branch.clients)
    (message,) = branch.clients.sqs.receive_message(QueueUrl=queue)["Messages"]
    assert len(message["Body"]) < 1000
    (told,) = read(message["Body"], NOON, FunctionScope(bench.config, ""))
    assert branch.ledger.state(told.name) is not None


def test_many_requests_are_sent_in_batches(branch):
    runs = [
        Run("lidar/humboldt", inputs=(Input(f"k{n}", "1", 1),), arrived=NOON, again=True)
        for n in range(25)
    ]
    bench = branch.benches["lidar/humboldt"]
    requests.send(runs, bench.settings.queue, branch.ledger, branch.clients)
    assert bench.visible() == 25
    answer = branch.clients.sqs.receive_message(QueueUrl=bench.settings.queue)
    (told,) = read(answer["Messages"][0]["Body"], NOON, FunctionScope(bench.config, ""))
    assert isinstance(told, Requested)
    assert told.runs[0] in runs


# --- what a person may get wrong ---------------------------------------------------------------


def parts(text: str) -> int:
    """How many lines an error has: what, why, what next."""
    return len([line for line in text.split("error:")[1].splitlines() if line.strip()])


def test_a_file_of_this_machine(branch):
    (branch.folder / "x.sta").write_text("raw")
    done = branch.tidegate("run", "x.sta", code=2)
    assert "aws s3 cp x.sta s3://example-input/lidar/humboldt/" in done.err
    assert parts(done.err) == 3


def test_a_key_that_is_not_there(branch):
    done = branch.tidegate("run", "lidar/humboldt/no", code=2)
    assert "there is no lidar/humboldt/no in s3://example-input" in done.err


def test_another_bucket(branch):
    done = branch.tidegate("run", "s3://other/lidar/humboldt/x", code=2)
    assert "functions read raw files from example-input only" in done.err


def test_a_key_that_the_function_may_not_read(branch):
    branch.benches["lidar/humboldt"].put("elsewhere/x")
    done = branch.tidegate("run", "elsewhere/x", "--config", "lidar/humboldt", code=2)
    assert "may read files under lidar/humboldt/ only" in done.err


def test_a_branch_that_is_not_deployed(nothing):
    done = nothing.tidegate("runs", code=5)
    assert "there is no table example-main-ledger in us-west-2 of the account" in done.err
    assert "--branch, --region and --profile" in done.err
    assert parts(done.err) == 3


def test_another_region(branch):
    done = branch.tidegate("runs", "--region", "eu-west-1", code=5)
    assert "in eu-west-1" in done.err


def test_a_config_that_is_not_deployed_yet(half):
    window = ("--begin", "20220405", "--end", "20220406")
    done = half.tidegate("run", "wind/humboldt", *window, code=1)
    assert "cannot find the queue example-main-queue-wind-humboldt" in done.err
    assert parts(done.err) == 3


def test_no_credentials(branch):
    gone = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = branch.tidegate("runs", code=2, **gone)
    assert "no AWS credentials are found" in done.err
    assert parts(done.err) == 3


def test_no_such_profile(branch):
    done = branch.tidegate("runs", "--profile", "nobody", code=2)
    assert "nobody" in done.err


def test_where_aws_does_not_tell_tsdat_is_asked_here(branch):
    """As with a person who may not look at functions: here the repository is not there, either."""
    client = branch.clients.client("lambda")
    client.update_function_configuration(
        FunctionName=branch.names.function("lidar", "humboldt"), Environment={"Variables": {}}
    )
    done = branch.tidegate("run", KEY, code=2)
    assert "is not known" in done.err
    assert "Tsdat is asked about the repository on this machine instead." in done.err


def test_a_config_without_names(branch):
    file = branch.folder / "pipelines_config.yml"
    file.write_text(file.read_text().replace("pipelines_repo_name: example\n", ""))
    done = branch.tidegate("runs", code=2)
    assert "pipelines_repo_name is missing" in done.err
    assert "write, for example," in done.err


def test_without_boto3(branch, tmp_path):
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide/sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'boto3' else find(name, *a)\n"
    )
    path = f"{tmp_path / 'hide'}:{__import__('os').environ.get('PYTHONPATH', '')}"
    done = branch.tidegate("runs", code=2, PYTHONPATH=path)
    assert "pip install 'tidegate[aws]'" in done.err


def test_the_functions_config_counts_not_the_files(branch):
    """Whose retry is it? The release that is deployed says, not what lies in this folder."""
    client = branch.clients.client("lambda")
    name = branch.names.function("lidar", "humboldt")
    answer = client.get_function_configuration(FunctionName=name)
    text = answer["Environment"]["Variables"]["TIDEGATE_MANIFEST"].replace("release 1", "release 2")
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"TIDEGATE_MANIFEST": text}}
    )
    branch.arrive(KEY)
    stale = ("reprocess", "lidar/humboldt", "--only", "stale", "--dry-run", "--json")
    assert len(branch.tidegate(*stale).json) == 1


# --- adopting ----------------------------------------------------------------------------------


def data_key(day: int, stream: str = "humboldt.lidar.a1") -> str:
    return f"storage/root/data/humboldt/{stream}/{stream}.202204{day:02}.000000.nc"


def test_adopt_a_bucket(branch):
    s3 = branch.clients.s3
    keys = [data_key(day) for day in range(1, 6)]
    keys.append("storage/root/ancillary/humboldt/humboldt.lidar.a1/"
                "humboldt.lidar.a1.20220401.000000.wind.png")  # fmt: skip
    for key in [*keys, "storage/root/notes.md", "tidegate/logs/x.jsonl"]:
        s3.put_object(Bucket="example-output", Key=key, Body=key.encode())
    branch.benches["lidar/humboldt"].put(KEY)
    looked = branch.tidegate("adopt", "--dry-run", "--json").json
    assert [(s["data"], s["others"]) for s in looked["streams"]] == [(5, 1)]
    assert list(branch.ledger.records()) == []
    report = branch.tidegate("adopt", "--json").json
    assert (report["adopted"], report["unknown"]) == (6, 1)
    assert report["raw"][0]["count"] == 1
    assert "only new files are" in report["raw"][0]["fate"]
    assert branch.tidegate("adopt", "--json").json["adopted"] == 0
    assert {product.key for product in branch.ledger.products()} == set(keys)


def test_what_differs_from_the_bucket_is_listed_and_repaired(branch):
    s3, unknown = branch.clients.s3, data_key(1)
    for name in ("lost", "changed", "kept"):
        branch.arrive(f"lidar/humboldt/{name}.sta", name.encode())
    lost, changed = (
        next(product.key for product in record.products if product.kind == "data")
        for name in ("lost", "changed")
        for record in branch.ledger.about("lidar/humboldt", f"lidar/humboldt/{name}.sta")
    )
    s3.delete_object(Bucket="example-output", Key=lost)
    s3.put_object(Bucket="example-output", Key=changed, Body=b"x" * 11)
    s3.put_object(Bucket="example-output", Key=unknown, Body=b"day 1")
    found = branch.tidegate("verify", "--json", code=1).json
    kinds = {one["key"]: one["kind"] for one in found["differences"]}
    assert (found["products"], kinds) == (
        6,
        {lost: "missing", changed: "changed", unknown: "unknown"},
    )
    with branch.working():
        repaired = branch.tidegate("verify", "--repair", "--json").json
    assert (repaired["products"], repaired["differences"]) == (7, [])
    assert s3.get_object(Bucket="example-output", Key=lost)["Body"].read().startswith(b"lost")


def test_a_vap_runs_over_what_was_adopted(branch):
    for day in (5, 6):
        branch.clients.s3.put_object(
            Bucket="example-output", Key=data_key(day), Body=f"day {day}".encode()
        )
    branch.tidegate("adopt")
    bench = branch.benches["wind/humboldt"]
    bench.send({"tidegate": {"schedule": "wind/humboldt", "time": "2022-04-07T00:00:00Z"}})
    bench.drain()
    records = branch.ledger.records(config="wind/humboldt")
    assert [record.state for record in records] == ["succeeded"] * 2
    # The very version that was adopted, and no other.
    ref = branch.ledger.product(data_key(5)).ref
    branch.clients.s3.put_object(Bucket="example-output", Key=data_key(5), Body=b"other")
    with pytest.raises(InputChanged):
        bench.function.context.target.outputs.fetch(ref, branch.folder / "copy")


def test_adopt_counts_raw_files_as_done_on_request(branch):
    branch.benches["lidar/humboldt"].put(KEY)
    report = branch.tidegate("adopt", "--inputs", "--json").json
    assert (report["taken"], report["raw"]) == (1, [])
    missing = ("reprocess", "lidar/humboldt", "--only", "missing", "--dry-run", "--json")
    assert branch.tidegate(*missing).json == []


def test_a_real_run_takes_an_adopted_name_over(branch):
    bench = branch.benches["lidar/humboldt"]
    bench.put(KEY)
    branch.clients.s3.put_object(Bucket="example-output", Key=data_key(5), Body=b"old")
    branch.tidegate("adopt")

    def same_name(task):
        outcome = writes(task)
        product = outcome.products[0]
        place = Path(task.work) / STORE
        (place / data_key(5)).parent.mkdir(parents=True)
        (place / product.key).rename(place / data_key(5))
        return replace(outcome, products=(replace(product, key=data_key(5)),))

    bench.worker.behaviour = same_name
    with branch.working():
        (run,) = branch.tidegate("run", KEY, "--json").json
    assert run["state"] == "succeeded"
    assert "warnings" not in run
    assert branch.ledger.product(data_key(5)).run == run["key"]
