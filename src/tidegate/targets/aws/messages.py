"""Messages from AWS and from the command line, as the runtime's events. Pure: does not call AWS.

EventBridge "Object Created"        {"source": "aws.s3", "detail": {"object": {"key", …}}}
S3's own notification               {"Records": [{"eventSource": "aws:s3", …}]}
EventBridge "Scheduled Event"       {"source": "aws.events", "time": …}
EventBridge Scheduler               {"tidegate": {"schedule": "lidar_vap/humboldt", "time": …}}
a request, or one of many runs      {"tidegate": {"runs": […]}}
a run that is too long for one      {"tidegate": {"kept": "queued/…"}}
work that waits in the ledger       {"tidegate": {"backlog": "lidar/humboldt"}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from tidegate.runtime.events import FileArrived, Requested, ScheduleDue
from tidegate.runtime.manifest import Config
from tidegate.runtime.records import from_json, to_json, utc
from tidegate.runtime.runs import Input, Run

LOGS = "tidegate/logs/"
"""What the keys of runs' logs in the output bucket begin with."""
SUCCEEDED = f"{LOGS}succeeded/"
"""The same for successful runs: these logs are deleted after some time."""


class UnreadableMessage(Exception):
    """A message that is not meant for this function: it belongs in the dead-letter queue."""


@dataclass(frozen=True)
class Ignored:
    """A message that needs no run."""

    reason: str
    """Why not."""


@dataclass(frozen=True)
class StoredRun:
    """A run that was too long for a message, and was stored in the ledger."""

    name: str
    """The name in the ledger (``Ledger.state``)."""


@dataclass(frozen=True)
class WorkWaits:
    """There is work in the ledger's backlog of the config."""


@dataclass(frozen=True)
class FunctionScope:
    """What the function is for."""

    config: Config
    """Its config."""
    input_bucket: str
    """The bucket in which its raw files arrive."""
    output_bucket: str = ""
    """The bucket that its products go to."""


Message = FileArrived | ScheduleDue | Requested | StoredRun | Ignored
"""What a message can say about runs."""
Content = Message | WorkWaits
"""What a message can say."""


def read(body: str | Mapping[str, Any], sent: datetime, scope: FunctionScope) -> list[Content]:
    """What a message says. ``sent`` is used if it does not give a time.

    If S3 does not give a file's ETag, its version is "".

    Raises:
        UnreadableMessage: it has no known form.
    """
    try:
        message = json.loads(body) if isinstance(body, str) else body
        if not isinstance(message, Mapping):
            raise TypeError(f"expected an object, got {type(message).__name__}")
        return list(_contents(message, sent, scope))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnreadableMessage(f"the message cannot be read: {error!r}") from error


def request(runs: Sequence[Run], at: datetime) -> dict[str, Any]:
    """The message that requests those runs."""
    return {"tidegate": {"runs": to_json(runs), "time": to_json(at)}}


def stored(name: str) -> dict[str, Any]:
    """The message that requests a run that is stored in the ledger."""
    return {"tidegate": {"kept": name}}


def work_waits(config: str) -> dict[str, Any]:
    """The message that has a function work off its config's backlog."""
    return {"tidegate": {"backlog": config}}


def arrived(bucket: str, file: Input) -> dict[str, Any]:
    """The message of EventBridge about a file, as far as it is read here."""
    detail = {
        "bucket": {"name": bucket},
        "object": {"key": file.key, "etag": file.version, "size": file.size},
    }
    message: dict[str, Any] = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": detail,
    }
    return message | ({"time": to_json(file.modified)} if file.modified else {})


def scheduled(config: str, time: str = "<aws.scheduler.scheduled-time>") -> dict[str, Any]:
    """The message that EventBridge Scheduler sends; it fills in the time."""
    return {"tidegate": {"schedule": config, "time": time}}


