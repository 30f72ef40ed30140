"""The sweep and the backlog on MiniStack: what waits in the ledger is found, run and reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aws_bench import INGEST, Bench, raises, writes

from tidegate.errors import WorkerLost
from tidegate.runtime.notices.digest import Message
from tidegate.runtime.open_failures import open_failures
from tidegate.runtime.runs import Failure, Run
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws import backlog_work, messages, requests, sweep_handler
from tidegate.targets.aws.backlog_work import BacklogWork, Search
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.s3 import S3Inputs
from tidegate.targets.aws.sweep import Sweep, SweepFailed, sweep_log
from tidegate.targets.aws.sweep_messages import SweepMessages
from tidegate.targets.aws.swept_config import SweptConfig, sweep_event

NOW = datetime.now(timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
New = dict[str, Callable[[], str]]


class Sweeping:
    """A bench whose config is swept at the times that a test sets."""

    def __init__(self, bench: Bench, dead_letters: str) -> None:
        self.bench = bench
        self.now = NOW
        self.dead_letters = dead_letters
        self.sent: list[Message] = []
        log = sweep_log("INFO")
        messages = SweepMessages(
            bench.ledger, self.sent.append, log, name="sweep", place="branch", link=""
        )
        self._sweep = Sweep(
            bench.ledger,  # type: ignore[arg-type]
            bench.clients,
            messages,
            input_bucket=bench.settings.input_bucket,
            output_bucket=bench.settings.output_bucket,
            log=log,
            now=lambda: self.now,
        )

    def at(self, now: datetime, undelivered: str = "") -> None:
        self.now = now
        names = [url.rsplit("/", 1)[-1] for url in (self.bench.settings.queue, self.dead_letters)]
        self._sweep.sweep([SweptConfig(self.bench.config, *names, 400)], undelivered)


@pytest.fixture
def sweeping(bench: Bench, new: New) -> Sweeping:
    return Sweeping(bench, new["queue"]())


def request(bench: Bench, *keys: str) -> list[Run]:
    found = [bench.put(key, key.encode()) for key in keys]
    return [Run(INGEST.id, (input,), again=True, arrived=NOW) for input in found]


def test_files_that_never_became_runs_are_found(bench: Bench, sweeping: Sweeping) -> None:
    keys = [f"lidar/humboldt/{n}.sta" for n in range(3)]
    sweeping.at(NOW - 2 * HOUR)  # the first sweep: what is there was there before
    for key in (*keys, "lidar/humboldt/part.tmp", "elsewhere/a.sta"):
        bench.put(key, key.encode())
    sweeping.at(NOW)
    assert bench.visible() == 0
    sweeping.at(NOW + DAY)
    assert bench.visible() == backlog_work.workers(INGEST) == 5
    bench.drain()
    assert {r.run.inputs[0].key: r.state for r in bench.records()} == dict.fromkeys(
        keys, "succeeded"
    )
    assert bench.ledger.backlog.is_empty(INGEST.id)  # type: ignore[attr-defined]
    sweeping.at(NOW + 2 * DAY + HOUR)
    bench.drain()
    assert len(bench.worker.tasks) == 3


def test_many_requests_wait_in_the_ledger(
    bench: Bench, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message says so; a run that is to be tried again becomes a message of its own."""
    monkeypatch.setattr(requests, "MOST_MESSAGES", 3)
    monkeypatch.setattr(backlog_work, "PART", 2)
    bench.worker.behaviour = raises(WorkerLost("gone"), times=1)
    runs = request(bench, *(f"lidar/humboldt/{n}" for n in range(5)))
    requests.send(runs, bench.settings.queue, bench.ledger, clients)  # type: ignore[arg-type]
    assert bench.visible() == 1
    bench.drain()
    assert sorted(r.state for r in bench.records()) == ["retrying", *["succeeded"] * 4]
    assert requests.count_messages(bench.settings.queue, clients) == (0, 1)  # tried again later
    assert bench.ledger.backlog.is_empty(INGEST.id)  # type: ignore[attr-defined]


