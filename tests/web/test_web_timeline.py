"""Runs along the time: bars and lanes, and the page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from web_dashboard import Web
from web_history import INGEST, NOW, VAP

from tidegate.runtime.runs import Input, Run, RunRecord
from tidegate.web.lanes import MOST_LANES, WIDTH, marks, rows_of

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)


def record(hours: float, took: float | None, config: str = INGEST, name: str = "a") -> RunRecord:
    """A run that starts some hours after midnight."""
    started = MIDNIGHT + timedelta(hours=hours)
    run = Run(config, inputs=(Input(f"{name}{hours}", "1", 1),))
    finished = None if took is None else started + timedelta(hours=took)
    return RunRecord(run, "running" if took is None else "succeeded", 1, started, finished=finished)


def test_bars_show_when_runs_went_on() -> None:
    records = [
        record(6, 6),
        record(-2, 1),  # ended before the day
        record(-2, 5, name="over midnight"),
        record(17, None),  # goes on
        record(23, 5),
        record(25, 1),
        record(1, 0.001, config="other/one"),
    ]
    first, second = rows_of(records, [VAP, INGEST], MIDNIGHT, MIDNIGHT + DAY, NOW)
    assert (first.config, second.config) == (INGEST, "other/one")
    spans = sorted((round(bar.begin), round(bar.begin + bar.width)) for bar in first.bars)
    assert spans == [(0, 125), (250, 500), (708, 750), (958, 1000)]
    assert dict(first.counts) == {"succeeded": 3, "running": 1}
    assert [bar.look for bar in first.bars] == ["good", "good", "good", "busy"]
    assert second.bars[0].width > 1  # can be seen


def test_runs_at_the_same_time_have_lanes_and_these_are_few() -> None:
    records = [record(n / 10, 2, name=str(n)) for n in range(4)]
    (row,) = rows_of(records, [INGEST], MIDNIGHT, MIDNIGHT + DAY, NOW)
    assert ([bar.lane for bar in row.bars], row.lanes) == ([0, 1, 2, 3], 4)
    many = [record(n / 100, 20, name=str(n)) for n in range(50)]
    (row,) = rows_of(many, [INGEST], MIDNIGHT, MIDNIGHT + DAY, NOW)
    assert (len(row.bars), row.lanes) == (50, MOST_LANES)


def test_marks() -> None:
    found = marks(MIDNIGHT, MIDNIGHT + DAY, timedelta(hours=6))
    assert [(mark.at, mark.text) for mark in found] == [
        (0, "00:00"),
        (WIDTH / 4, "06:00"),
        (WIDTH / 2, "12:00"),
        (WIDTH * 3 / 4, "18:00"),
    ]


def test_the_page_of_a_day_and_of_an_hour(web: Web) -> None:
    client = web.client()

    def shown(**query: str) -> dict[str, dict[str, int]]:
        data = client.get("/api/timeline", params=query).json()
        return {row["config"]: row["counts"] for row in data["rows"]}

    assert shown(day="2026-11-27") == {INGEST: {"failed": 1}}
    assert shown(day="2026-11-27", hour="8") == {INGEST: {"failed": 1}}
    assert shown(day="2026-11-27", hour="9") == {}
    assert shown(day="2026-11-23") == {INGEST: {"succeeded": 1}, VAP: {"succeeded": 1}}
    assert shown(day="2026-11-23", config=VAP) == {VAP: {"succeeded": 1}}
    evil = "<script>alert(1)"
    web.history.write(replace(web.history.run(INGEST, evil), arrived=NOW), NOW)
    page = client.get("/timeline", params={"day": "2026-11-28", "config": INGEST}).text
    assert "succeeded, 18:00:00 to 18:00:09 (9.0 s): &lt;script&gt;" in page
    assert "<script>alert" not in page