def _contents(
    message: Mapping[str, Any], sent: datetime, scope: FunctionScope
) -> Iterator[Content]:
    if "tidegate" in message:
        yield _own(message["tidegate"], sent, scope)
    elif "Records" in message:
        for record in message["Records"]:
            yield _from_notification(record, sent, scope)
    elif message.get("Event") == "s3:TestEvent":
        yield Ignored("a test notification from S3")
    elif message.get("source") == "aws.s3":
        yield _from_event_bridge(message, sent, scope)
    elif message.get("detail-type") == "Scheduled Event":
        yield ScheduleDue(scope.config.id, _time(message.get("time"), sent))
    else:
        raise UnreadableMessage(f"unknown kind of message, with the keys {sorted(message)[:8]}")


def _own(content: Mapping[str, Any], sent: datetime, scope: FunctionScope) -> Content:
    at = _time(content.get("time"), sent)
    if "kept" in content:
        return StoredRun(str(content["kept"]))
    if "backlog" in content:
        _check_config(content["backlog"], scope)
        return WorkWaits()
    if "schedule" in content:
        _check_config(content["schedule"], scope)
        return ScheduleDue(scope.config.id, at)
    runs = tuple(from_json(Run, run) for run in content["runs"])
    for run in runs:
        _check_config(run.config, scope)
    return Requested(runs, at)


def _check_config(id: object, scope: FunctionScope) -> None:
    if id != scope.config.id:
        raise UnreadableMessage(f"the message is for {id}, but came to {scope.config.id}")


def _from_event_bridge(message: Mapping[str, Any], sent: datetime, scope: FunctionScope) -> Content:
    """EventBridge does not encode keys: decoding them would change ``+`` and ``%``."""
    if message.get("detail-type") != "Object Created":
        return Ignored(f"{message.get('detail-type')} does not create an object")
    detail = message["detail"]
    found = detail["object"]
    at = _time(message.get("time"), sent)
    version, size = str(found.get("etag", "")).strip('"'), int(found.get("size", 0))
    return _arrived(Input(found["key"], version, size, at), detail["bucket"]["name"], at, scope)


def _from_notification(record: Mapping[str, Any], sent: datetime, scope: FunctionScope) -> Content:
    """In S3's own notifications, keys are URL-encoded."""
    if record.get("eventSource") != "aws:s3":
        raise UnreadableMessage(f"a record from {record.get('eventSource')}")
    name = str(record["eventName"])
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return Ignored(f"{name} does not create an object")
    found = record["s3"]["object"]
    key, size = unquote_plus(found["key"]), int(found.get("size", 0))
    at = _time(record.get("eventTime"), sent)
    input = Input(key, str(found.get("eTag", "")).strip('"'), size, at)
    return _arrived(input, record["s3"]["bucket"]["name"], at, scope)


def _arrived(input: Input, bucket: str, at: datetime, scope: FunctionScope) -> Content:
    """The arrival, unless this function ignores it."""
    if not isinstance(input.key, str) or not input.key:
        raise UnreadableMessage("an object without a key")
    path = scope.config.input_path
    if bucket != scope.input_bucket:
        return Ignored(f"{input.key} is in {bucket}, not in {scope.input_bucket}")
    if input.key.endswith("/"):
        return Ignored(f"{input.key} is a folder")
    if path is None or not input.key.startswith(path):
        return Ignored(f"{input.key} is not under {path}")
    if bucket == scope.output_bucket and input.key.startswith(_own_prefixes(scope)):
        return Ignored(f"{input.key} is a product or a log")
    return FileArrived(input, at)


def _own_prefixes(scope: FunctionScope) -> tuple[str, ...]:
    """Where products and logs go: what Tidegate writes must not start runs."""
    root = scope.config.tsdat.storage_root if scope.config.tsdat else ""
    return (LOGS, root.rstrip("/") + "/") if root else (LOGS,)


def _time(given: object, sent: datetime) -> datetime:
    """A time in AWS's format; ``sent`` if there is none, or only the placeholder for it."""
    if not isinstance(given, str) or not given or given.startswith("<"):
        return sent
    return utc(datetime.fromisoformat(_fraction(given)))


def _fraction(text: str) -> str:
    """Python 3.10 reads neither ``Z`` nor a fraction of other than three or six digits."""
    text = text.replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}" if dot else text
