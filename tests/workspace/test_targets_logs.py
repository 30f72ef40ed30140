"""``tidegate logs`` on the emulator: several functions' logs as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.aws]
KEY = "lidar/humboldt/a.sta"


def log(
    branch: Any, config: str, *lines: object, age: float = 60.0, now: float | None = None
) -> None:
    """Lines as a function writes them, a second from one to the next."""
    client, pipeline = branch.clients.client("logs"), config.split("/")[0]
    group = branch.names.log_group(pipeline, config.split("/")[1])
    stream = f"{time.time_ns()}"
    if not client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName=stream)
    begin = int(((now or time.time()) - age) * 1000)
    client.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[
            {"timestamp": begin + 1000 * n, "message": x if isinstance(x, str) else json.dumps(x)}
            for n, x in enumerate(lines)
        ],
    )


def said(message: str, **more: str) -> dict[str, str]:
    return {"level": "INFO", "action": "run", "message": message, **more}


def test_lines_of_several_configs_in_the_order_of_time(branch: Any) -> None:
    now = time.time()
    first = ("START RequestId: 1", said("first"), said("third"))
    log(branch, "lidar/humboldt", *first, age=50, now=now)
    log(branch, "wind/humboldt", said("zeroth", run="abcd01234567"), age=60, now=now)
    log(branch, "wind/humboldt", said("second", level="ERROR"), "REPORT x", age=47.5, now=now)
    done = branch.tidegate("logs")
    assert [row.split()[-1] for row in done.out.splitlines()] == [
        "zeroth", "first", "third", "second", "x"
    ]  # fmt: skip
    zeroth = done.out.splitlines()[0].split()
    assert zeroth[2:6] == ["INFO", "wind/humboldt", "abcd012345", "run"]
    one = branch.tidegate("logs", "wind/humboldt", "--json").out.splitlines()
    assert [json.loads(row)["message"] for row in one] == ["zeroth", "second", "REPORT x"]
    nothing = branch.tidegate("logs", "--since", "10s")
    assert nothing.out == ""
    assert "no log lines since" in nothing.err


def test_a_config_that_is_not_deployed(half: Any) -> None:
    log(half, "lidar/humboldt", said("here"))
    done = half.tidegate("logs")
    assert "here" in done.out
    assert "wind/humboldt is not deployed: there is no function example-main-lambda" in done.err


def test_a_branch_without_logs(half: Any) -> None:
    done = half.tidegate("logs", code=2)
    assert "wind/humboldt is not deployed" in done.err
    assert "lidar/humboldt is deployed, but its log group /aws/lambda/" in done.err
    assert "there are no logs of the branch main in us-west-2" in done.err
    assert "no config lidar/none" in half.tidegate("logs", "lidar/none", code=2).err


def test_the_log_of_a_run(branch: Any) -> None:
    branch.arrive(KEY)
    (record,) = branch.ledger.records()
    bucket, _, key = record.log.removeprefix("s3://").partition("/")
    text = json.dumps(said("from the bucket", run=record.key[:12]))
    branch.clients.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
    assert "from the bucket" in branch.tidegate("logs", "--run", record.key[:6]).out
    # Where it is not kept, CloudWatch may still have it: that run's lines alone.
    branch.clients.s3.delete_object(Bucket=bucket, Key=key)
    during = record.started.timestamp() + 0.001  # the run takes milliseconds
    log(branch, "lidar/humboldt", said("ours", run=record.key[:12]), age=0, now=during)
    log(branch, "lidar/humboldt", said("another's", run="0" * 12), age=0, now=during)
    out = branch.tidegate("logs", "--run", record.key[:6]).out
    assert "ours" in out
    assert "another's" not in out
    branch.clients.client("logs").delete_log_group(
        logGroupName=branch.names.log_group("lidar", "humboldt")
    )
    assert "was deleted" in branch.tidegate("logs", "--run", record.key[:6]).err


def test_following_until_ctrl_c(branch: Any) -> None:
    log(branch, "lidar/humboldt", said("before"), age=5)
    process = subprocess.Popen(
        [sys.executable, "-m", "tidegate", "logs", "--follow", "--target", "aws"],
        cwd=branch.folder, env=dict(os.environ), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "before" in process.stdout.readline()
        log(branch, "wind/humboldt", said("not followed: it had no group"), age=0)
        log(branch, "lidar/humboldt", said("late"), age=20)
        log(branch, "lidar/humboldt", said("now"), age=0)
        assert {process.stdout.readline().split()[-1] for _ in range(2)} == {"late", "now"}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
