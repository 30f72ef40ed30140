"""What is sent to the function, told as events; and the function's environment. Nothing is asked
of AWS."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aws_bench import INGEST, NOON, VAP
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.errors import ConfigurationError
from tidegate.runtime.events import FileArrived, Requested, ScheduleDue
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Input, Run, Window
from tidegate.targets.aws.messages import (
    FunctionScope,
    Ignored,
    StoredRun,
    UnreadableMessage,
    read,
    request,
    scheduled,
    stored,
)
from tidegate.targets.aws.settings import Settings

HERE = FunctionScope(INGEST, "raw", "products")
SENT = NOON + timedelta(hours=1)


def created(key: str = "lidar/humboldt/a", **changes: Any) -> dict[str, Any]:
    found = {"key": key, "size": 3, "etag": "abc", **changes}
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2022-04-05T12:00:00Z",
        "detail": {"bucket": {"name": "raw"}, "object": found},
    }


def test_a_file_that_arrives() -> None:
    (told,) = read(json.dumps(created("lidar/humboldt/a+b%20 é")), SENT, HERE)
    assert told == FileArrived(Input("lidar/humboldt/a+b%20 é", "abc", 3), NOON)


def test_notifications_of_s3_are_encoded_as_forms_are() -> None:
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:CompleteMultipartUpload",
        "eventTime": "2022-04-05T12:00:00.123Z",
        "s3": {
            "bucket": {"name": "raw"},
            "object": {"key": "lidar/humboldt/a%2Bb%2520+%C3%A9", "size": 3, "eTag": '"abc-2"'},
        },
    }
    told = read({"Records": [record, record]}, SENT, HERE)
    at = NOON + timedelta(milliseconds=123)
    assert told == [FileArrived(Input("lidar/humboldt/a+b%20 é", "abc-2", 3), at)] * 2


@pytest.mark.parametrize("fraction", ["", ".1", ".12", ".123", ".1234", ".123456", ".123456789"])
@pytest.mark.parametrize("zone", ["Z", "+00:00"])
def test_times_as_aws_writes_them(fraction: str, zone: str) -> None:
    event = created() | {"time": f"2022-04-05T12:00:00{fraction}{zone}"}
    (told,) = read(event, SENT, HERE)
    assert isinstance(told, FileArrived)
    assert timedelta(0) <= told.at - NOON < timedelta(seconds=1)


@pytest.mark.parametrize("time", [None, "", "<aws.scheduler.scheduled-time>", 7])
def test_a_time_that_is_not_given_is_when_it_was_sent(time: object) -> None:
    (told,) = read({"tidegate": {"schedule": INGEST.id, "time": time}}, SENT, HERE)
    assert told == ScheduleDue(INGEST.id, SENT)


def test_schedules_and_requests_make_the_round_trip() -> None:
    assert read(scheduled(INGEST.id), SENT, HERE) == [ScheduleDue(INGEST.id, SENT)]
    at = "2022-04-05T12:00:00Z"
    assert read(scheduled(INGEST.id, at), SENT, HERE) == [ScheduleDue(INGEST.id, NOON)]
    runs = (
        Run(INGEST.id, (Input("é +%", "1", 1),), again=True, arrived=NOON),
        Run(INGEST.id, window=Window(NOON, SENT)),
    )
    assert read(json.dumps(request(runs, NOON)), SENT, HERE) == [Requested(runs, NOON)]
    assert read(stored("queued/1"), SENT, HERE) == [StoredRun("queued/1")]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "3",
        "null",
        '"text"',
        "{}",
        '{"tidegate": null}',
        '{"tidegate": {}}',
        '{"tidegate": {"runs": 3}}',
        '{"tidegate": {"runs": [{"config": "lidar/humboldt", "inputs": [1]}]}}',
        '{"tidegate": {"runs": [{"config": "lidar/morro"}]}}',
        '{"tidegate": {"schedule": "lidar/morro"}}',
        '{"tidegate": {"schedule": "lidar/humboldt", "time": "soon"}}',
        '{"Records": [{}]}',
        '{"Records": [{"eventSource": "aws:kinesis"}]}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
        '{"source": "aws.s3", "detail-type": "Object Created", "detail": {"object": {}}}',
        json.dumps(created(size="much")),
        json.dumps(created(key="")),
        json.dumps(created(key=7)),
        "[" * 100_000,
    ],
)
def test_what_nobody_can_have_meant_is_garbled(body: str) -> None:
    with pytest.raises(UnreadableMessage):
        read(body, SENT, HERE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["tidegate", "Records", "source", "detail", "object", "runs", "s3"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(message=json_values)
@example(message={"source": "aws.s3", "detail-type": "Object Created", "detail": []})
def test_a_message_is_understood_or_garbled(message: Any) -> None:
    for body in (json.dumps(message), message):
        try:
            told = read(body, SENT, HERE)
        except UnreadableMessage:
            continue
        assert all(isinstance(one, (Ignored, Requested, ScheduleDue, StoredRun)) for one in told)


def environment(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "manifest.json"
    path.write_text(dumps(Manifest((INGEST, VAP), {"lidar": "1", "wind": "2"})))
    return {
        "PIPELINE_NAME": "wind",
        "CONFIG_ID": "humboldt",
        "CODE_VERSION": "2",
        "TSDAT_S3_BUCKET_NAME": "products",
        "TIDEGATE_MANIFEST": str(path),
        "TIDEGATE_TABLE": "table",
    }


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    given = environment(tmp_path)
    settings = Settings.read(given)
    assert settings.config == VAP
    assert settings.manifest.release(VAP) == "2"
    assert (settings.input_bucket, settings.queue, settings.keep_runs) == ("", "", None)
    assert settings.repository == Path("/var/task")
    more = {
        "TIDEGATE_MANIFEST": Path(given["TIDEGATE_MANIFEST"]).read_text(),
        "TIDEGATE_KEEP_RUNS": "90",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "RETAIN_INPUT_FILES": "False",
        "LOG_LEVEL": "debug",
        "LAMBDA_TASK_ROOT": "/task",
    }
    read_again = Settings.read({**given, **more})
    assert read_again == replace(
        settings,
        keep_runs=timedelta(days=90),
        memory=1769,
        keep_inputs=False,
        log_level="DEBUG",
        repository=Path("/task"),
    )


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    given = environment(tmp_path)
    with pytest.raises(ConfigurationError, match="lacks TSDAT_S3_BUCKET_NAME, TIDEGATE_TABLE"):
        Settings.read({**given, "TIDEGATE_TABLE": "", "TSDAT_S3_BUCKET_NAME": ""})
    with pytest.raises(ConfigurationError, match="no config wind/morro"):
        Settings.read({**given, "CONFIG_ID": "morro"})
    for manifest in ("{", "/no/such/file", '{"configs": 1}'):
        with pytest.raises(ConfigurationError, match="TIDEGATE_MANIFEST cannot be used"):
            Settings.read({**given, "TIDEGATE_MANIFEST": manifest})


def test_moments_have_a_zone() -> None:
    (told,) = read(created() | {"time": "2022-04-05T12:00:00"}, SENT, HERE)
    assert isinstance(told, FileArrived)
    assert told.at == datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
