"""The Lambda function on MiniStack's S3, DynamoDB and SQS, with a stand-in for its worker."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aws_bench import INGEST, NOON, VAP, Bench, FakeWorker, again, raises, writes

from tidegate.errors import RunTimeout, StorageError, WorkerLost
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws import messages
from tidegate.targets.aws.clients import Clients

New = dict[str, Callable[[], str]]
KEY = "lidar/humboldt/a.sta.7z"


def bad(task: Task) -> Outcome:
    return Outcome(failure=Failure("bad-input", "no time in it"))


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines that CloudWatch would have got."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line]


# Arrivals.


def test_a_raw_file_becomes_products_and_a_record(
    capsys: pytest.CaptureFixture[str], bench: Bench
) -> None:
    (record,) = bench.arrive(KEY, b"raw data")
    assert (record.state, record.attempt, record.release) == ("succeeded", 1, "release 1")
    assert record.run.arrived == NOON
    assert len(record.products) == 2
    bench.agrees()
    assert (bench.visible(), bench.hidden()) == (0, 0)
    body = bench.clients.s3.get_object(
        Bucket=bench.settings.output_bucket, Key=record.products[0].key
    )
    assert body["Metadata"]["sha256"] == record.products[0].sha256
    assert record.log.startswith(
        f"s3://{bench.settings.output_bucket}/tidegate/logs/succeeded/lidar/humboldt/"
    )
    lines = told(capsys)
    (end,) = [line for line in lines if line.get("action") == "run"]
    assert (end["pipeline"], end["config"], end["run"]) == ("lidar", "humboldt", record.key[:12])
    assert {"time", "level", "message"} <= set(end)
    assert not [line for line in lines if "_aws" in line]  # custom metrics cost money


NAMES = [
    "with space (1).dat",
    "a+b&c=d.dat",
    "100%20.dat",
    "%2B+%.dat",
    "é-e\u0301-风🌊.dat",
    "quote'\"\\.dat",
    "/".join(["d" * 200] * 4) + "/" + "n" * 80 + ".dat",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["bridge", "notification"])
def test_keys_are_taken_as_they_are(bench: Bench, name: str, kind: str) -> None:
    input = bench.put(f"lidar/humboldt/{name}", b"content of it")
    bench.send(bench.created(input) if kind == "bridge" else bench.notified(input))
    bench.drain()
    (record,) = bench.records()
    assert (record.state, record.run.inputs) == ("succeeded", (input,))
    assert bench.worker.tasks[0].arguments[0].endswith(f"/in/lidar/humboldt/{name}")
    bench.agrees()


def test_a_name_that_no_disk_takes_fails_in_words(bench: Bench) -> None:
    (record,) = bench.arrive("lidar/humboldt/" + "n" * 300 + ".dat")
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("failed", "configuration")
    assert "longer than 255 bytes" in record.failure.message


def test_the_same_event_five_times_is_one_run(bench: Bench) -> None:
    event = bench.created(bench.put(KEY))
    bench.send(*[event] * 5)
    bench.drain()
    assert [(r.state, r.attempt) for r in bench.records()] == [("succeeded", 1)]
    bench.send(event)
    bench.drain()
    assert len(bench.worker.tasks) == 1
    assert bench.hidden() == 0


def test_the_same_event_to_two_functions_at_once(
    bench: Bench, clients: Clients, new: New, tmp_path: Path
) -> None:
    """While one is at it, the other's message waits for what becomes of it."""
    shared = {
        name: getattr(bench.settings, name) for name in ("input_bucket", "output_bucket", "table")
    }
    other = Bench(clients, new, tmp_path, **shared)
    event = bench.created(bench.put(KEY))

    def meanwhile(task: Task) -> Outcome:
        other.send(event)
        other.poll()
        assert (other.visible(), other.hidden()) == (0, 1)
        return writes(task)

    bench.worker.behaviour = meanwhile
    bench.send(event)
    bench.drain()
    assert [r.state for r in bench.records()] == ["succeeded"]
    assert other.worker.tasks == []


