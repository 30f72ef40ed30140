"""What AWS and the command line send, as the runtime's events. Pure: nothing is asked of AWS.

EventBridge "Object Created"        {"source": "aws.s3", "detail": {"object": {"key", …}}}
S3's own notification               {"Records": [{"eventSource": "aws:s3", …}]}
EventBridge "Scheduled Event"       {"source": "aws.events", "time": …}
EventBridge Scheduler               {"tidegate": {"schedule": "lidar_vap/humboldt", "time": …}}
a request, or one of many runs      {"tidegate": {"runs": […]}}
a run too long for a message        {"tidegate": {"kept": "queued/…"}}
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
"""Where the logs of runs lie in the output bucket."""


class Garbled(Exception):
    """A message that nobody here can have meant: it belongs into the dead-letter queue."""


@dataclass(frozen=True)
class Ignored:
    """Something happened that calls for nothing."""

    reason: str
    """Why not."""


@dataclass(frozen=True)
class Kept:
    """A run that was too long for a message, and lies in the ledger."""

    name: str
    """Under which name (``Ledger.state``)."""


@dataclass(frozen=True)
class Here:
    """What the function is there for: all else is not for it."""

    config: Config
    """Its config."""
    input_bucket: str
    """The bucket in which its raw files arrive."""
    output_bucket: str = ""
    """The bucket that its products go to."""


Told = FileArrived | ScheduleDue | Requested | Kept | Ignored


def read(body: str | Mapping[str, Any], sent: datetime, here: Here) -> list[Told]:
    """What a message says; ``sent`` stands in for a time that it does not give.

    A file of which S3 does not tell the ETag has "" for its version.

    Raises:
        Garbled: it is nothing that we know.
    """
    try:
        message = json.loads(body) if isinstance(body, str) else body
        if not isinstance(message, Mapping):
            raise TypeError(f"expected an object, got {type(message).__name__}")
        return list(_told(message, sent, here))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Garbled(f"the message cannot be understood: {error!r}") from error


def asked(runs: Sequence[Run], at: datetime) -> dict[str, Any]:
    """The message that asks for those runs."""
    return {"tidegate": {"runs": to_json(runs), "time": to_json(at)}}


def kept(name: str) -> dict[str, Any]:
    """The message that asks for a run that lies in the ledger."""
    return {"tidegate": {"kept": name}}


def scheduled(config: str, time: str = "<aws.scheduler.scheduled-time>") -> dict[str, Any]:
    """What EventBridge Scheduler is to send; it puts the time in."""
    return {"tidegate": {"schedule": config, "time": time}}


def _told(message: Mapping[str, Any], sent: datetime, here: Here) -> Iterator[Told]:
    if "tidegate" in message:
        yield _own(message["tidegate"], sent, here)
    elif "Records" in message:
        for record in message["Records"]:
            yield _notified(record, sent, here)
    elif message.get("Event") == "s3:TestEvent":
        yield Ignored("S3 tries out a notification")
    elif message.get("source") == "aws.s3":
        yield _bridged(message, sent, here)
    elif message.get("detail-type") == "Scheduled Event":
        yield ScheduleDue(here.config.id, _time(message.get("time"), sent))
    else:
        raise Garbled(f"nobody knows what to do with a message of {sorted(message)[:8]}")


def _own(told: Mapping[str, Any], sent: datetime, here: Here) -> Told:
    at = _time(told.get("time"), sent)
    if "kept" in told:
        return Kept(str(told["kept"]))
    if "schedule" in told:
        _check_config(told["schedule"], here)
        return ScheduleDue(here.config.id, at)
    runs = tuple(from_json(Run, run) for run in told["runs"])
    for run in runs:
        _check_config(run.config, here)
    return Requested(runs, at)


def _check_config(id: object, here: Here) -> None:
    if id != here.config.id:
        raise Garbled(f"this is for {id}, and has come to {here.config.id}")


def _bridged(message: Mapping[str, Any], sent: datetime, here: Here) -> Told:
    """EventBridge gives keys as they are: to decode them would spoil ``+`` and ``%``."""
    if message.get("detail-type") != "Object Created":
        return Ignored(f"{message.get('detail-type')} is no arrival")
    detail = message["detail"]
    found = detail["object"]
    input = Input(found["key"], str(found.get("etag", "")).strip('"'), int(found.get("size", 0)))
    return _arrived(input, detail["bucket"]["name"], _time(message.get("time"), sent), here)


def _notified(record: Mapping[str, Any], sent: datetime, here: Here) -> Told:
    """S3's own notifications have keys encoded as in a form."""
    if record.get("eventSource") != "aws:s3":
        raise Garbled(f"a record of {record.get('eventSource')}")
    name = str(record["eventName"])
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return Ignored(f"{name} is no arrival")
    found = record["s3"]["object"]
    key, size = unquote_plus(found["key"]), int(found.get("size", 0))
    input = Input(key, str(found.get("eTag", "")).strip('"'), size)
    at = _time(record.get("eventTime"), sent)
    return _arrived(input, record["s3"]["bucket"]["name"], at, here)


def _arrived(input: Input, bucket: str, at: datetime, here: Here) -> Told:
    """The arrival, unless it is not for us."""
    if not isinstance(input.key, str) or not input.key:
        raise Garbled("an object without a key")
    path = here.config.input_path
    if bucket != here.input_bucket:
        return Ignored(f"{input.key} lies in {bucket}, not in {here.input_bucket}")
    if input.key.endswith("/"):
        return Ignored(f"{input.key} is a folder")
    if path is None or not input.key.startswith(path):
        return Ignored(f"{input.key} is not under {path}")
    if bucket == here.output_bucket and input.key.startswith(_own_prefixes(here)):
        return Ignored(f"{input.key} is a product or a log")
    return FileArrived(input, at)


def _own_prefixes(here: Here) -> tuple[str, ...]:
    """Where products and logs lie: what we write ourselves must not set off runs."""
    root = here.config.tsdat.storage_root if here.config.tsdat else ""
    return (LOGS, root.rstrip("/") + "/") if root else (LOGS,)


def _time(given: object, sent: datetime) -> datetime:
    """A time of AWS's; ``sent`` where it gives none, or has left its placeholder in."""
    if not isinstance(given, str) or not given or given.startswith("<"):
        return sent
    return utc(datetime.fromisoformat(_fraction(given)))


def _fraction(text: str) -> str:
    """Python 3.10 reads neither ``Z`` nor a fraction of other than three or six digits."""
    text = text.replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}" if dot else text
