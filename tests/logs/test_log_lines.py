"""Lines of logs, as people read them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from tidegate.errors import UsageError
from tidegate.runtime.log_line import LogLine
from tidegate.workspace import logs

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
RUN = {
    "time": "2026-11-24T11:59:58.123+00:00",
    "level": "WARNING",
    "run": "3f9a00112233",
    "pipeline": "lidar",
    "config": "humboldt",
    "action": "warning",
    "message": "a\nb",
}


def line(text: object) -> LogLine:
    written = text if isinstance(text, str) else json.dumps(text)
    return LogLine(NOON, "lidar/humboldt", written)


def test_a_line_of_a_run() -> None:
    told = logs.readable_line(line(RUN))
    assert told is not None
    assert told.when == NOON - timedelta(seconds=1.877)
    assert (told.level, told.run, told.action) == ("WARNING", "3f9a001122", "warning")
    assert (told.config, told.message) == ("lidar/humboldt", "a\nb")


def test_an_exception_is_shown_with_its_traceback() -> None:
    told = logs.readable_line(line({**RUN, "exception": "Traceback\n  here"}))
    assert told is not None
    assert told.message == "a\nb\nTraceback\n  here"


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1 Version: $LATEST",
        "END RequestId: 1",
        "INIT_START Runtime Version: python:3.12",
        "  \n",
        {"_aws": {"CloudWatchMetrics": []}, "Runs": 1},
    ],
)
def test_what_is_for_machines_is_left_out(text: object) -> None:
    assert logs.readable_line(line(text)) is None


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("REPORT RequestId: 1  Duration: 5 ms", ""),
        ("2026-11-24 1 Task timed out after 900.00 seconds", "ERROR"),
        ("RequestId: 1 Error: Runtime exited with error: signal: killed", "ERROR"),
        ("{not json", ""),
        ("[1, 2]", ""),
    ],
)
def test_other_lines_are_shown_as_they_are(text: str, level: str) -> None:
    told = logs.readable_line(line(text))
    assert told is not None
    assert (told.message, told.level, told.when) == (text, level, NOON)


def test_tabs_are_blanks() -> None:
    told = logs.readable_line(line("REPORT RequestId: 1\tDuration: 5 ms\n"))
    assert told is not None
    assert told.message == "REPORT RequestId: 1  Duration: 5 ms"


def test_an_object_without_a_message_is_shown_whole() -> None:
    told = logs.readable_line(line({"success": False, "mapping_name": "x"}))
    assert told is not None
    assert json.loads(told.message) == {"success": False, "mapping_name": "x"}


def test_as_data() -> None:
    assert logs.line_data(line(RUN)) == {"config_id": "lidar/humboldt", **RUN}
    assert logs.line_data(line("REPORT\n")) == {
        "config_id": "lidar/humboldt",
        "time": "2026-11-24T12:00:00.000+00:00",
        "message": "REPORT",
    }


def test_whose_a_line_is() -> None:
    assert logs.belongs_to_run(line(RUN), "3f9a00112233" + "0" * 52)
    assert not logs.belongs_to_run(line(RUN), "3f9a00112234" + "0" * 52)
    assert not logs.belongs_to_run(line({**RUN, "run": ""}), "3f9a00112233" + "0" * 52)
    assert not logs.belongs_to_run(line("3f9a00112233"), "3f9a00112233" + "0" * 52)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOON - timedelta(minutes=30)),
        (" 2d", NOON - timedelta(days=2)),
        ("90s", NOON - timedelta(seconds=90)),
        ("1w", NOON - timedelta(weeks=1)),
        ("20261124.080000", NOON - timedelta(hours=4)),
        ("2026-11-24", NOON - timedelta(hours=12)),
    ],
)
def test_since(text: str, expected: datetime) -> None:
    assert logs.parse_since(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "h", "1y", "-1h", "1.5h", "soon"])
def test_since_never(text: str) -> None:
    with pytest.raises(UsageError, match="write how long ago"):
        logs.parse_since(text, NOON)
