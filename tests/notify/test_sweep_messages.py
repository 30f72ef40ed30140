"""The messages of a sweep on AWS: the same sentences, found in the ledger, each sent once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tidegate.errors import StorageError
from tidegate.runtime.manifest import Config, NoticeSettings
from tidegate.runtime.notices.digest import Message
from tidegate.runtime.notices.notice import Problem
from tidegate.runtime.open_failures import acknowledge
from tidegate.runtime.runs import Failure, Input, Product, Run, RunRecord
from tidegate.runtime.testing import MemoryLedger
from tidegate.targets.aws.alerts import subject_of
from tidegate.targets.aws.sweep_messages import SweepMessages, SweptProblem
from tidegate.targets.aws.swept_config import PERIOD, SweptConfig

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
SWEEP = timedelta(seconds=PERIOD)
HOUR = timedelta(hours=1)
LIDAR = Config("lidar", "humboldt", "Ingest", "S3", "p.yaml")
BUOY = replace(LIDAR, pipeline="buoy")
STALE = SweptProblem(Problem("silence", LIDAR.id, "no new data"), "new data have arrived")


class Swept:
    """A ledger in which runs end, and a sweep from time to time."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.now = NOW
        self.sent: list[Message] = []
        self.works = True
        self.settings = NoticeSettings()

    def publish(self, message: Message) -> None:
        if not self.works:
            raise StorageError("denied")
        self.sent.append(message)

    def sweep(self, *problems: SweptProblem, after: timedelta = SWEEP) -> list[Message]:
        """What a sweep sends; each is made anew, as in a new environment of the function."""
        self.now += after
        self.sent.clear()
        sweeping = SweepMessages(
            self.ledger,
            self.publish,
            logging.getLogger("test"),
            name="sweep",
            place="pipelines-main",
            link="the dashboard: https://…",
        )
        quiet = replace(self.settings, quiet="") if self.settings.quiet else self.settings
        configs = [
            SweptConfig(LIDAR, "q", "d", 400, self.settings),
            SweptConfig(BUOY, "q", "d", 400, quiet),
        ]
        sweeping.send(configs, {LIDAR.id: problems, BUOY.id: ()}, self.now)
        return list(self.sent)

    def begin(self, name: str, config: Config = LIDAR, *, again: bool = False) -> RunRecord:
        run = Run(config.id, inputs=(Input(f"{config.id}/{name}", "1", 1),), again=again)
        claim = self.ledger.claim(run, owner="me", lease=HOUR, now=self.now, release="")
        assert claim.record is not None
        return claim.record

    def end(self, record: RunRecord, *, bad: bool = True, empty: Sequence[str] = ()) -> None:
        product = Product(f"{record.key[:9]}.nc", "data", 1, "x", empty=tuple(empty))
        ended = replace(record, state="succeeded", finished=self.now, products=(product,))
        if bad:
            failure = Failure("bad-input", "no header line", next="look at the file")
            ended = replace(record, state="failed", finished=self.now, failure=failure)
        self.ledger.finish(ended)


@pytest.fixture
def swept() -> Swept:
    swept = Swept()
    swept.sweep()
    return swept


def test_a_failure_is_sent_once_and_then_that_it_is_over(swept: Swept) -> None:
    record = swept.begin("a.csv")
    swept.end(record)
    [message] = swept.sweep()
    assert message.title == "Tidegate, lidar/humboldt: 1 failed run"
    for words in ("a.csv failed: no header line", "look at the file", "the dashboard"):
        assert words in message.body
    assert swept.sweep() == []
    swept.end(swept.begin("a.csv", again=True), bad=False)
    assert swept.sweep(after=HOUR)[0].title.endswith("1 recovery")
    assert swept.sweep(after=HOUR) == []


def test_many_failures_are_one_message_and_the_next_one_waits(swept: Swept) -> None:
    for number in range(30):
        swept.end(swept.begin(f"{number}.csv"))
    [message] = swept.sweep()
    assert "30 failed runs" in message.title
    swept.end(swept.begin("later.csv"))
    swept.end(swept.begin("later.csv", BUOY))
    assert [swept.sweep() for _ in range(3)] == [[], [], []]
    [message] = swept.sweep()
    assert "2 failed runs" in message.title


def test_a_run_that_goes_on_during_a_sweep_is_in_the_message_of_the_next(swept: Swept) -> None:
    long, short = swept.begin("long.csv"), swept.begin("short.csv")
    swept.now += timedelta(seconds=200)
    swept.end(short)
    [message] = swept.sweep(after=timedelta(seconds=100))
    assert "long.csv" not in message.body
    swept.end(long)
    [message] = swept.sweep(after=HOUR - timedelta(minutes=50)) or swept.sweep(after=HOUR)
    assert "long.csv" in message.body
    assert "short.csv" not in message.body


def test_what_the_topic_does_not_take_is_sent_by_the_next_sweep(swept: Swept) -> None:
    swept.end(swept.begin("a.csv"))
    swept.works = False
    for _ in range(2):
        with pytest.raises(StorageError):
            swept.sweep(STALE)
    swept.works = True
    [message] = swept.sweep(STALE)
    assert "1 failed run, 1 stale config" in message.title


def test_what_is_over_before_it_is_sent_is_not_sent(swept: Swept) -> None:
    swept.works = False
    record = swept.begin("a.csv")
    swept.end(record)
    with pytest.raises(StorageError):
        swept.sweep()
    swept.works = True
    acknowledge(swept.ledger, record.key, "Ada", swept.now)
    assert swept.sweep() == []


def test_settings_are_those_of_each_config(swept: Swept) -> None:
    swept.settings = NoticeSettings(("failure",), 60, "12:00-14:00")
    swept.end(swept.begin("a.csv"))
    swept.end(swept.begin("a.csv", BUOY))
    swept.end(swept.begin("b.csv", BUOY), bad=False, empty=["wind"])
    [message] = swept.sweep()
    assert message.title == "Tidegate, buoy/humboldt: 1 failed run"
    [message] = swept.sweep(after=2 * HOUR)
    assert message.title == "Tidegate, lidar/humboldt: 1 failed run"


def test_an_empty_variable_is_reported(swept: Swept) -> None:
    swept.end(swept.begin("a.csv"), bad=False, empty=["wind"])
    [message] = swept.sweep()
    assert "no valid value in wind" in message.body
    assert swept.sweep(after=2 * HOUR) == []


def test_a_problem_is_sent_when_it_begins_and_when_it_ends(swept: Swept) -> None:
    [message] = swept.sweep(STALE)
    assert message.title == "Tidegate, lidar/humboldt: 1 stale config"
    assert [swept.sweep(STALE, after=HOUR) for _ in range(3)] == [[], [], []]
    [message] = swept.sweep()
    assert "new data have arrived" in message.body


def test_a_subject_as_sns_takes_it() -> None:
    assert subject_of("Tidegate, möwe: 1 failed\nrun") == "Tidegate, m?we: 1 failed run"
    assert len(subject_of("x" * 300)) == 99
