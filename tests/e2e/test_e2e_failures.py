"""What goes wrong: recorded, retried or not, given up, told of; and brought home once mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cloud import Cloud, eventually
from e2e_repository import csv


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    """What pipelines fail for the lack of."""
    return tmp_path / "mended"


@pytest.fixture
def inbox(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[str]:
    """A queue that gets what the alerts topic is told, as a person's mailbox would."""
    name = f"inbox-{request.node.name}"[:80].replace("[", "-").replace("]", "")
    arn = cloud.plan.place.arn("sqs", name)
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": cloud.plan.topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    queue = cloud.sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    sns = cloud.clients.client("sns")
    subscribed = sns.subscribe(
        TopicArn=cloud.plan.topic_arn, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
    )
    yield queue
    sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    cloud.sqs.delete_queue(QueueUrl=queue)


def told(cloud: Cloud, inbox: str, about: str) -> str:
    """The message about a file that a person gets after the next sweep."""
    cloud.sweep()
    messages: list[str] = []

    def look() -> str:
        answer = cloud.sqs.receive_message(QueueUrl=inbox, MaxNumberOfMessages=10)
        messages.extend(message["Body"] for message in answer.get("Messages", []))
        return next((text for text in messages if about in text), "")

    return eventually(look, lambda: messages)


def test_a_pipeline_that_rejects_its_input(cloud: Cloud, mended: Path, inbox: str) -> None:
    key = "tiny/fails/rejected.csv"
    cloud.put(key, csv("2022-04-01T00:00:00", ask=f"reject unless {mended}"))
    record = cloud.ended("tiny/fails", key)
    cloud.rest("tiny/fails")
    assert record.failure is not None
    assert (record.state, record.attempt) == ("failed", 1)
    assert record.failure.kind == "bad-input"
    assert "no wind in these" in record.failure.message
    assert record.failure.where.startswith("pipelines/tiny/readers.py:")
    assert record.products == ()
    assert cloud.dead("tiny/fails") == []
    assert "no wind" in cloud.log(record)
    shown = json.loads(cloud.tidegate("show", record.key[:12], "--json"))
    assert any(package.startswith("boto3==") for package in shown["packages"])
    assert "sent to 1 subscriber" in cloud.tidegate("notify", "test")
    text = told(cloud, inbox, "rejected.csv failed")
    assert "no wind in these" in text
    assert "tidegate runs --failed --target aws" in text
    assert Path(key).name in cloud.tidegate("runs", "--failed")
    mended.touch()
    cloud.tidegate("retry", record.key[:12])
    record = cloud.ended("tiny/fails", key, attempt=2)
    assert (record.state, len(record.products)) == ("succeeded", 2)


@pytest.mark.parametrize(("how", "swept"), [("offline", True), ("die", False)])
def test_a_failure_that_may_pass(
    cloud: Cloud, mended: Path, inbox: str, how: str, swept: bool
) -> None:
    """Tried again as often as the config says, then given up; a sweep removes the dead letter."""
    key = f"tiny/fails/{how}.csv"
    input = cloud.put(key, csv(f"2022-04-{10 + len(how)}T00:00:00", ask=f"{how} unless {mended}"))
    eventually(lambda: cloud.count(cloud.queue("tiny/fails", dead=True)))
    record = cloud.ended("tiny/fails", key)
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("failed", "transient")
    assert (record.attempt, record.tries) == (2, 2)
    assert "retry" not in record.failure.next
    [body] = cloud.dead("tiny/fails")
    assert json.loads(body)["detail"]["object"]["key"] == input.key
    if swept:
        assert record.failure.message in told(cloud, inbox, f"{how}.csv failed")
        eventually(lambda: not cloud.count(cloud.queue("tiny/fails", dead=True)))
        again = cloud.ended("tiny/fails", key)
        assert (again.attempt, again.failure) == (record.attempt, record.failure)
    mended.touch()
    done = cloud.tidegate("retry", "--failed", codes=(0, 1))
    assert ("back to their queues" in done) is not swept
    record = cloud.ended("tiny/fails", key, attempt=3)
    assert (record.state, record.tries) == ("succeeded", 1)
    cloud.rest("tiny/fails")
    assert cloud.dead("tiny/fails") == []  # and so the alarm ends
    [record] = [r for r in cloud.records("tiny/fails") if r.run.inputs == (input,)]
    assert record.attempt == 3


def test_a_function_that_runs_out_of_time(cloud: Cloud, mended: Path, inbox: str) -> None:
    """Its time is shorter than what the run may take: it stops the run, and says so."""
    functions, name = cloud.clients.client("lambda"), cloud.function("tiny/slow")
    whole = functions.get_function_configuration(FunctionName=name)["Timeout"]
    # Several times as long as a busy machine takes to import Tsdat: only the hang is too long.
    functions.update_function_configuration(FunctionName=name, Timeout=45)
    key = "tiny/slow/hangs.csv"
    cloud.put(key, csv(ask=f"hang unless {mended}"))
    record = cloud.ended("tiny/slow", key)
    cloud.rest("tiny/slow")
    assert record.failure is not None
    assert (record.state, record.failure.kind, record.attempt) == ("failed", "timeout", 1)
    assert "when the function's time was over" in record.failure.message
    assert cloud.dead("tiny/slow") == []
    told(cloud, inbox, "hangs.csv failed")
    functions.update_function_configuration(FunctionName=name, Timeout=whole)
    mended.touch()
    cloud.tidegate("retry", "--failed", codes=(0, 1))
    assert cloud.ended("tiny/slow", key, attempt=2).state == "succeeded"


def test_a_handler_that_raises(cloud: Cloud, inbox: str) -> None:
    """Nothing can be recorded: the message ends in the dead letters, and the sweep records it."""
    functions, name = cloud.clients.client("lambda"), cloud.function("tiny/broken")
    whole = functions.get_function_configuration(FunctionName=name)["Environment"]
    broken = {n: v for n, v in whole["Variables"].items() if n != "TIDEGATE_TABLE"}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": broken})
    queue = cloud.queue("tiny/broken")
    hidden = cloud.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])
    cloud.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    key = "tiny/broken/a.csv"
    cloud.put(key, csv())
    eventually(lambda: cloud.count(cloud.queue("tiny/broken", dead=True)))
    assert cloud.record("tiny/broken", key) is None
    [body] = cloud.dead("tiny/broken")
    assert "tidegate retry" in told(cloud, inbox, "broken/a.csv failed")
    record = cloud.ended("tiny/broken", key)
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("failed", "transient")
    assert "tidegate retry" in record.failure.next
    cloud.sqs.set_queue_attributes(QueueUrl=queue, Attributes=hidden["Attributes"])
    functions.update_function_configuration(FunctionName=name, Environment=whole)
    cloud.tidegate("retry", "--failed", codes=(0, 1))
    assert cloud.ended("tiny/broken", key, attempt=2).state == "succeeded"
    assert cloud.dead("tiny/broken") == []
    cloud.send("tiny/broken", body)  # by hand, from the console: it does no harm now
    cloud.rest("tiny/broken")
    assert cloud.ended("tiny/broken", key).attempt == 2
