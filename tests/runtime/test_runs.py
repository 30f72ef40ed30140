"""Keys of runs, and windows."""
# ruff: noqa: DTZ001  (hypothesis wants the limits of times without a zone)

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_doubles import at

from tidegate.runtime.runs import (
    Input,
    ProductRef,
    Run,
    RunRecord,
    Window,
    parse_window,
    window_at,
    windows_over,
)

DAY = Window(at("2022-04-05"), at("2022-04-06"))
quick = settings(max_examples=60, deadline=None)
A, B = Input("lidar/a", "v1", 5), Input("lidar/b", "v2", 7)
P, Q = ProductRef("p.nc", "s1"), ProductRef("q.nc", "s2")


def test_a_key_is_what_it_was():
    """A changed rule would run all of history again: so it is written down here."""
    assert Run("lidar/humboldt", inputs=(A, B)).key == (
        "848e6452bf9cbb89efad56f51b2bfb69fb597cd38c5e4ea5cad49927d0295d78"
    )
    assert Run("vap/humboldt", window=DAY, products=(P,)).key == (
        "f5a649e18caf6126ce8f6a4c9219c31d618ac614ba491fb89a2d21eb89c2036a"
    )


BASE = Run("a/b", inputs=(A, B), window=DAY, products=(P, Q), arguments=("x", "y"))


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, config="a/c"),
        replace(BASE, inputs=(A,)),
        replace(BASE, inputs=(A, replace(B, version="v3"))),
        replace(BASE, inputs=(A, replace(B, size=8))),
        replace(BASE, inputs=(A, replace(B, key="lidar/c"))),
        replace(BASE, window=None),
        replace(BASE, window=Window(DAY.begin, DAY.end + timedelta(seconds=1))),
        replace(BASE, products=(P,)),
        replace(BASE, products=(P, replace(Q, version="s3"))),
        replace(BASE, products=(P, replace(Q, key="r.nc"))),
        replace(BASE, arguments=("y", "x")),
        replace(BASE, due=DAY.begin),
        replace(BASE, due=DAY.end),
    ],
)
def test_the_key_tells_runs_apart(other):
    assert other.key != BASE.key


def test_the_key_does_not_tell_the_same_apart(noon):
    assert replace(BASE, inputs=(B, A), products=(Q, P)).key == BASE.key
    assert replace(BASE, arrived=noon, again=True).key == BASE.key
    pacific = ZoneInfo("America/Los_Angeles")
    same = Window(DAY.begin.astimezone(pacific), DAY.end.astimezone(pacific))
    assert replace(BASE, window=same).key == BASE.key
    assert replace(BASE, window=same).subjects == BASE.subjects
    assert "release" not in set(vars(BASE))
    assert RunRecord(BASE, "running", 1, noon, release="x").key == BASE.key


@quick
@given(st.lists(st.builds(Input, st.text(), st.text(), st.integers()), max_size=5), st.randoms())
def test_order_does_not_matter(inputs, random):
    shuffled = list(inputs)
    random.shuffle(shuffled)
    assert Run("a/b", inputs=tuple(inputs)).key == Run("a/b", inputs=tuple(shuffled)).key


@quick
@given(*[st.lists(st.tuples(st.text(), st.text(), st.integers()), max_size=3)] * 2)
def test_other_inputs_have_other_keys(one, two):
    """Nothing is joined by a character that may also be part of a name."""
    keys = [Run("a/b", inputs=tuple(Input(*i) for i in inputs)).key for inputs in (one, two)]
    assert (keys[0] == keys[1]) == (sorted(one) == sorted(two))


def test_subjects():
    assert Run("a/b", inputs=(A, B)).subjects == ("lidar/a", "lidar/b")
    assert Run("a/b", window=DAY).subjects == (
        "2022-04-05T00:00:00+00:00/2022-04-06T00:00:00+00:00",
    )
    assert Run("a/b", arguments=("x",)).subjects == ("x",)
    assert Run("a/b", arguments=("x",), due=DAY.begin).subjects == ("2022-04-05T00:00:00+00:00 x",)