def test_a_replaced_file_replaces_its_products(bench: Bench) -> None:
    bench.arrive(KEY, b"one")
    before = {p.key: p.sha256 for p in bench.ledger.products()}
    bench.arrive(KEY, b"two")
    after = {p.key: p.sha256 for p in bench.ledger.products()}
    assert before.keys() == after.keys()
    assert before != after
    assert len(bench.arrive(KEY, b"two")) == 2  # the same again: nothing to do
    bench.agrees()


def test_events_out_of_order_leave_the_latest(bench: Bench) -> None:
    first = bench.created(bench.put(KEY, b"one"))
    second = bench.created(bench.put(KEY, b"two"))
    bench.send(second)
    bench.drain()
    bench.send(first)
    bench.drain()
    states = {r.run.inputs[0].version: r.state for r in bench.records()}
    assert set(states.values()) == {"succeeded", "superseded"}
    (product, _) = bench.ledger.products()
    assert bench.ledger.record(product.run).state == "succeeded"  # type: ignore[union-attr]
    bench.agrees()


def test_a_file_without_an_etag_in_its_event(bench: Bench) -> None:
    input = bench.put(KEY)
    event = bench.created(input)
    del event["detail"]["object"]["etag"]
    gone = bench.created(Input("lidar/humboldt/gone", "", 1))
    bench.send(event, gone)
    bench.drain()
    (record,) = bench.records()
    assert record.run.inputs == (input,)


def test_what_calls_for_nothing(capsys: pytest.CaptureFixture[str], bench: Bench) -> None:
    input = bench.put(KEY)
    deleted = bench.created(input) | {"detail-type": "Object Deleted"}
    marker = bench.notified(input, "ObjectRemoved:DeleteMarkerCreated")
    bench.send(
        bench.created(Input("lidar/humboldt/", "d41d8", 0)),
        bench.created(Input("lidar/humboldt/2022/", "d41d8", 0)),
        bench.created(Input("lidar/morro/a.sta.7z", "1", 1)),
        bench.created(Input("elsewhere.dat", "1", 1)),
        bench.created(input, bucket="another-bucket"),
        deleted,
        marker,
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"},
    )
    bench.drain()
    assert bench.records() == []
    assert (bench.hidden(), bench.dead) == (0, [])
    assert sum(line["action"] == "ignored" for line in told(capsys)) == 8


def test_products_do_not_set_off_runs(clients: Clients, new: New, tmp_path: Path) -> None:
    """Where raw files and products share a bucket, and the config takes all that is in it."""
    bucket = new["bucket"]()
    config = replace(INGEST, input_path="", tsdat=VAP.tsdat)
    bench = Bench(clients, new, tmp_path, config, input_bucket=bucket, output_bucket=bucket)
    bench.send(
        bench.created(Input("storage/root/a/b.nc", "1", 1)),
        bench.created(Input("tidegate/logs/succeeded/lidar/humboldt/x.jsonl", "1", 1)),
    )
    bench.drain()
    assert bench.records() == []
    assert [r.state for r in bench.arrive("raw.dat")] == ["succeeded"]


def test_an_empty_file_is_a_file(bench: Bench) -> None:
    (record,) = bench.arrive(KEY, b"")
    assert record.state == "succeeded"
    assert record.run.inputs[0].size == 0


@pytest.mark.slow
def test_a_large_file_comes_in_parts(bench: Bench) -> None:
    content = b"0123456789abcdef" * (200 * 2**16)
    bench.send(bench.created(bench.put(KEY, content)))
    seen = []

    def look(task: Task) -> Outcome:
        seen.append(Path(task.arguments[0]).read_bytes() == content)
        return writes(task)

    bench.worker.behaviour = look
    bench.drain()
    assert seen == [True]
    assert [r.state for r in bench.records()] == ["succeeded"]
    bench.agrees()


@pytest.mark.slow
def test_many_files(bench: Bench) -> None:
    count = 60
    for n in range(count):
        bench.send(bench.created(bench.put(f"lidar/humboldt/{n}.dat", b"%d" % n)))
    bench.drain()
    assert [r.state for r in bench.records()] == ["succeeded"] * count
    assert len(bench.outputs()) == 2 * count
    bench.agrees()


# Failures.


def test_bad_input_is_recorded_and_not_tried_again(bench: Bench) -> None:
    bench.worker.behaviour = bad
    (record,) = bench.arrive(KEY)
    assert record.state == "failed"
    assert record.failure == Failure("bad-input", "no time in it")
    assert (bench.visible(), bench.hidden(), bench.dead) == (0, 0, [])
    assert bench.outputs() == set()


