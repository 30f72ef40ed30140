"""The logs of functions in CloudWatch: several log groups as one, ordered by time."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

from tidegate.runtime.log_line import LogLine
from tidegate.targets.aws.clients import Clients, explained

_AT_ONCE = 8
_LATE = timedelta(seconds=30)
"""CloudWatch may show a line so long after its time."""
_PAUSE, _PAUSE_OF_ONE = 2.0, 0.25
"""Seconds between two reads, and more for each group: CloudWatch allows five requests a second."""

Page = tuple[list[LogLine], str]


def missing(clients: Clients, groups: Mapping[str, str]) -> set[str]:
    """The log groups of these that do not exist."""
    client = clients.client("logs")

    def is_missing(name: str) -> bool:
        with explained("look for the log group", name):
            found = client.describe_log_groups(logGroupNamePrefix=name, limit=50)["logGroups"]
        return all(group["logGroupName"] != name for group in found)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {name for name, gone in zip(groups, pool.map(is_missing, groups)) if gone}


def read(
    clients: Clients,
    groups: Mapping[str, str],
    begin: datetime,
    *,
    end: datetime | None = None,
    term: str = "",
) -> Iterator[LogLine]:
    """The lines of log groups from ``begin`` on, merged by time; of one group, in its order.

    ``groups`` gives the config of each group; ``term`` is text that a line must contain.

    Raises:
        StorageError: a group is missing, or cannot be read.
    """
    client = clients.client("logs")
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        asked: dict[str, Any] = {"startTime": _millis(begin)}
        if end is not None:
            asked["endTime"] = _millis(end)
        if term:
            asked["filterPattern"] = f'"{term}"'

        def fetch(group: str, token: str) -> Page:
            more = {"nextToken": token} if token else {}
            with explained("read the log group", group):
                answer = client.filter_log_events(logGroupName=group, **asked, **more)
            lines = [_line(event, groups[group]) for event in answer.get("events", ())]
            return lines, str(answer.get("nextToken", ""))

        # All first pages are requested before the first is read.
        first = {group: pool.submit(fetch, group, "") for group in groups}
        lists = [_lines(pool, fetch, group, page) for group, page in first.items()]
        yield from heapq.merge(*lists, key=lambda line: line.when)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _lines(
    pool: ThreadPoolExecutor, fetch: Any, group: str, page: Future[Page]
) -> Iterator[LogLine]:
    while True:
        lines, token = page.result()
        if token:  # request the next page while this one is read
            page = pool.submit(fetch, group, token)
        yield from lines
        if not token:
            return


def follow(
    clients: Clients,
    groups: Mapping[str, str],
    begin: datetime,
    *,
    term: str = "",
    stopped: threading.Event | None = None,
) -> Iterator[LogLine]:
    """As ``read``, then new lines until ``stopped``; each line once."""
    stop = stopped or threading.Event()
    pause = max(_PAUSE, _PAUSE_OF_ONE * len(groups))
    seen: dict[str, datetime] = {}
    while not stop.is_set():
        latest = begin
        for line in read(clients, groups, begin, term=term):
            latest = max(latest, line.when)
            if line.id not in seen:
                seen[line.id] = line.when
                yield line
        # Lines of the same time may become visible later.
        begin = max(begin, latest - _LATE)
        seen = {id: when for id, when in seen.items() if when >= begin}
        stop.wait(pause)


def _line(event: Mapping[str, Any], config: str) -> LogLine:
    when = datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc)
    text = str(event["message"]).rstrip("\n")
    id = event.get("eventId") or f"{event.get('logStreamName')} {event['timestamp']} {text}"
    return LogLine(when, config, text, str(id))


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