def test_titles():
    assert Run("a/b", inputs=(A,)).title == "lidar/a"
    assert Run("a/b", inputs=(A, B, A)).title == "lidar/a and 2 more"
    assert Run("a/b", window=DAY).title == "2022-04-05 to 2022-04-06"
    assert Run("a/b", arguments=("x", "y")).title == "x, y"


def test_an_outcome_in_words(noon):
    record = RunRecord(BASE, "succeeded", 1, noon)
    assert record.outcome == "succeeded"
    assert replace(record, plots_failed="no font").outcome == "succeeded, plots failed"


@pytest.mark.parametrize(
    ("length", "moment", "begin", "end"),
    [
        ("hour", "2022-04-05T12:59:59", "2022-04-05T12:00", "2022-04-05T13:00"),
        ("hour", "2022-04-05T12:00", "2022-04-05T12:00", "2022-04-05T13:00"),
        ("day", "2022-04-05T23:59", "2022-04-05", "2022-04-06"),
        ("week", "2022-04-05", "2022-04-03", "2022-04-10"),  # a Tuesday
        ("week", "2022-04-03", "2022-04-03", "2022-04-10"),  # a Sunday
        ("week", "2022-04-02T23:59", "2022-03-27", "2022-04-03"),  # a Saturday
        ("month", "2022-02-28", "2022-02-01", "2022-03-01"),
        ("month", "2024-12-31", "2024-12-01", "2025-01-01"),
        ("6h", "2022-04-05T07:00", "2022-04-05T06:00", "2022-04-05T12:00"),
        ("30min", "2022-04-05T07:31", "2022-04-05T07:30", "2022-04-05T08:00"),
        ("2d", "1970-01-02T07:31", "1970-01-01", "1970-01-03"),
        ("2d", "1969-12-31", "1969-12-30", "1970-01-01"),
        ("day", "1950-03-04T05:06", "1950-03-04", "1950-03-05"),
    ],
)  # fmt: skip
def test_windows(length, moment, begin, end):
    assert window_at(length, at(moment)) == Window(at(begin), at(end))


LENGTHS = st.sampled_from(["hour", "day", "week", "month", "30min", "6h", "2d", "7min", "13d"])
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1))


@quick
@given(LENGTHS, MOMENTS)
def test_windows_hold_their_moment_and_tile_time(length, moment):
    moment = moment.replace(tzinfo=timezone.utc)
    window = window_at(length, moment)
    assert window.begin <= moment < window.end
    assert window_at(length, window.begin) == window
    assert window_at(length, window.end).begin == window.end
    assert window_at(length, window.end - timedelta(microseconds=1)) == window


@quick
@given(LENGTHS, st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)))
def test_daylight_saving_does_not_matter(length, moment):
    moment = moment.replace(tzinfo=timezone.utc)
    here = moment.astimezone(ZoneInfo("America/Los_Angeles"))
    assert window_at(length, here) == window_at(length, moment)


@quick
@given(LENGTHS, MOMENTS, st.floats(0, 40 * 86400))
def test_windows_over_an_interval(length, begin, seconds):
    begin = begin.replace(tzinfo=timezone.utc)
    end = begin + timedelta(seconds=seconds if length not in ("7min", "30min") else seconds / 100)
    windows = list(windows_over(length, begin, end))
    assert windows[0].begin <= begin
    assert windows[-1].begin <= end < windows[-1].end
    assert all(a.end == b.begin for a, b in pairwise(windows))


@pytest.mark.parametrize(
    "text", ["", "year", "0h", "-1h", "1.5h", "h", "6 h", "10000d", "6H", "1s"]
)
def test_lengths_that_are_none(text):
    with pytest.raises(ValueError, match="is not hour, day"):
        parse_window(text)


def test_a_window_ends_after_it_begins():
    with pytest.raises(ValueError, match="must end after"):
        Window(DAY.begin, DAY.begin)