def test_one_bad_message_leaves_the_others_alone(bench: Bench) -> None:
    bench.send(
        bench.created(bench.put("lidar/humboldt/1")),
        "{not json",
        bench.created(bench.put("lidar/humboldt/2")),
        {"detail-type": "Something Else", "source": "aws.ec2"},
        [],
        {"tidegate": {"runs": [{"nonsense": 1}]}},
        {"tidegate": {"schedule": "other/config"}},
        {"Records": [{"eventSource": "aws:sns"}]},
        bench.created(bench.put("lidar/humboldt/3")),
    )
    failed = bench.poll()
    assert len(failed) == 6
    assert [r.state for r in bench.records()] == ["succeeded"] * 3


def test_a_passing_failure_is_tried_again_after_a_pause(bench: Bench) -> None:
    bench.worker.behaviour = raises(WorkerLost("the worker was ended by SIGSEGV"), 1)
    (record,) = bench.arrive(KEY)
    assert (record.state, record.tries) == ("retrying", 1)
    assert (bench.visible(), bench.hidden()) == (0, 1)
    bench.clients.sqs.purge_queue(QueueUrl=bench.settings.queue)
    bench.send(bench.created(record.run.inputs[0]))
    bench.drain()
    (record,) = bench.records()
    assert (record.state, record.attempt, record.tries) == ("succeeded", 2, 2)
    bench.agrees()