def test_work_is_divided_and_continued(bench: Bench) -> None:
    """No two functions do the same; what one leaves when its time is over, the next does."""
    backlog = bench.ledger.backlog  # type: ignore[attr-defined]
    bodies = [messages.request([run], NOW) for run in request(bench, *"abc")]
    backlog.add(INGEST.id, backlog_work.parts_of(bodies))
    inputs = S3Inputs(bench.settings.input_bucket, bench.clients)
    work = BacklogWork(INGEST, inputs, bench.ledger)  # type: ignore[arg-type]
    done: list[Any] = []
    has_time = iter([True, True, False, False])

    def carry_out(body: Any) -> None:
        done.append(body)
        assert backlog.take(INGEST.id, NOW, NOW + HOUR) is None
        assert not backlog.has_free(INGEST.id, NOW)
        assert backlog.has_free(INGEST.id, NOW + 2 * HOUR)  # if this function had died

    work.work(carry_out, lambda: next(has_time), lambda: NOW, 60)
    assert done == bodies[:2]
    work.work(carry_out, lambda: True, lambda: NOW, 60)
    assert done == bodies


def test_a_search_on_request(
    bench: Bench, sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reprocess --only missing`: failed runs, too; a part of the bucket at a time."""

    def behaviour(task: Task) -> Outcome:
        good = task.run.again or "bad" not in task.run.inputs[0].key
        return writes(task) if good else Outcome(failure=Failure("bad-input", "no time"))

    bench.worker.behaviour = behaviour
    bench.arrive("lidar/humboldt/a.good")
    bench.arrive("lidar/humboldt/b.bad")
    bench.put("lidar/humboldt/c.20220405.new", b"3")
    bench.put("lidar/humboldt/d.20220407.new", b"4")
    pages = iter([1, 1, 1, 1])
    real = bench.clients.s3.list_objects_v2
    monkeypatch.setattr(
        bench.clients.s3, "list_objects_v2", lambda **given: real(**given, MaxKeys=next(pages))
    )
    found = Search(again=True, asked=NOW)
    bench.ledger.backlog.add(INGEST.id, [backlog_work.search_entry(found)])  # type: ignore[attr-defined]
    begin, end = (
        datetime(2022, 4, 7, tzinfo=timezone.utc),
        datetime(2022, 4, 8, tzinfo=timezone.utc),
    )
    bench.send(messages.work_waits(INGEST.id))
    bench.poll()
    tried = {record.run.inputs[0].key[15:]: record.attempt for record in bench.records()}
    assert tried == {"a.good": 1, "b.bad": 2, "c.20220405.new": 1, "d.20220407.new": 1}
    monkeypatch.undo()
    bench.put("lidar/humboldt/e.20220407.new", b"5")
    bench.put("lidar/humboldt/f.20220408.new", b"6")
    dated = replace(found, begin=begin, end=end)
    bench.ledger.backlog.add(INGEST.id, [backlog_work.search_entry(dated)])  # type: ignore[attr-defined]
    sweeping.at(NOW)
    bench.drain()
    assert {record.run.inputs[0].key[15] for record in bench.records()} == set("abcde")


def test_dead_letters_become_failures(bench: Bench, sweeping: Sweeping) -> None:
    """Those that name no run stay where they are; a file with a later run needs nothing."""
    bench.worker.behaviour = raises(WorkerLost("the worker died"), times=1)
    (tried,) = bench.arrive("lidar/humboldt/tried.sta", b"1")
    assert tried.state == "retrying"
    never = bench.put("lidar/humboldt/never.sta", b"2")
    old = bench.put("lidar/humboldt/replaced.sta", b"old")
    bench.arrive("lidar/humboldt/replaced.sta", b"new")
    for body in (
        bench.created(never),
        messages.request([tried.run], NOW),
        bench.created(old, at=NOW - DAY),
        messages.scheduled(INGEST.id, "2022-04-05T12:00:00Z"),
        "unreadable",
    ):
        text = body if isinstance(body, str) else json.dumps(body)
        bench.clients.sqs.send_message(QueueUrl=sweeping.dead_letters, MessageBody=text)
    sweeping.at(NOW)
    [message] = sweeping.sent
    assert "3 failed runs" in message.title
    for words in ("tried.sta failed", "never.sta failed", "2 messages could not be handled"):
        assert words in message.body
    failures = {r.run.inputs[0].key[15:]: r for r in open_failures(bench.ledger)}
    assert set(failures) == {"tried.sta", "never.sta"}
    assert failures["tried.sta"].failure is not None
    assert "the worker died" in failures["tried.sta"].failure.message
    assert requests.count_messages(sweeping.dead_letters, bench.clients) == (0, 2)
    later = [replace(r.run, again=True, arrived=NOW + HOUR) for r in failures.values()]
    requests.send(later, bench.settings.queue, bench.ledger, bench.clients)  # type: ignore[arg-type]
    bench.drain()
    assert list(open_failures(bench.ledger)) == []


def test_a_config_without_runs_is_reported(clients: Clients, new: New, tmp_path: Path) -> None:
    """Once; and that it is over."""
    config = replace(INGEST, expect_every=30 * 86_400)
    bench = Bench(clients, new, tmp_path, config)
    sweeping = Sweeping(bench, new["queue"]())
    sweeping.at(NOW - 40 * DAY)
    sweeping.at(NOW - 11 * DAY)
    assert sweeping.sent == []
    sweeping.at(NOW - 9 * DAY)
    sweeping.at(NOW - 8 * DAY)
    assert ["1 stale config" in message.title for message in sweeping.sent] == [True]
    bench.send(bench.created(bench.put("lidar/humboldt/a", b"1"), at=NOW))
    bench.drain()
    sweeping.at(NOW + 29 * DAY)
    assert "1 recovery" in sweeping.sent[1].title


def test_events_that_did_not_reach_the_event_bus(
    bench: Bench, sweeping: Sweeping, new: New
) -> None:
    """EventBridge puts them into a queue of the stack; each goes to the configs that wait for it,
    and those that are about no file are left."""
    queue, bucket = new["queue"](), bench.settings.input_bucket
    name = queue.rsplit("/", 1)[-1]
    for key in ("lidar/humboldt/a.sta", "lidar/humboldt/b.sta", "elsewhere/c.sta"):
        body = messages.arrived(bucket, bench.put(key, key.encode()))
        bench.clients.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))
    sweeping.at(NOW, name)
    assert "3 events about new files did not reach" in sweeping.sent[0].body
    assert requests.count_messages(queue, bench.clients) == (0, 0)
    assert bench.visible() == 2
    bench.drain()
    assert {r.run.inputs[0].key for r in bench.records()} == {
        "lidar/humboldt/a.sta",
        "lidar/humboldt/b.sta",
    }
    bench.clients.sqs.send_message(QueueUrl=queue, MessageBody="no event")
    sweeping.at(NOW, name)
    assert len(sweeping.sent) == 1, "there is one message about it"
    assert requests.count_messages(queue, bench.clients) == (0, 1)  # hidden for a while
    with pytest.raises(SweepFailed):
        sweeping.at(NOW, "no-such-queue")


def test_one_config_that_cannot_be_swept_stops_no_other(
    bench: Bench, sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule sends the configs of a stack; the function fails after all were looked at."""
    backlog = bench.ledger.backlog  # type: ignore[attr-defined]
    backlog.add(INGEST.id, backlog_work.parts_of([{}]))
    queue, dead = (url.rsplit("/", 1)[-1] for url in (bench.settings.queue, sweeping.dead_letters))
    broken = SweptConfig(replace(INGEST, name="other"), "no-such-queue", dead, 400)
    event = sweep_event([broken, SweptConfig(INGEST, queue, dead, 400)])
    monkeypatch.setattr(sweep_handler, "_sweeps", [sweeping._sweep])
    with pytest.raises(SweepFailed):
        sweep_handler.handler(json.loads(json.dumps(event)), None)
    assert bench.visible() == backlog_work.workers(INGEST)
