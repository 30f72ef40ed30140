"""Schedules, with the clock in the test's hand."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config
from tidegate.runtime.testing import MemoryLedger
from tidegate.targets.local import schedule as module
from tidegate.targets.local.schedule import Schedule, due_between, last_due, next_due

HOURLY = "0 * * * *"
START = datetime(2022, 4, 5, 12, 30, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

expressions = st.sampled_from(
    [HOURLY, "0 2 * * *", "30 2 * * 0", "0 3 1 * *", "*/20 * * * *", "5,50 3-6 * * 1-5"]
)
moments = st.timedeltas(timedelta(0), timedelta(days=1400)).map(lambda d: START + d)
forwards = st.timedeltas(timedelta(0), timedelta(days=2))

modest = settings(deadline=None, max_examples=60)


def vap(schedule: str = HOURLY, name: str = "humboldt") -> Config:
    return Config("lidar_vap", name, "VAP", "Cron", "p.yaml", schedule=schedule)


def months(schedule: str = HOURLY) -> Config:
    return Config(
        "pull", "all", "Ingest", "Cron", "p.yaml", schedule=schedule, inputs=("{begin:%Y%m}",)
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@modest
@given(expressions, moments)
def test_last_and_next_enclose_the_moment_without_a_gap(expression: str, now: datetime) -> None:
    last, coming = last_due(expression, now), next_due(expression, now)
    assert last <= now < coming
    assert next_due(expression, last) == coming
    assert last_due(expression, last) == last


@modest
@given(expressions, moments, forwards, forwards)
def test_due_between_can_be_cut_anywhere(
    expression: str, begin: datetime, first: timedelta, second: timedelta
) -> None:
    middle, end = begin + first, begin + first + second
    whole = due_between(expression, begin, end)
    assert due_between(expression, begin, middle) + due_between(expression, middle, end) == whole
    assert whole == sorted(set(whole))


def test_due_times_are_utc_whatever_zone_is_asked_in() -> None:
    west = timezone(timedelta(hours=-7))
    now = datetime(2022, 4, 4, 19, 30, tzinfo=west)  # 02:30 UTC on the next day
    assert last_due("0 2 * * *", now) == utc("2022-04-05T02:00")
    assert next_due("0 2 * * *", now).utcoffset() == timedelta(0)


@pytest.mark.parametrize("expression", ["61 * * * *", "0 0 30 2 *", "hourly", ""])
def test_a_schedule_that_is_never_due_is_an_error(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="can never be due") as caught:
        next_due(expression, START)
    assert caught.value.why


def test_a_config_that_was_never_handled_is_due_at_once() -> None:
    schedule = Schedule([vap()], MemoryLedger())
    (event,) = schedule.due(START)
    assert (event.config, event.at) == ("lidar_vap/humboldt", utc("2022-04-05T12:00"))


def test_what_is_due_stays_due_until_it_is_handled() -> None:
    schedule = Schedule([vap()], MemoryLedger())
    assert schedule.due(START) == schedule.due(START)
    schedule.handled(schedule.due(START)[0])
    assert schedule.due(START) == []
    assert schedule.due(START + 29 * MINUTE) == []
    assert [e.at for e in schedule.due(START + 30 * MINUTE)] == [utc("2022-04-05T13:00")]


def test_an_older_event_that_is_handled_late_brings_nothing_back() -> None:
    schedule = Schedule([months()], MemoryLedger())
    schedule.handled(schedule.due(START)[0])
    older, newer = schedule.due(START + 2 * HOUR)
    schedule.handled(newer)
    schedule.handled(older)
    assert schedule.due(START + 2 * HOUR) == []


def test_configs_without_a_schedule_are_never_due() -> None:
    ingest = Config("lidar", "morro", "Ingest", "S3", "p.yaml", input_path="lidar/morro/")
    schedule = Schedule([ingest], MemoryLedger())
    assert schedule.due(START) == []


def test_after_a_downtime_a_vap_gets_one_event_and_string_inputs_one_each() -> None:
    ledger = MemoryLedger()
    before = Schedule([vap(), months()], ledger)
    for event in before.due(START):
        before.handled(event)
    events = Schedule([vap(), months()], ledger).due(START + 3 * HOUR)
    assert [e.at.hour for e in events if e.config == "lidar_vap/humboldt"] == [15]
    assert [e.at.hour for e in events if e.config == "pull/all"] == [13, 14, 15]


def test_too_many_missed_times_come_in_parts_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 10)
    said: list[str] = []
    schedule = Schedule([months()], MemoryLedger(), say=said.append)
    schedule.handled(schedule.due(START)[0])
    seen: list[datetime] = []
    while events := schedule.due(START + 24 * HOUR):
        assert len(events) <= 10
        for event in events:
            seen.append(event.at)
            schedule.handled(event)
    assert seen == due_between(HOURLY, START, START + 24 * HOUR)
    assert len(said) == 2
    assert "pull/all has missed more than 10 due times" in said[0]


def test_a_clock_set_back_within_a_period_repeats_nothing() -> None:
    said: list[str] = []
    schedule = Schedule([vap()], MemoryLedger(), say=said.append)
    schedule.handled(schedule.due(START)[0])
    assert schedule.due(START - 45 * MINUTE) == []
    assert schedule.due(START) == []
    assert said == []


def test_a_clock_set_far_back_does_not_stop_the_schedule() -> None:
    said: list[str] = []
    ledger = MemoryLedger()
    schedule = Schedule([vap()], ledger, say=said.append)
    schedule.handled(schedule.due(START + 3650 * DAY)[0])
    assert schedule.upcoming(START) == {"lidar_vap/humboldt": utc("2022-04-05T13:00")}
    assert said == []  # asking for a list changes nothing
    assert schedule.due(START) == []
    assert "the clock was set back" in said[0]
    assert [e.at for e in schedule.due(START + HOUR)] == [utc("2022-04-05T13:00")]
    assert len(said) == 1


def test_a_state_that_cannot_be_read_counts_as_never_handled() -> None:
    ledger = MemoryLedger()
    ledger.set_state("due/lidar_vap/humboldt", "yesterday")
    assert len(Schedule([vap()], ledger).due(START)) == 1


def test_upcoming_lists_what_is_due_and_what_comes() -> None:
    schedule = Schedule([vap(), vap("0 2 * * *", "morro")], MemoryLedger())
    schedule.handled(schedule.due(START)[0])
    assert schedule.upcoming(START) == {
        "lidar_vap/humboldt": utc("2022-04-05T13:00"),
        "lidar_vap/morro": utc("2022-04-05T02:00"),
    }


def test_a_quiet_schedule_does_not_ask_the_ledger() -> None:
    class Counting(MemoryLedger):
        asked = 0

        def state(self, name: str) -> str | None:
            self.asked += 1
            return super().state(name)

    ledger = Counting()
    schedule = Schedule([vap()], ledger)
    schedule.handled(schedule.due(START)[0])
    assert schedule.due(START) == []
    asked = ledger.asked
    for second in range(1000):
        assert schedule.due(START + timedelta(seconds=second)) == []
    assert ledger.asked == asked


@modest
@given(
    expressions,
    moments,
    st.lists(st.tuples(forwards, st.booleans(), st.booleans()), max_size=12),
)
def test_going_forward_nothing_is_lost_and_nothing_comes_twice(
    expression: str, start: datetime, steps: list[tuple[timedelta, bool, bool]]
) -> None:
    """With restarts, and events that were given but not handled, at any moment."""
    ledger = MemoryLedger()
    schedule = Schedule([months(expression), vap(expression)], ledger)
    handled: dict[str, list[datetime]] = {"pull/all": [], "lidar_vap/humboldt": []}
    now = start
    for step, restart, crash in [*steps, (timedelta(0), True, False)]:
        now += step
        if restart:
            schedule = Schedule([months(expression), vap(expression)], ledger)
        while events := schedule.due(now):
            for event in events:
                schedule.handled(event)
                handled[event.config].append(event.at)
                if crash:
                    break
            if crash:
                break
    first = last_due(expression, start + steps[0][0] if steps else start)
    assert handled["pull/all"] == [first, *due_between(expression, first, now)]
    assert handled["lidar_vap/humboldt"] == sorted(set(handled["lidar_vap/humboldt"]))
    assert handled["lidar_vap/humboldt"][-1] == last_due(expression, now)


@modest
@given(
    expressions,
    moments,
    st.lists(st.timedeltas(timedelta(days=-400), timedelta(days=400)), max_size=12),
)
def test_whatever_the_clock_does_a_schedule_goes_on_and_repeats_nothing_unsaid(
    expression: str, now: datetime, jumps: list[timedelta]
) -> None:
    said: list[str] = []
    schedule = Schedule([vap(expression)], MemoryLedger(), say=said.append)
    latest: datetime | None = None
    for jump in [timedelta(0), *jumps]:
        now += jump
        before = len(said)
        for event in schedule.due(now):
            assert event.at == last_due(expression, now)
            assert latest is None or event.at > latest
            schedule.handled(event)
            latest = event.at
        if len(said) > before:
            latest = last_due(expression, now)  # it goes on from here, and has said so
        # Two periods of a clock that simply goes on never pass without an event.
        coming = next_due(expression, next_due(expression, now))
        assert schedule.upcoming(now)["lidar_vap/humboldt"] <= coming