def now_visible(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time."""
    monkeypatch.setattr("tidegate.runtime.dispatch.backoff", lambda tries: timedelta(0))


def test_one_that_fails_too_often_ends_in_the_dead_letters(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_visible(bench, monkeypatch)
    bench.worker.behaviour = raises(StorageError("the network is gone"))
    event = bench.created(bench.put(KEY))
    bench.send(event)
    bench.drain()
    (record,) = bench.records()
    assert (record.state, record.attempt) == ("failed", 2)
    assert record.failure is not None
    assert record.failure.kind == "transient"
    assert bench.dead == [json.dumps(event)]
    assert len(bench.worker.tasks) == 2
    bench.send(event)  # a new message about it is not given up: it just is done
    bench.drain()
    assert len(bench.dead) == 1


def test_a_request_brings_a_failed_run_home(bench: Bench) -> None:
    bench.worker.behaviour = bad
    (record,) = bench.arrive(KEY)
    bench.worker.behaviour = writes
    request = json.loads(
        json.dumps(messages.request([again(record.run, NOON + timedelta(days=1))], NOON))
    )
    bench.send(request, request)
    bench.drain()
    (record,) = bench.records()
    assert (record.state, record.attempt) == ("succeeded", 2)  # not 3
    bench.agrees()


def test_many_requests_become_items_of_the_queue(bench: Bench) -> None:
    runs = [again(Run(INGEST.id, (bench.put(f"lidar/humboldt/{n}"),)), NOON) for n in range(23)]
    bench.send(json.loads(json.dumps(messages.request(runs, NOON))))
    assert bench.poll() == []
    assert bench.worker.tasks == []
    assert bench.visible() == 23
    bench.drain()
    assert [r.state for r in bench.records()] == ["succeeded"] * 23


def test_a_run_too_long_for_a_message(bench: Bench) -> None:
    inputs = [
        Input(f"lidar/humboldt/{n}/{'/'.join(['x' * 200] * 4)}", f"{n:032x}", 1) for n in range(250)
    ]
    long, short = Run(INGEST.id, tuple(inputs)), Run(INGEST.id, (bench.put(KEY),))
    bench.send(json.loads(json.dumps(messages.request([long, short], NOON))))
    bench.worker.behaviour = writes
    bench.drain()
    states = {len(r.run.inputs): r.state for r in bench.records()}
    assert states == {250: "superseded", 1: "succeeded"}  # none of the 250 files is there


def test_a_timeout_is_recorded_and_not_tried_again(bench: Bench) -> None:
    bench.worker.behaviour = raises(RunTimeout("the run was stopped after 900 s"))
    (record,) = bench.arrive(KEY)
    assert (record.state, record.failure and record.failure.kind) == ("failed", "timeout")
    assert bench.hidden() == 0


def test_a_run_gets_the_time_that_is_left(bench: Bench) -> None:
    def slow(task: Task) -> Outcome:
        raise RunTimeout(f"stopped after {int(bench.worker.limits[-1].timeout)} s")

    bench.worker.behaviour = slow
    bench.send(bench.created(bench.put(KEY)))
    bench.drain(seconds=100)
    (record,) = bench.records()
    assert record.failure is not None
    assert record.failure.kind == "timeout"
    assert "when the function's time was over" in record.failure.message
    assert 80 <= bench.worker.limits[0].timeout <= 86


def test_messages_that_there_is_no_time_for_come_again(bench: Bench) -> None:
    def slow(task: Task) -> Outcome:
        time.sleep(1.0)
        return writes(task)

    bench.worker.behaviour = slow
    bench.send(*[bench.created(bench.put(f"lidar/humboldt/{n}")) for n in range(4)])
    failed = bench.poll(seconds=3.0)
    assert len(failed) == 3
    assert bench.visible() == 3
    assert [r.state for r in bench.records()] == ["succeeded"]
    bench.drain()
    assert [r.state for r in bench.records()] == ["succeeded"] * 4


def test_a_function_that_died_leaves_its_run_to_the_next(bench: Bench) -> None:
    input = bench.put(KEY)
    run = Run(INGEST.id, (input,))
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    bench.ledger.claim(run, owner="dead", lease=timedelta(minutes=1), now=past, release="")
    bench.send(bench.created(input))
    bench.drain()
    (record,) = bench.records()
    assert (record.state, record.attempt) == ("succeeded", 2)


def test_a_run_that_functions_die_of_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    input = bench.put(KEY)
    run = Run(INGEST.id, (input,))
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    bench.ledger.claim(run, owner="dead", lease=timedelta(minutes=1), now=past, release="")
    bench.send(bench.created(input))
    bench.clients.sqs.receive_message(  # a delivery that the function died of
        QueueUrl=bench.settings.queue, VisibilityTimeout=0
    )
    bench.drain()
    (record,) = bench.records()
    assert record.state == "failed"
    assert record.failure is not None
    assert "died" in record.failure.message
    assert bench.worker.tasks == []
    assert len(bench.dead) == 1


def visibilities(bench: Bench) -> list[int]:
    """The visibility timeouts that a function asks of SQS, one for each message."""
    asked: list[int] = []

    def note(params: Any, **more: Any) -> None:
        asked.extend(one["VisibilityTimeout"] for one in params.get("Entries", [params]))

    events = bench.clients.sqs.meta.events
    for name in ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch"):
        events.register(f"provide-client-params.sqs.{name}", note)
    return asked


def test_messages_of_a_function_that_dies_do_not_wait_for_hours(bench: Bench) -> None:
    asked = visibilities(bench)
    bench.send(bench.created(bench.put(KEY)))
    assert bench.poll(seconds=100.0) == []
    [seconds] = asked
    assert 150 <= seconds <= 160


def test_an_error_outside_of_a_run_postpones_the_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a claim that is throttled."""

    def throttled(*args: Any, **more: Any) -> Any:
        raise StorageError("cannot write the ledger", why="DynamoDB throttles")

    asked = visibilities(bench)
    monkeypatch.setattr(bench.ledger, "claim", throttled)
    bench.send(bench.created(bench.put(KEY)))
    assert len(bench.poll()) == 1
    assert 30 <= asked[-1] <= 120
    assert len(asked) == 2
    assert (bench.visible(), bench.hidden()) == (0, 1)


def test_a_ledger_that_is_not_there_fails_the_message(
    clients: Clients, new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(clients, new, tmp_path, table="no-such-table")
    bench.send(bench.created(bench.put(KEY)))
    assert len(bench.poll()) == 1
    assert "the table or its index does not exist" in capsys.readouterr().out


def test_an_event_sent_directly_that_must_come_again_is_an_error(bench: Bench) -> None:
    bench.worker.behaviour = raises(StorageError("the network is gone"), 1)
    event = bench.created(bench.put(KEY))
    with pytest.raises(Exception, match="tried again"):
        bench.direct(event)
    assert bench.direct(event) == {}
    assert [r.state for r in bench.records()] == ["succeeded"]


# Schedules.


@pytest.fixture
def vap(bench: Bench, clients: Clients, new: New, tmp_path: Path) -> Bench:
    """A VAP on what ``bench`` makes."""
    shared = {name: getattr(bench.settings, name) for name in ("output_bucket", "table")}
    return Bench(clients, new, tmp_path, VAP, input_bucket="", **shared)


TICKS = [
    {"tidegate": {"schedule": "wind/humboldt", "time": "2022-04-06T00:00:00Z"}},
    {"tidegate": {"schedule": "wind/humboldt", "time": "<aws.scheduler.scheduled-time>"}},
    {"tidegate": {"schedule": "wind/humboldt"}},
    {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "time": "2022-04-06T00:00:00Z",
        "resources": ["arn:aws:events:us-west-2:0:rule/wind"],
        "detail": {},
    },
]


@pytest.mark.parametrize("tick", TICKS)
def test_a_schedule_runs_the_windows_that_changed(
    bench: Bench, vap: Bench, tick: dict[str, Any]
) -> None:
    vap.send(tick)
    vap.drain()
    assert vap.worker.tasks == []  # there is nothing to work on yet
    bench.arrive(KEY, b"one")
    vap.send(tick)
    vap.drain()
    (task,) = vap.worker.tasks
    assert task.arguments == ("20220405.000000", "20220406.000000")
    vap.send(tick, tick)
    vap.drain()
    assert len(vap.worker.tasks) == 1  # nothing has changed
    bench.arrive(KEY, b"two")
    vap.send(tick)
    vap.drain()
    assert len(vap.worker.tasks) == 2
    assert {r.run.config for r in vap.records()} == {"lidar/humboldt", "wind/humboldt"}
    vap.agrees()


def test_a_window_that_fails_in_passing_is_an_item_of_its_own(
    bench: Bench, vap: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_visible(vap, monkeypatch)
    bench.arrive(KEY, b"one")
    vap.worker.behaviour = raises(StorageError("the network is gone"), 1)
    vap.send(TICKS[0])
    vap.drain()
    assert len(vap.worker.tasks) == 2
    assert {r.state for r in vap.records()} == {"succeeded"}


def test_a_scheduled_ingest_takes_all_files_together(
    clients: Clients, new: New, tmp_path: Path
) -> None:
    bench = Bench(clients, new, tmp_path, replace(INGEST, trigger="Cron", schedule="0 2 * * *"))
    tick = {"tidegate": {"schedule": INGEST.id, "time": "2022-04-06T02:00:00Z"}}
    for n in range(7):
        bench.put(f"lidar/humboldt/{n}.dat")
    bench.put("lidar/humboldt/")
    bench.put("lidar/morro/other.dat")
    bench.send(tick)
    bench.drain()
    (record,) = bench.records()
    assert len(record.run.inputs) == 7
    bench.send(tick)
    bench.drain()
    assert len(bench.records()) == 1
    bench.put("lidar/humboldt/late.dat")
    bench.send(tick)
    bench.drain()
    assert [len(r.run.inputs) for r in bench.records()] == [1, 7]


def test_one_bad_file_does_not_hold_up_the_others_of_a_scheduled_ingest(
    clients: Clients, new: New, tmp_path: Path
) -> None:
    bench = Bench(clients, new, tmp_path, replace(INGEST, trigger="Cron", schedule="0 2 * * *"))
    for n in range(3):
        bench.put(f"lidar/humboldt/{n}.dat")
    is_bad = "lidar/humboldt/1.dat"
    bench.worker.behaviour = lambda task: (
        bad(task) if any(i.key == is_bad for i in task.run.inputs) else writes(task)
    )
    bench.send({"tidegate": {"schedule": INGEST.id, "time": "2022-04-06T02:00:00Z"}})
    bench.drain()
    (failed,) = bench.ledger.records(states=("failed",))
    assert [i.key for i in failed.run.inputs] == [is_bad]
    (good,) = bench.ledger.records(states=("succeeded",))
    assert [i.key[-5:] for i in good.run.inputs] == ["0.dat", "2.dat"]
    assert (bench.visible(), bench.hidden()) == (0, 0)


def test_a_file_waits_for_its_companion_and_a_group_is_run_together(
    clients: Clients, new: New, tmp_path: Path
) -> None:
    paired = replace(INGEST, companions={"*.dat": ("*.hdr",)}, group_by="folder", max_wait=10**9)
    bench = Bench(clients, new, tmp_path, paired)
    bench.send(bench.created(bench.put("lidar/humboldt/a.dat")))
    bench.poll()
    assert (bench.records(), bench.hidden()) == ([], 1)
    bench.put("lidar/humboldt/b.dat")
    bench.put("lidar/humboldt/b.hdr")
    bench.send(bench.created(bench.put("lidar/humboldt/a.hdr")))
    bench.drain()
    (record,) = bench.records()
    assert [i.key[-5:] for i in record.run.inputs] == ["a.dat", "b.dat"]
    assert [c.key[-5:] for c in record.run.companions] == ["a.hdr", "b.hdr"]


# The worker, and the environment.


def test_a_worn_worker_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker: FakeWorker = bench.worker
    bench.arrive(KEY)
    assert worker.launched == 1  # it had none
    worker.pid = os.getpid()
    monkeypatch.setattr("tidegate.runtime.process.resident_memory", lambda pid: 300.0)
    bench.arrive("lidar/humboldt/2")
    assert worker.launched == 1
    monkeypatch.setattr("tidegate.runtime.process.resident_memory", lambda pid: 1300.0)
    bench.arrive("lidar/humboldt/3")
    assert worker.launched == 2
    worker.pid = os.getpid()
    monkeypatch.setattr("tidegate.runtime.process.resident_memory", lambda pid: 300.0)
    monkeypatch.setattr("tidegate.runtime.process.RUNS_PER_WORKER", 4)
    bench.arrive("lidar/humboldt/4")
    assert worker.launched == 3


def test_a_worker_leaves_memory_to_the_function(clients: Clients, new: New, tmp_path: Path) -> None:
    bench = Bench(clients, new, tmp_path, memory=512)
    bench.arrive(KEY)
    assert 128 <= bench.worker.limits[0].memory < 512 - 64


def test_inputs_are_kept_whatever_the_recipe_says(
    clients: Clients, new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(clients, new, tmp_path, keep_inputs=False)
    assert "Tidegate deletes no data" in capsys.readouterr().out
    bench.arrive(KEY)
    bench.clients.s3.head_object(Bucket=bench.settings.input_bucket, Key=KEY)


def test_a_long_log_is_kept_whole_and_told_in_part(
    capsys: pytest.CaptureFixture[str], bench: Bench
) -> None:
    def chatty(task: Task) -> Outcome:
        with (Path(task.work) / "log.jsonl").open("a") as file:
            file.writelines(f'{{"action": "print", "message": "{n}"}}\n' for n in range(2000))
        return writes(task)

    bench.worker.behaviour = chatty
    (record,) = bench.arrive(KEY)
    assert 500 <= sum(line.get("action") == "print" for line in told(capsys)) <= 501
    key = record.log.partition(f"{bench.settings.output_bucket}/")[2]
    body = bench.clients.s3.get_object(Bucket=bench.settings.output_bucket, Key=key)["Body"]
    assert len(body.read().splitlines()) == 2000


def test_a_log_that_cannot_be_kept_is_a_warning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(key: str, path: Path) -> str:
        raise StorageError("cannot write the log")

    monkeypatch.setattr(bench.function._outputs, "put_text", denied)
    (record,) = bench.arrive(KEY)
    assert record.state == "succeeded"
    assert "cannot write the log" in record.warnings[0]


def test_publishing_that_breaks_off_is_put_right(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the data and before the plot: the next attempt leaves all as it should be."""
    now_visible(bench, monkeypatch)
    publish = bench.function._outputs.publish

    def breaks(products: Any) -> None:
        monkeypatch.setattr(bench.function._outputs, "publish", publish)
        publish(products[:1])
        raise StorageError("the network is gone")

    monkeypatch.setattr(bench.function._outputs, "publish", breaks)
    (record,) = bench.arrive(KEY)
    assert (record.state, record.attempt) == ("succeeded", 2)
    bench.agrees()
